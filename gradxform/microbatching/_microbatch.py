"""A function of a batch, evaluated piece by piece."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._errors import StructureError
from gradxform._types import Array, ArrayLike, Tree
from gradxform.microbatching._accumulators import AccumulationType, accumulator_for, rounded


def reshape_batch_axis(tree: Tree, microbatch_size: int, axis: int = 0) -> Tree:
    """Split the batch axis of every array in two, (pieces, microbatch_size), at the same place.

        x[..., i, j, ...] = batch[..., j pieces + i, ...]

    Piece i has the examples i, i + pieces, i + 2 pieces, ...: the examples on one device stay there, so that the sharding of the batch
    is that of every piece.

    Args:
      tree: a tree of arrays with an axis of the batch.
      microbatch_size: the number of examples in a piece.
      axis: the axis of the batch, one for all or a tree like `tree`.

    >>> gx.microbatching.reshape_batch_axis(jnp.arange(4), 2)
    Array([[0, 2],
           [1, 3]], dtype=int32)

    Source   Optax.
    Differs  axis may count from the end.
    Raises   StructureError: the batch is not divisible by microbatch_size.
    """

    def split(x: ArrayLike) -> Array:
        x = jnp.asarray(x)
        at = axis % x.ndim
        if x.shape[at] % microbatch_size:
            raise StructureError(f"microbatch: a batch of {x.shape[at]} is not divisible by microbatch_size={microbatch_size}.")
        pieces = x.shape[at] // microbatch_size
        return x.reshape(*x.shape[:at], microbatch_size, pieces, *x.shape[at + 1 :]).swapaxes(at, at + 1)

    return jax.tree.map(split, tree)


def _batch_size(batched: Sequence[tuple[tuple[str | int, Tree], int]]) -> int:
    """The length of the batch axis, which all arrays of (name, tree), axis must agree on."""
    sizes = {}
    for (name, tree), axis in batched:
        for path, x in jax.tree_util.tree_leaves_with_path(tree):
            sizes[f"{name}{jax.tree_util.keystr(path)}"] = jnp.shape(x)[axis]
    if not sizes:
        raise StructureError("microbatch: no argument has a batch axis. Name one in `argnums` or `argnames`.")
    if len(set(sizes.values())) > 1:
        raise StructureError(f"microbatch: the batch axes must have one length, but have {sizes}. Check `in_axes`.")
    return next(iter(sizes.values()))


def microbatch(
    fun: Callable[..., Tree],
    argnums: int | Sequence[int],
    microbatch_size: int | None,
    accumulator: Tree = AccumulationType.SUM,
    *,
    argnames: str | Sequence[str] = (),
    in_axes: int | Sequence[int] = 0,
    num_real_microbatches: int | np.integer | Array | None = None,
) -> Callable[..., Tree]:
    """Evaluate a function of a batch on one piece of it after another, and accumulate the results.

        fun(piece 0) + fun(piece 1) + ...

    The memory is that of one piece, and of the accumulated result: around a `value_and_grad` it is gradient accumulation without a
    wrapper around the optimizer. A piece has every n-th example (`reshape_batch_axis`).

    Args:
      fun: any function.
      argnums: which positional arguments have a batch axis; they may be trees.
      microbatch_size: examples in a piece; it divides the batch. None: `fun` itself.
      accumulator: how to combine the results: an `AccumulationType`, an `Accumulator`, or a tree of them, which may be a prefix of the
        result.
      argnames: which keyword arguments have a batch axis.
      in_axes: the batch axis of all of them, or of each in the order of argnums and argnames.
      num_real_microbatches: execute only so many pieces, the first ones; it may be traced, for batches of changing size.

    >>> kind = gx.microbatching.AccumulationType.MEAN
    >>> mean = gx.microbatching.microbatch(lambda x: jnp.mean(x, 0), argnums=0, microbatch_size=2, accumulator=kind)
    >>> mean(jnp.array([[1.0], [2.0], [3.0], [6.0]]))
    Array([3.], dtype=float32)

    Returns:
      A function of the same arguments.

    Shapes   sums and means of narrow dtypes are accumulated in float32 and rounded once; the result has the dtype of fun's. Whole
             numbers and flags are added in the dtype in which `jnp.sum` adds them, at least int32.
    Source   Optax.
    Differs  Optax accumulates in the dtype of the result, which in bfloat16 stands still and in int8 wraps; complex means are allowed.
    Raises   StructureError: batch axes of several lengths, or not divisible; a mean of whole numbers.
    """
    if microbatch_size is None:
        return fun
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    names = (argnames,) if isinstance(argnames, str) else tuple(argnames)
    keys = (*numbers, *names)
    axes = (in_axes,) * len(keys) if isinstance(in_axes, int) else tuple(in_axes)

    @functools.wraps(fun)
    def microbatched(*args: Tree, **kwargs: Tree) -> Tree:
        given = dict(enumerate(args)) | kwargs
        if missing := [key for key in keys if key not in given]:
            raise StructureError(f"microbatch: the batched arguments {missing} were not given; by position are {len(args)}.")
        size = _batch_size([((key, given[key]), axis) for key, axis in zip(keys, axes, strict=True)])
        split = {key: reshape_batch_axis(given[key], microbatch_size, axis) for key, axis in zip(keys, axes, strict=True)}

        def piece(i: Array) -> Tree:
            here = dict(given)
            for key, axis in zip(keys, axes, strict=True):
                here[key] = jax.tree.map(lambda x, at=axis: _take(x, i, at), split[key])
            out = fun(*(here[i] for i in range(len(args))), **{name: here[name] for name in kwargs})
            return jax.tree.map(jnp.asarray, out)  # a plain number too

        pieces = size // microbatch_size
        loop = accumulator_for(accumulator, pieces)
        last = pieces if num_real_microbatches is None else num_real_microbatches
        last = min(last, pieces) if isinstance(last, int) else jnp.minimum(last, pieces)
        carry = loop.init(jax.eval_shape(piece, 0))
        return loop.finalize(jax.lax.fori_loop(0, last, lambda i, carry: loop.update(carry, piece(i), i), carry))

    return microbatched


def _take(x: Array, i: Array, axis: int) -> Array:
    return jax.lax.dynamic_index_in_dim(x, i, axis % (x.ndim - 1), keepdims=False)


def micro_vmap(
    fun: Callable[..., Tree],
    in_axes: int | Sequence[int | None] = 0,
    out_axes: int = 0,
    *,
    microbatch_size: int | None = None,
    vmap_fn: Callable[..., Callable[..., Tree]] = jax.vmap,
    accumulator: Tree = AccumulationType.CONCAT,
    num_real_microbatches: int | np.integer | Array | None = None,
) -> Callable[..., Tree]:
    """Map a function over a batch, as `jax.vmap` does, but piece by piece, and reduce the results if asked to.

        [fun(x) for x in batch]            or their sum or mean, by the accumulator

    Args:
      fun: a function of one example.
      in_axes: the batch axis of all positional arguments, or of each, or None; keyword arguments are mapped along axis 0.
      out_axes: must be 0.
      microbatch_size: examples that are mapped at once; it divides the batch. None: all.
      vmap_fn: (fun, in_axes, out_axes) -> mapped function.
      accumulator: as in `microbatch`; CONCAT gives what `jax.vmap` gives, the others save the memory of that.
      num_real_microbatches: as in `microbatch`.

    >>> squares = gx.microbatching.micro_vmap(lambda x: x**2, microbatch_size=2)
    >>> squares(jnp.array([1.0, 2.0, 3.0, 4.0]))
    Array([ 1.,  4.,  9., 16.], dtype=float32)

    Returns:
      A function of the same arguments with a batch axis.

    Shapes   as `microbatch`: a sum or mean over all examples is rounded once.
    Source   Optax.
    Differs  as `microbatch`; one in_axes is that of all arguments, as in `jax.vmap`, where Optax takes it for a function of one.
    Raises   StructureError: out_axes is not 0; as `microbatch`.
    """
    if out_axes != 0:
        raise StructureError(f"micro_vmap: `out_axes` must be 0, but is {out_axes!r}. Move the axis of the result.")
    combine = accumulator_for(accumulator, 1).aggregate

    def by_pieces(*args: Tree, **kwargs: Tree) -> Tree:
        axes = (in_axes,) * len(args) if isinstance(in_axes, int) else tuple(in_axes)

        def piece(*args: Tree, kwargs: Mapping[str, Tree]) -> Tree:
            return combine(vmap_fn(fun, axes, 0)(*args, **kwargs))

        if microbatch_size is None:
            return rounded(piece(*args, kwargs=kwargs))
        batched = {i: axis for i, axis in enumerate(axes) if axis is not None}
        loop = microbatch(
            piece,
            argnums=tuple(batched),
            microbatch_size=microbatch_size,
            accumulator=accumulator,
            argnames="kwargs",
            in_axes=[*batched.values(), 0],
            num_real_microbatches=num_real_microbatches,
        )
        return loop(*args, kwargs=kwargs)

    return by_pieces
