"""How the results of the pieces become one."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._errors import StructureError
from gradxform._numerics import is_inexact, real_part, round_to, widen
from gradxform._types import Array, Tree

Shaped = Array | jax.ShapeDtypeStruct
Carry = TypeVar("Carry")


@dataclasses.dataclass(frozen=True)
class Accumulator:
    """How results x_0, ..., x_(n-1) of the pieces become one.

        carry = init(shape and dtype of x)
        carry = update(carry, x_i, i)              for every i
        result = finalize(carry)

    Attributes:
      init: (tree of `jax.ShapeDtypeStruct`) -> carry.
      update: (carry, x_i, i) -> carry.
      finalize: (carry) -> result.
      aggregate: (x with an axis of examples in front) -> x of one piece; for `micro_vmap`.
    """

    init: Callable[[Any], Tree]
    update: Callable[[Any, Any, Array], Tree]
    finalize: Callable[[Any], Tree]
    aggregate: Callable[[Any], Tree]


class AccumulationType(enum.Enum):
    """The accumulators that depend on the number of pieces, by name."""

    MEAN = enum.auto()
    """The mean over all pieces."""
    SUM = enum.auto()
    """The sum."""
    RUNNING_MEAN = enum.auto()
    """The mean over the pieces that were executed, if not all were."""
    CONCAT = enum.auto()
    """All results along axis 0, in the order of the batch."""


class Wide(NamedTuple):
    """A sum or mean in float32 or wider, and an empty array of the dtype to round it to in the end."""

    value: Array
    like: Array


def _is_wide(x: Tree) -> bool:
    return isinstance(x, Wide)


def _begin(x: Shaped | Wide) -> Wide:
    if isinstance(x, Wide):
        return Wide(jnp.zeros_like(x.value), jnp.zeros_like(x.like))
    dtype = _sum_dtype(x)
    return Wide(jnp.zeros_like(x, dtype=widen(dtype)), jnp.zeros(0, dtype))


def _begin_mean(x: Shaped | Wide) -> Wide:
    if not isinstance(x, Wide) and not is_inexact(x.dtype):
        raise StructureError(f"microbatch: MEAN and RUNNING_MEAN need floating-point results, but got {x.dtype}{x.shape}. Use SUM.")
    return _begin(x)


def _add(carry: Wide, x: Array | Wide, i: Array) -> Wide:
    return carry._replace(value=carry.value + _value(x, carry))


def _towards(carry: Wide, x: Array | Wide, i: Array) -> Wide:
    mean = carry.value
    n = jnp.asarray(i + 1, real_part(mean.dtype))
    return carry._replace(value=mean + (_value(x, carry) - mean) / n)


def _value(x: Array | Wide, carry: Wide) -> Array:
    return x.value if isinstance(x, Wide) else x.astype(carry.value.dtype)


def _sum_dtype(x: Shaped) -> np.dtype:
    """The dtype of a sum: that of floats, and for whole numbers and flags the one in which `jnp.sum` adds them, so that none wraps."""
    return x.dtype if is_inexact(x.dtype) else jax.eval_shape(jnp.sum, x).dtype


def _total(x: Array) -> Wide:
    """The sum of the examples of a piece, not rounded yet."""
    dtype = _sum_dtype(x)
    return Wide(jnp.sum(x, axis=0, dtype=widen(dtype)), jnp.zeros(0, dtype))


def _mean(x: Array) -> Wide:
    """The mean of the examples of a piece, not rounded yet."""
    dtype = x.dtype if is_inexact(x.dtype) else jnp.dtype(jnp.float32)
    return Wide(jnp.mean(x, axis=0, dtype=widen(dtype)), jnp.zeros(0, dtype))


def _end(carry: Wide, divisor: int = 1) -> Array:
    value = carry.value / divisor if divisor != 1 else carry.value
    return round_to(value, carry.like.dtype)


def rounded(tree: Tree) -> Tree:
    """The tree with its sums and means in the dtypes that they end in."""
    return jax.tree.map(lambda x: _end(x) if isinstance(x, Wide) else x, tree, is_leaf=_is_wide)


def _in_order(pieces: Array) -> Array:
    """Results (piece, example, ...) as (example of the batch, ...); see `reshape_batch_axis`."""
    return pieces if pieces.ndim < 2 else pieces.swapaxes(0, 1).reshape(-1, *pieces.shape[2:])


def _by_leaf(
    init: Callable[[Shaped], Carry],
    update: Callable[[Carry, Array, Array], Carry],
    finalize: Callable[[Carry], Array],
    aggregate: Callable[[Array], Array | Wide],
) -> Accumulator:
    """An accumulator of trees from one of arrays."""
    return Accumulator(
        init=lambda x: jax.tree.map(init, x, is_leaf=_is_wide),
        update=lambda carry, x, i: jax.tree.map(lambda x, c: update(c, x, i), x, carry, is_leaf=_is_wide),
        finalize=lambda carry: jax.tree.map(finalize, carry, is_leaf=_is_wide),
        aggregate=lambda x: jax.tree.map(aggregate, x),
    )


def _concatenation(n: int) -> Accumulator:
    return _by_leaf(
        lambda x: jnp.broadcast_to(jnp.zeros_like(x)[None], (n, *x.shape)),
        lambda carry, x, i: jax.lax.dynamic_update_index_in_dim(carry, x, i, 0),
        _in_order,
        lambda x: x,
    )


def _named(kind: Accumulator | AccumulationType, n: int) -> Accumulator:
    if isinstance(kind, Accumulator):
        return kind
    makers = {
        AccumulationType.SUM: lambda: _by_leaf(_begin, _add, _end, _total),
        AccumulationType.MEAN: lambda: _by_leaf(_begin_mean, _add, lambda c: _end(c, n), _mean),
        AccumulationType.RUNNING_MEAN: lambda: _by_leaf(_begin_mean, _towards, _end, _mean),
        AccumulationType.CONCAT: lambda: _concatenation(n),
    }
    if not isinstance(kind, AccumulationType):
        raise StructureError(f"microbatch: `accumulator` must be made of Accumulator and AccumulationType, but has {kind!r:.200}.")
    return makers[kind]()


def accumulator_for(accumulators: Tree, n: int) -> Accumulator:
    """One accumulator from a tree of them, a prefix of the results of n pieces."""
    tree = jax.tree.map(lambda kind: _named(kind, n), accumulators)
    return Accumulator(
        init=lambda x: jax.tree.map(lambda a, y: a.init(y), tree, x),
        update=lambda carry, x, i: jax.tree.map(lambda a, c, y: a.update(c, y, i), tree, carry, x),
        finalize=lambda carry: jax.tree.map(lambda a, c: a.finalize(c), tree, carry),
        aggregate=lambda x: jax.tree.map(lambda a, y: a.aggregate(y), tree, x),
    )
