"""AdaBelief."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import jax.numpy as jnp

from gradxform._numerics import abs_sq
from gradxform._types import Average, Clock, Decay, Field, Hyper, NonNegative, Real, RealUpdates, Updates
from gradxform.core import chain, elementwise
from gradxform.registry import optimizer, transform
from gradxform.transforms import scale_by_learning_rate


class ScaleByBeliefState(NamedTuple):
    """The running means of g and of |g - mu|^2, not debiased."""

    count: Clock
    mu: Annotated[Updates, Field(mean="b1")]
    nu: Annotated[RealUpdates, Field(mean="b2", nonnegative=True)]


@transform(source="Zhuang et al. 2020, arXiv:2010.07468, Algorithm 2", homogeneity=0, example={"eps": 1e-30, "eps_root": 0.0})
@elementwise(ScaleByBeliefState)
def scale_by_belief(
    g, s, p, c,
    b1: Average = 0.9, b2: Decay = 0.999, eps: NonNegative = 1e-16, eps_root: NonNegative = 1e-16, *, nesterov: bool = False,
):  # fmt: skip
    """Divide the gradient's running mean by the running size of its surprise.

        mu = b1 mu + (1 - b1) g
        nu = b2 nu + (1 - b2) |g - mu|^2 + eps_root
        m  = mu^                                x^ = x / (1 - b^t)
        u  = m / (sqrt(nu^) + eps)

    nesterov:  m = b1 mu / (1 - b1^(t+1)) + (1 - b1) g / (1 - b1^t)

    Args:
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.
      eps_root: added to nu at each update.
      nesterov: look ahead by one step of the momentum.

    >>> tx = gx.chain(gx.scale_by_belief(), gx.scale_by_learning_rate(1e-3))

    State    count; mu: like p, float32 or wider; nu: like p but real. Memory: 2 x params.
    Units    u is dimensionless: scaling every gradient by k > 0 leaves u unchanged (eps, eps_root -> 0).
    Shapes   any, scalars and complex included.
    Source   Zhuang et al. 2020, arXiv:2010.07468, Algorithm 2, where eps and eps_root are one.
    Differs  float32 averages for narrow parameters; nu is real.
    Raises   HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps < 0, eps_root < 0.
    """
    mu = b1 * s.mu + (1 - b1) * g
    nu = b2 * s.nu + (1 - b2) * abs_sq(g - mu) + eps_root
    m = b1 * c.debias(mu, b1, ahead=1) + (1 - b1) * c.debias(g, b1) if nesterov else c.debias(mu, b1)
    return m / (jnp.sqrt(c.debias(nu, b2)) + eps), s._replace(mu=mu, nu=nu)


@optimizer(
    source="Zhuang et al. 2020, arXiv:2010.07468",
    example={"learning_rate": 1e-3, "eps": 1e-30, "eps_root": 0.0},
    homogeneity=0,
    rates={"default": 1e-3, "digits": 1e-3},
)
def adabelief(
    learning_rate: Real[Hyper],
    b1: Average[Hyper] = 0.9,
    b2: Decay[Hyper] = 0.999,
    eps: NonNegative[Hyper] = 1e-16,
    eps_root: NonNegative[Hyper] = 1e-16,
    *,
    nesterov: bool = False,
):
    """AdaBelief: momentum, divided by the running size of the gradient's deviation from it.

        mu = b1 mu + (1 - b1) g
        nu = b2 nu + (1 - b2) |g - mu|^2 + eps_root
        u  = -learning_rate mu^ / (sqrt(nu^) + eps)                         x^ = x / (1 - b^t)

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.
      eps_root: added to nu at each update.
      nesterov: look ahead by one step of the momentum.

    >>> tx = gx.adabelief(gx.cosine_decay_schedule(1e-3, 1000))

    State    (ScaleByBeliefState(count, mu, nu), EmptyState()). Memory: 2 x params.
    Units    learning_rate has those of p.
    Shapes   any, scalars and complex included.
    Source   Zhuang et al. 2020, arXiv:2010.07468, Algorithm 2.
    Differs  as `scale_by_belief`.
    Raises   HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps < 0, eps_root < 0.
    """
    return chain(scale_by_belief(b1, b2, eps, eps_root, nesterov=nesterov), scale_by_learning_rate(learning_rate))
