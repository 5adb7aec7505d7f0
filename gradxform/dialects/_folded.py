"""Adam with its bias corrections folded into the step, as MXNet and neon compute it."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform._numerics import abs_sq
from gradxform._types import Array, Decay, NonNegative
from gradxform.core import elementwise
from gradxform.core._hyper import Fraction
from gradxform.dialects._pieces import one_minus_power
from gradxform.optimizers import ScaleByAdamState


def correction(b1: float | Array | Fraction, b2: float | Array | Fraction, t: Array) -> Array:
    """sqrt(1 - b2^t) / (1 - b1^t)."""
    return jnp.sqrt(one_minus_power(b2, t)) / one_minus_power(b1, t)


@elementwise(ScaleByAdamState)
def scale_by_folded_adam(g, s, p, c, b1: Decay = 0.9, b2: Decay = 0.999, eps: NonNegative = 1e-8):
    """Divide the gradient's running mean by its running root mean square; eps joins the one that is not debiased.

        mu = b1 mu + (1 - b1) g
        nu = b2 nu + (1 - b2) |g|^2
        u  = sqrt(1 - b2^t) / (1 - b1^t) mu / (sqrt(nu) + eps)

    State    count; mu: like p; nu: like p but real; float32 or wider. Memory: 2 x params.
    Units    u is dimensionless: scaling every gradient by k > 0 leaves u unchanged (eps -> 0).
    Shapes   any, scalars and complex included.
    Source   Kingma & Ba 2015, arXiv:1412.6980, the end of section 2; MXNet 2 and neon.
    Differs  from `scale_by_adam`: its eps is eps / sqrt(1 - b2^t) here, larger in the first updates.
    Raises   HyperparameterError: b1 or b2 outside [0, 1), eps < 0.
    """
    mu = b1 * s.mu + (1 - b1) * g
    nu = b2 * s.nu + (1 - b2) * abs_sq(g)
    return correction(b1, b2, c.t) * mu / (jnp.sqrt(nu) + eps), s._replace(mu=mu, nu=nu)
