"""AdaGrad with one rate per row."""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple

import jax.numpy as jnp

from gradxform._numerics import abs_sq
from gradxform._types import Axes, Field, Hyper, NonNegative, Real, RealUpdates
from gradxform.core import chain, per_leaf
from gradxform.registry import optimizer, transform
from gradxform.transforms import scale_by_learning_rate


def _initial(zero, initial_accumulator_value):
    return _row_means(zero) + initial_accumulator_value


class ScaleByRowRssState(NamedTuple):
    """The sum so far of each row's mean of |g|^2, with axes of size 1 for those that the mean is over."""

    sum_of_squares: Annotated[
        RealUpdates, Field(first=_initial, axes=lambda shape: Axes(*(None if i else 0 for i in range(len(shape)))))
    ]


def _row_means(x):
    return jnp.sum(x, axis=tuple(range(1, x.ndim)), keepdims=True) / max(math.prod(x.shape[1:]), 1)


@transform(source="MXNet 2, GroupAdaGrad", homogeneity=0, example={"initial_accumulator_value": 0.0, "eps": 0.0})
@per_leaf(ScaleByRowRssState)
def scale_by_row_rss(g, s, p, c, initial_accumulator_value: NonNegative = 0.0, eps: NonNegative = 1e-6):
    """Divide each row of an update by the root of the sum of its mean squares so far.

        G = G + mean over the row of |g|^2
        u = g / (sqrt(G) + eps)                 0 where G = 0

    A row is g[i]. The first G is initial_accumulator_value.

    Args:
      initial_accumulator_value: the first sum of squares.
      eps: added to the divisor, in its units, so that it is never 0.

    >>> tx = gx.chain(gx.scale_by_row_rss(), gx.scale_by_learning_rate(0.1))

    State    sum_of_squares: real, float32 or wider, of shape (n, 1, ...) for n rows. Memory: 1 number per row.
    Units    u is dimensionless: scaling every gradient by k > 0 leaves u unchanged (eps, initial value -> 0).
    Shapes   any, complex included; vectors and scalars have rows of one element.
    Sharded  inside `shard_map` what is taken along an axis is taken along the device's own part of it; under `jit` along the whole
             axis.
    Source   MXNet 2, GroupAdaGrad; the accumulator of Duchi et al. 2011, JMLR 12, shared by a row.
    Differs  Optax has no such transformation.
    Raises   HyperparameterError: initial_accumulator_value < 0, eps < 0.
    """
    G = s.sum_of_squares + _row_means(abs_sq(g))
    return jnp.where(G > 0, g / jnp.where(G > 0, jnp.sqrt(G) + eps, 1), 0), s._replace(sum_of_squares=G)


@optimizer(
    source="MXNet 2, GroupAdaGrad",
    example={"learning_rate": 0.1, "eps": 0.0},
    homogeneity=0,
    rates={"default": 0.1, "digits": 0.1},
)
def group_adagrad(learning_rate: Real[Hyper], initial_accumulator_value: NonNegative[Hyper] = 0.0, eps: NonNegative[Hyper] = 1e-6):
    """AdaGrad with one rate for each row of a parameter; for embeddings, whose rows are seldom used.

        G = G + mean over the row of |g|^2
        u = -learning_rate g / (sqrt(G) + eps)  0 where G = 0

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      initial_accumulator_value: the first sum of squares.
      eps: added to the divisor, in its units, so that it is never 0.

    >>> tx = gx.group_adagrad(0.1)

    State    (ScaleByRowRssState(sum_of_squares), EmptyState()). Memory: 1 number per row.
    Units    learning_rate has those of p.
    Shapes   any, complex included; vectors and scalars have rows of one element, and get AdaGrad.
    Sharded  inside `shard_map` what is taken along an axis is taken along the device's own part of it; under `jit` along the whole
             axis.
    Source   MXNet 2, GroupAdaGrad.
    Differs  Optax has no such optimizer.
    Raises   HyperparameterError: initial_accumulator_value < 0, eps < 0.
    """
    return chain(scale_by_row_rss(initial_accumulator_value, eps), scale_by_learning_rate(learning_rate))
