"""FTML: follow the moving leader."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform._numerics import abs_sq
from gradxform._types import Decay, Field, NonNegative, Real
from gradxform.core import elementwise, layout
from gradxform.registry import optimizer
from gradxform.transforms import ScaleByRmsWithCountState


# With b1 = 0 the paper's form notices nothing of what else moves the parameters, as the laws do; tests/test_optimizers_options.py
# has b1 = 0.6.
@optimizer(
    source="Zheng & Kwok 2017, ICML",
    example={"learning_rate": 2.5e-3, "b1": 0.0, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 2.5e-3, "digits": 1e-2},
    identities=[("ftml(0.1, 0.0)", "chain(scale_by_rms(0.999, eps_in_sqrt=False, bias_correction=True), scale(-0.1))")],
)
@elementwise(layout(ScaleByRmsWithCountState, nu=Field(mean="b2")))
def ftml(g, s, p, c, learning_rate: Real = 2.5e-3, b1: Decay = 0.6, b2: Decay = 0.999, eps: NonNegative = 1e-8):
    """FTML: RMSProp with a rate that falls from learning_rate to (1 - b1) learning_rate.

        nu = b2 nu + (1 - b2) |g|^2
        u  = -learning_rate (1 - b1) / (1 - b1^t) g / (sqrt(nu^) + eps)     nu^ = nu / (1 - b2^t)

    The paper minimizes a sum of quadratics, d = (1 - b1^t) / learning_rate (sqrt(nu^) + eps) being the curvature:

        z  = b1 z + (1 - b1) g - (d - b1 d_before) p
        p' = -z / d

    There p = -z_before / d_before, and so p' - p = -(1 - b1) g / d, which is u, also with a schedule: z and d need not be kept. The two
    differ where something else moves p (decoupled decay, a projection, a mask): z would take part of that back, u leaves it.

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how fast earlier gradients' pull is forgotten, and the part of the rate that is lost in the end.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.

    >>> tx = gx.ftml(0.0025)

    State    count; nu: like p but real, float32 or wider. Memory: 1 x params.
    Units    learning_rate has those of p.
    Shapes   any, scalars and complex included.
    Source   Zheng & Kwok 2017, "Follow the moving leader in deep learning", Algorithm 1.
    Differs  Optax has no such optimizer. MXNet's keeps z and d: 3 x params.
    Raises   HyperparameterError: b1 or b2 outside [0, 1), eps < 0.
    """
    nu = b2 * s.nu + (1 - b2) * abs_sq(g)
    u = -learning_rate * c.debias((1 - b1) * g, b1) / (jnp.sqrt(c.debias(nu, b2)) + eps)
    return u, s._replace(nu=nu)
