"""Gradients of single examples, accumulated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._types import Array, Tree
from gradxform.microbatching._accumulators import AccumulationType
from gradxform.microbatching._microbatch import micro_vmap


class IndividualOutputs(NamedTuple):
    """What `micro_grad` returns for each example."""

    values: Array
    metrics: Tree
    aux: Tree


def micro_grad(
    fun: Callable[..., Tree],
    has_aux: bool = False,
    argnums: int | Sequence[int] = 0,
    *,
    batch_argnums: int | Sequence[int] = 1,
    keep_batch_dim: bool = True,
    microbatch_size: int | None = None,
    accumulator: Tree = AccumulationType.SUM,
    transform_fn: Callable[[Any], Tree] = lambda x: x,
    metrics_fn: Callable[[Any], Tree] = lambda x: None,
    num_real_microbatches: int | np.integer | Array | None = None,
) -> Callable[..., tuple[Tree, IndividualOutputs]]:
    """The gradient at each example of a batch, transformed and accumulated.

        sum over examples of transform_fn(grad fun(params, example))

    For clipping gradients example by example, for their second moments, for statistics that a gradient of the whole batch has lost.

    Args:
      fun: (params, batch, ...) -> value, or (value, aux).
      has_aux: whether it returns (value, aux).
      argnums: which arguments to differentiate for.
      batch_argnums: which positional arguments have a batch axis, axis 0. Keyword arguments have one too.
      keep_batch_dim: give `fun` batches of one example as its positional arguments; otherwise the example without its batch axis, which
        is what keyword arguments are in either case.
      microbatch_size: examples that are differentiated at once; it divides the batch. None: all.
      accumulator: as in `microbatch`, for the transformed gradients.
      transform_fn: (gradient at one example) -> any tree.
      metrics_fn: (gradient at one example, not transformed) -> a small tree to return for each example.
      num_real_microbatches: as in `microbatch`.

    >>> mean_grad = gx.microbatching.micro_grad(lambda p, x: jnp.mean(p * x), batch_argnums=1, microbatch_size=2)
    >>> grad = mean_grad(jnp.array(2.0), jnp.array([1.0, 2.0, 3.0, 4.0]))

    Returns:
      A function of the same arguments -> (accumulated gradients, IndividualOutputs(values, metrics, aux), each with a batch axis).

    Source   Optax; arXiv:2510.00236.
    Differs  arguments after the last batched one are allowed.
    Raises   StructureError: as `microbatch`.
    """
    batched = (batch_argnums,) if isinstance(batch_argnums, int) else tuple(batch_argnums)
    with_aux = fun if has_aux else lambda *args, **kwargs: (fun(*args, **kwargs), None)
    differentiate = jax.value_and_grad(with_aux, argnums, has_aux=True)

    def at_one(*args: Tree, **kwargs: Tree) -> tuple[Tree, IndividualOutputs]:
        (value, aux), gradient = differentiate(*args, **kwargs)
        return transform_fn(gradient), IndividualOutputs(value, metrics_fn(gradient), aux)

    def accumulated(*args: Tree, **kwargs: Tree) -> tuple[Tree, IndividualOutputs]:
        if keep_batch_dim:
            alone = lambda x: jnp.expand_dims(x, 1)
            args = tuple(jax.tree.map(alone, x) if i in batched else x for i, x in enumerate(args))
        by_pieces = micro_vmap(
            at_one,
            in_axes=[0 if i in batched else None for i in range(len(args))],
            microbatch_size=microbatch_size,
            accumulator=(accumulator, AccumulationType.CONCAT),
            num_real_microbatches=num_real_microbatches,
        )
        return by_pieces(*args, **kwargs)

    return accumulated
