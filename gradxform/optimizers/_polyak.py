"""Polyak's step size."""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp

from gradxform._numerics import sum_sq
from gradxform._types import Bound, Floor, Hyper, NonNegative, Real
from gradxform.core import chain, per_tree
from gradxform.optimizers._sgd import sgd
from gradxform.registry import optimizer, transform


@transform(source="Polyak 1987; Loizou et al. 2021, arXiv:2002.10542", needs={"value": lambda params, grads: jnp.float32(1)})
@per_tree(total=sum_sq, needs=("value",))
def scale_by_polyak(
    g, s, p, c,
    f_min: Floor = 0.0, max_learning_rate: Bound = 1.0, eps: NonNegative = 0.0, variant: Literal["sps", "sps+"] = "sps",
):  # fmt: skip
    """Scale by the step that would reach the minimum of a function that is as steep all the way.

        ||g||^2 = sum over all leaves of |g|^2
        u       = min((value - f_min) / (||g||^2 + eps), max_learning_rate) g           0 where ||g||^2 + eps = 0

    variant="sps+":  max(value - f_min, 0)

    `update(..., value=f)` gives the function's value at p.

    Args:
      f_min: the least that the function can be.
      max_learning_rate: the largest factor.
      eps: added to the divisor, in its units, so that it is never 0.
      variant: "sps", or "sps+", which takes no step back where value < f_min.

    >>> tx = gx.chain(gx.scale_by_polyak(), gx.scale(-1.0))
    >>> updates, state = tx.update(grads, tx.init(params), params, value=2.0)

    State    EmptyState(); with a schedule ScaleByScheduleState(count). Memory: none.
    Units    u has those of p if value has those of g p.
    Shapes   any, scalars and complex included.
    Sharded  inside `shard_map` sums over the tree are over the device's own parts, and each device goes on with its own; under
             `jit` over all.
    Source   Polyak 1987, "Introduction to Optimization"; Loizou et al. 2021, arXiv:2002.10542, SPS_max; "sps+": Garrigos et al. 2023,
             arXiv:2307.14528.
    Differs  ||g||^2 is summed in float32 or wider. Optax stops where ||g||^2 + eps <= 2.2e-16; here only at 0.
    Raises   MissingArgumentError: no value. HyperparameterError: max_learning_rate < 0, eps < 0, an unknown variant.
    """
    gap = jnp.asarray(c.value).astype(c.dtype) - f_min
    gap = jnp.maximum(gap, 0) if variant == "sps+" else gap
    steepness = c.total + eps
    step = jnp.minimum(gap / jnp.where(steepness > 0, steepness, 1), max_learning_rate)
    return jnp.where(steepness > 0, step, 0) * g, s


@optimizer(
    source="Polyak 1987; Loizou et al. 2021, arXiv:2002.10542",
    needs={"value": lambda params, grads: jnp.float32(1)},
    rates={"default": 1.0, "digits": 3.0},
)
def polyak_sgd(
    max_learning_rate: Bound[Hyper] = 1.0,
    scaling: Real[Hyper] = 1.0,
    f_min: Floor[Hyper] = 0.0,
    eps: NonNegative[Hyper] = 0.0,
    variant: Literal["sps", "sps+"] = "sps",
):
    """Gradient descent with Polyak's step size.

        d = -scaling g
        u = min((value - f_min) / (||d||^2 + eps), max_learning_rate) d

    variant="sps+":  max(value - f_min, 0)

    `update(..., value=f)` gives the function's value at p. Where max_learning_rate does not bind, the step is *divided* by scaling.

    Args:
      max_learning_rate: the largest step; a number or a schedule.
      scaling: a factor of the direction; where max_learning_rate does not bind, the step is divided by it.
      f_min: the least that the function can be.
      eps: added to the divisor, in its units, so that it is never 0.
      variant: "sps", or "sps+", which takes no step back where value < f_min.

    >>> tx = gx.polyak_sgd(max_learning_rate=1.0)
    >>> updates, state = tx.update(grads, tx.init(params), params, value=2.0)

    State    ((EmptyState(), EmptyState()), EmptyState()). Memory: none.
    Units    max_learning_rate has those of p / g.
    Shapes   any, scalars and complex included.
    Sharded  inside `shard_map` sums over the tree are over the device's own parts, and each device goes on with its own; under
             `jit` over all.
    Source   Polyak 1987, "Introduction to Optimization"; Loizou et al. 2021, arXiv:2002.10542, SPS_max.
    Differs  as `scale_by_polyak`; max_learning_rate may be a schedule.
    Raises   MissingArgumentError: no value. HyperparameterError: max_learning_rate or eps < 0, an unknown variant.
    """
    return chain(sgd(scaling), scale_by_polyak(f_min, max_learning_rate, eps, variant))
