"""SM3."""

from __future__ import annotations

import functools
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp

from gradxform._numerics import abs_sq
from gradxform._types import Axes, Field, Hyper, Momentum, NonNegative, Real, RealUpdates, Unit, Updates
from gradxform.core import chain, per_leaf
from gradxform.registry import optimizer, transform
from gradxform.transforms import scale_by_learning_rate


def _axes(shape):
    return [Axes(i) for i in range(len(shape))] or [Axes()]


class ScaleBySM3State(NamedTuple):
    """For each leaf the list of covers, one vector per axis, of its sums of squares; and the running mean of the update."""

    mu: Annotated[RealUpdates, Field(axes=_axes)]
    nu: Annotated[Updates, Field(mean="b1")]


def _covers(x):
    """The maximum over all axes but one, for each axis in turn; a scalar is its own cover."""
    return [jnp.max(x, axis=tuple(j for j in range(x.ndim) if j != i), initial=0) for i in range(x.ndim)] or [x]


def _covered(covers, ndim):
    """The smallest cover of each element."""
    shapes = [[-1 if j == i else 1 for j in range(ndim)] for i in range(len(covers))]
    return functools.reduce(jnp.minimum, [v.reshape(shape) for v, shape in zip(covers, shapes, strict=True)])


@transform(source="Anil et al. 2019, arXiv:1901.11150, Algorithm SM3-II", homogeneity=0, example={"eps": 1e-30})
@per_leaf(ScaleBySM3State)
def scale_by_sm3(g, s, p, c, b1: Momentum = 0.9, b2: Unit = 1.0, eps: NonNegative = 1e-8):
    """Divide by the root of sums of squares of which only the maxima of rows, columns, ... are kept, and average.

        v  = min over axes i of mu_i + |g|^2                b2 < 1: b2 min over axes i of mu_i + (1 - b2) |g|^2
        nu = b1 nu + (1 - b1) g / sqrt(v + eps)             0 for g / sqrt(v + eps) where v = 0
        mu_i = max of v over all axes but i
        u  = nu

    Args:
      b1: how much of the running mean of scaled gradients stays at each update.
      b2: how much of the accumulators stays at each update; 1: they are sums.
      eps: added to the divisor, in its units, so that it is never 0.

    >>> tx = gx.chain(gx.scale_by_sm3(), gx.scale_by_learning_rate(0.1))

    State    mu: for each leaf a list of vectors, one per axis (of a scalar: itself), real; nu: like p; float32 or wider.
             Memory: 1 x params, and m + n for an m x n matrix.
    Units    u is dimensionless: scaling every gradient by k > 0 leaves u unchanged (eps -> 0).
    Shapes   any, scalars and complex included.
    Sharded  inside `shard_map` what is taken along an axis is taken along the device's own part of it; under `jit` along the whole
             axis.
    Source   Anil et al. 2019, arXiv:1901.11150, Algorithm SM3-II; the decay b2 is Optax's.
    Differs  scalars, at which Optax 0.2.8 raises an IndexError, and complex leaves, which it refuses. The accumulators of narrow
             parameters are float32 (in bfloat16 they stop growing).
    Raises   HyperparameterError: b1 outside [-1, 1], b2 outside [0, 1], eps < 0.
    """
    v = b2 * _covered(s.mu, g.ndim) + jnp.where(b2 < 1, 1 - b2, 1) * abs_sq(g)
    d = jnp.where(v > 0, g * jax.lax.rsqrt(jnp.where(v > 0, v + eps, 1)), 0)
    nu = b1 * s.nu + (1 - b1) * d
    return nu, s._replace(mu=_covers(v), nu=nu)


@optimizer(
    source="Anil et al. 2019, arXiv:1901.11150",
    example={"learning_rate": 0.1},
    rates={"default": 0.1, "digits": 0.1},
)
def sm3(learning_rate: Real[Hyper], momentum: Momentum[Hyper] = 0.9):
    """SM3: Adagrad whose sums of squares are kept only for rows, columns, ..., with momentum.

        v  = min over axes i of mu_i + |g|^2
        nu = momentum nu + (1 - momentum) g / sqrt(v + 1e-8)
        mu_i = max of v over all axes but i
        u  = -learning_rate nu

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      momentum: how much of the running mean of scaled gradients stays at each update.

    >>> tx = gx.sm3(0.1)

    State    (ScaleBySM3State(mu, nu), EmptyState()). Memory: 1 x params, and m + n for an m x n matrix.
    Units    learning_rate has those of p.
    Shapes   any, scalars and complex included.
    Sharded  inside `shard_map` what is taken along an axis is taken along the device's own part of it; under `jit` along the whole
             axis.
    Source   Anil et al. 2019, arXiv:1901.11150, Algorithm SM3-II.
    Differs  as `scale_by_sm3`; learning_rate may be a schedule.
    Raises   HyperparameterError: momentum outside [-1, 1].
    """
    return chain(scale_by_sm3(momentum), scale_by_learning_rate(learning_rate))
