"""LaProp."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import jax.numpy as jnp

from gradxform._numerics import abs_sq
from gradxform._types import Average, Clock, Decay, DType, Field, Hyper, MaskOrFn, NonNegative, Real, RealUpdates, Updates
from gradxform.core import chain, elementwise
from gradxform.registry import optimizer, transform
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate


class ScaleByLaPropState(NamedTuple):
    """The running means of normalized gradients and of |g|^2, not debiased."""

    count: Clock
    mu: Annotated[Updates, Field(stored="mu_dtype", mean="b1")]
    nu: Annotated[RealUpdates, Field(mean="b2", nonnegative=True)]


@transform(source="Ziyin et al. 2020, arXiv:2002.04839, Algorithm 1", homogeneity=0, example={"eps": 1e-30})
@elementwise(ScaleByLaPropState)
def scale_by_laprop(g, s, p, c, b1: Average = 0.9, b2: Decay = 0.999, eps: NonNegative = 1e-15, mu_dtype: DType | None = None):
    """Average gradients that are divided by their running root mean square.

        nu = b2 nu + (1 - b2) |g|^2
        mu = b1 mu + (1 - b1) g / (sqrt(nu^) + eps)                         x^ = x / (1 - b^t)
        u  = mu^

    Args:
      b1: how much of the running mean of normalized gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.

    >>> tx = gx.chain(gx.scale_by_laprop(), gx.scale_by_learning_rate(4e-4))

    State    count; mu: like p, float32 or wider unless mu_dtype says otherwise; nu: like p but real. Memory: 2 x params.
    Units    u is dimensionless: scaling every gradient by k > 0 leaves u unchanged (eps -> 0).
    Shapes   any, scalars and complex included.
    Source   Ziyin, Wang & Ueda 2020, arXiv:2002.04839, Algorithm 1.
    Differs  Optax has none. The authors' learning rate is inside mu; with a constant rate the steps are the same.
    Raises   HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps < 0.
    """
    nu = b2 * s.nu + (1 - b2) * abs_sq(g)
    mu = b1 * s.mu + (1 - b1) * g / (jnp.sqrt(c.debias(nu, b2)) + eps)
    return c.debias(mu, b1), s._replace(mu=mu, nu=nu)


@optimizer(
    source="Ziyin et al. 2020, arXiv:2002.04839",
    example={"learning_rate": 1e-3, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 4e-4, "digits": 3e-3},
)
def laprop(
    learning_rate: Real[Hyper],
    b1: Average[Hyper] = 0.9,
    b2: Decay[Hyper] = 0.999,
    eps: NonNegative[Hyper] = 1e-15,
    mu_dtype: DType | None = None,
    weight_decay: Real[Hyper] = 0.0,
    mask: MaskOrFn = None,
):
    """LaProp: Adam whose momentum is one of normalized gradients.

        nu = b2 nu + (1 - b2) |g|^2
        mu = b1 mu + (1 - b1) g / (sqrt(nu^) + eps)                         x^ = x / (1 - b^t)
        u  = -learning_rate (mu^ + weight_decay p)

    Each step is at most as long as those before it, whatever b1 and b2 are, for what enters the momentum is normalized already.

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of normalized gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.

    >>> tx = gx.laprop(4e-4, weight_decay=0.1)

    State    (ScaleByLaPropState(count, mu, nu), EmptyState(), EmptyState()). Memory: 2 x params.
    Units    learning_rate has those of p: the step is about learning_rate per element. weight_decay has those of 1 / p.
    Shapes   any, scalars and complex included.
    Source   Ziyin, Wang & Ueda 2020, arXiv:2002.04839, Algorithm 1.
    Differs  Optax has none. The authors' code puts the rate inside mu, and decays by weight_decay p, not times the rate.
    Raises   MissingArgumentError: no params. HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps < 0.
    """
    direction = scale_by_laprop(b1, b2, eps, mu_dtype)
    return chain(direction, add_decayed_weights(weight_decay, mask), scale_by_learning_rate(learning_rate))
