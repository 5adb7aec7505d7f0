"""ACProp."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform._numerics import abs_sq
from gradxform._types import Average, Decay, Hyper, MaskOrFn, NonNegative, Real
from gradxform.core import chain, elementwise
from gradxform.optimizers._adabelief import ScaleByBeliefState
from gradxform.registry import optimizer, transform
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate


@transform(source="Zhuang et al. 2021, arXiv:2110.05454, Algorithm 2")
@elementwise(ScaleByBeliefState)
def scale_by_acprop(
    g, s, p, c, b1: Average = 0.9, b2: Decay = 0.999, eps: NonNegative = 1e-16, eps_root: NonNegative = 1e-16
):  # fmt: skip
    """Divide the gradient by the running size of its earlier surprises, this one left out.

        d  = sqrt(nu / (1 - b2^(t-1))) + eps    at the first update d = 1 + eps
        nu = b2 nu + (1 - b2) |g - mu|^2 + eps_root
        mu = b1 mu + (1 - b1) g
        u  = g / d

    So the divisor does not depend on the gradient that it divides. The first update has no surprise to divide by, hence the 1.

    Args:
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.
      eps_root: added to nu at each update.

    >>> tx = gx.chain(gx.contrib.scale_by_acprop(), gx.scale_by_learning_rate(1e-3))

    State    count; mu: like p, float32 or wider; nu: like p but real. Memory: 2 x params.
    Units    u is dimensionless, the first excepted, which has the units of g.
    Shapes   any, scalars and complex included.
    Source   Zhuang et al. 2021, arXiv:2110.05454, Algorithm 2; the 1 at the first update: Optax.
    Differs  float32 averages for narrow parameters; nu is real.
    Raises   HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps < 0, eps_root < 0.
    """
    past = 1 - b2 ** jnp.maximum(c.t - 1, 1).astype(c.dtype)
    d = jnp.where(c.t > 1, jnp.sqrt(s.nu / past), 1) + eps
    nu = b2 * s.nu + (1 - b2) * abs_sq(g - s.mu) + eps_root
    mu = b1 * s.mu + (1 - b1) * g
    return g / d, s._replace(mu=mu, nu=nu)


@optimizer(
    source="Zhuang et al. 2021, arXiv:2110.05454",
    example={"learning_rate": 1e-3},
    rates={"default": 1e-3, "digits": 1e-3},
    identities=[("acprop(0.1)", "chain(scale_by_acprop(), scale(-0.1))")],
)
def acprop(
    learning_rate: Real[Hyper],
    b1: Average[Hyper] = 0.9,
    b2: Decay[Hyper] = 0.999,
    eps: NonNegative[Hyper] = 1e-16,
    eps_root: NonNegative[Hyper] = 1e-16,
    weight_decay: Real[Hyper] = 0.0,
    mask: MaskOrFn = None,
):
    """ACProp: the gradient, divided by the running size of its earlier surprises.

        d  = sqrt(nu / (1 - b2^(t-1))) + eps    at the first update d = 1 + eps
        nu = b2 nu + (1 - b2) |g - mu|^2 + eps_root
        mu = b1 mu + (1 - b1) g
        u  = -learning_rate (g / d + weight_decay p)

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.
      eps_root: added to nu at each update.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.

    >>> tx = gx.acprop(1e-3, weight_decay=1e-2)

    State    (ScaleByBeliefState(count, mu, nu), EmptyState(), EmptyState()). Memory: 2 x params.
    Units    learning_rate has those of p; weight_decay those of 1 / p.
    Shapes   any, scalars and complex included.
    Source   Zhuang et al. 2021, arXiv:2110.05454, Algorithm 2.
    Differs  as `scale_by_acprop`.
    Raises   MissingArgumentError: no params. HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps < 0, eps_root < 0.
    """
    return chain(
        scale_by_acprop(b1, b2, eps, eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
