"""ADOPT."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from gradxform._numerics import abs_sq, clip_elements
from gradxform._types import Array, DType, Field, Hyper, Momentum, NonNegative, Real, Unit
from gradxform.core import chain, elementwise, layout
from gradxform.core._hyper import called
from gradxform.optimizers._adam import ScaleByAdamState
from gradxform.registry import optimizer, transform
from gradxform.transforms import scale_by_learning_rate


def fourth_root(k: Array) -> Array:
    """The paper's bound on the normalized gradient after k completed updates."""
    return k**0.25


@transform(source="Taniguchi et al. 2024, arXiv:2411.02853, Algorithm 2", homogeneity=0, example={"eps": 1e-30})
@elementwise(layout(ScaleByAdamState, mu=Field(partner="")))
def scale_by_adopt(
    g, s, p, c, b1: Momentum = 0.9, b2: Unit = 0.9999, eps: NonNegative = 1e-6, mu_dtype: DType | None = None,
    *, nesterov: bool = False, use_clipping: bool = True, clip_value_fn: Callable[[Any], Any] = fourth_root,
):  # fmt: skip
    """Average gradients that are divided by the root mean square of those before them.

        r  = g / max(sqrt(nu), eps)             k = t - 1 updates are complete
        r  = min(max(r, -clip_value_fn(k)), clip_value_fn(k))
        mu = b1 mu + (1 - b1) r
        nu = b2 nu + (1 - b2) |g|^2
        u  = mu                                 nesterov: b1 mu + (1 - b1) r

    The first update only sets nu = |g|^2: mu stays, and u = mu. use_clipping=False leaves out the second line.

    Args:
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: the least divisor.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      nesterov: look ahead by one step of the momentum.
      use_clipping: clip the normalized gradients.
      clip_value_fn: the number of completed updates -> the bound of the normalized gradients.

    >>> tx = gx.chain(gx.contrib.scale_by_adopt(), gx.scale_by_learning_rate(1e-3))

    State    count; mu: like p, float32 or wider unless mu_dtype says otherwise; nu: like p but real. Memory: 2 x params.
    Units    u is dimensionless: scaling every gradient by k > 0 leaves u unchanged (eps -> 0).
    Shapes   any, scalars and complex included; complex elements are clipped in size and keep their phase.
    Source   Taniguchi et al. 2024, arXiv:2411.02853, Algorithm 2.
    Differs  float32 averages for narrow parameters; complex updates, which Optax cannot clip.
    Raises   HyperparameterError: b1 outside [-1, 1], b2 outside [0, 1], eps < 0.
    """
    later = c.t > 1
    r = jnp.where(later, g / jnp.maximum(jnp.sqrt(s.nu), eps), 0)
    r = clip_elements(r, called("scale_by_adopt", "clip_value_fn", clip_value_fn, (c.t - 1).astype(c.dtype))) if use_clipping else r
    mu = jnp.where(later, b1 * s.mu + (1 - b1) * r, s.mu)
    nu = jnp.where(later, b2 * s.nu + (1 - b2) * abs_sq(g), abs_sq(g))
    u = jnp.where(later, b1 * mu + (1 - b1) * r, mu) if nesterov else mu
    return u, s._replace(mu=mu, nu=nu)


@optimizer(
    source="Taniguchi et al. 2024, arXiv:2411.02853",
    example={"learning_rate": 1e-3, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 1e-3, "digits": 1e-2},
    identities=[("adopt(0.1)", "chain(scale_by_adopt(), scale(-0.1))")],
)
def adopt(
    learning_rate: Real[Hyper],
    b1: Momentum[Hyper] = 0.9,
    b2: Unit[Hyper] = 0.9999,
    eps: NonNegative[Hyper] = 1e-6,
    mu_dtype: DType | None = None,
    *,
    nesterov: bool = False,
    use_clipping: bool = True,
    clip_value_fn: Callable[[Any], Any] = fourth_root,
):
    """ADOPT: momentum of normalized gradients, which converges for every b2.

        r  = g / max(sqrt(nu), eps)             clipped to [-c, c], c = clip_value_fn(t - 1)
        mu = b1 mu + (1 - b1) r
        nu = b2 nu + (1 - b2) |g|^2             at the first update nu = |g|^2 and u = 0
        u  = -learning_rate mu

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: the least divisor.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      nesterov: look ahead by one step of the momentum.
      use_clipping: clip the normalized gradients.
      clip_value_fn: the number of completed updates -> the bound of the normalized gradients.

    >>> tx = gx.adopt(1e-3, nesterov=True)

    State    (ScaleByAdamState(count, mu, nu), EmptyState()). Memory: 2 x params.
    Units    learning_rate has those of p: the step is about learning_rate per element.
    Shapes   any, scalars and complex included.
    Source   Taniguchi et al. 2024, arXiv:2411.02853, Algorithm 2.
    Differs  as `scale_by_adopt`.
    Raises   HyperparameterError: b1 outside [-1, 1], b2 outside [0, 1], eps < 0.
    """
    direction = scale_by_adopt(b1, b2, eps, mu_dtype, nesterov=nesterov, use_clipping=use_clipping, clip_value_fn=clip_value_fn)
    return chain(direction, scale_by_learning_rate(learning_rate))
