"""RAdam."""

from __future__ import annotations

from typing import Annotated

import jax.numpy as jnp

from gradxform._numerics import abs_sq
from gradxform._types import Average, Decay, Hyper, NonNegative, Range, Real, Value
from gradxform.core import chain, elementwise
from gradxform.optimizers._adam import ScaleByAdamState
from gradxform.registry import optimizer, transform
from gradxform.transforms import scale_by_learning_rate

Threshold = Annotated[Value, Range("[4, inf]")]

_TERMS = 14  # of the continued fraction; more than float64 needs for |z| <= 2


def _langevin(z):
    """coth(z) - 1/z for z >= 0: by its continued fraction z / (3 + z^2 / (5 + ...)), or as it stands where that is harmless."""
    small = jnp.minimum(z, 2.0)
    denominator = 2.0 * _TERMS + 1
    for odd in range(2 * _TERMS - 1, 1, -2):
        denominator = odd + small**2 / denominator
    large = jnp.maximum(z, 2.0)
    return jnp.where(z < 2, small / denominator, 1 / jnp.tanh(large) - 1 / large)


def _lengths(b, t):
    """The length of the running mean, after t updates and in the end, as numbers of equally weighted gradients.

    These are rho_inf = 2 / (1 - b) - 1 and rho_t = rho_inf - 2 t b^t / (1 - b^t). The difference has no digits left in float32; with
    x = -log(b) / 2 and the Langevin function L it is t (1 - L(t x)) + L(x).
    """
    x = -0.5 * jnp.log1p(-jnp.asarray(1 - b))
    t = t.astype(x.dtype)
    return t * (1 - _langevin(t * x)) + _langevin(x), 2 / (1 - b) - 1


def rectification(b, t, threshold):
    """Whether the running mean of |g|^2 is long enough for its root to have a finite variance, and the factor r for that (else 1)."""
    rho, end = _lengths(b, t)
    rectified = rho >= threshold
    rho, end = jnp.where(rectified, rho, 6), jnp.where(rectified, end, 6)
    return rectified, jnp.sqrt((rho - 4) * (rho - 2) * end / ((end - 4) * (end - 2) * rho))


@transform(source="Liu et al. 2020, arXiv:1908.03265, Algorithm 2")
@elementwise(ScaleByAdamState)
def scale_by_radam(
    g, s, p, c,
    b1: Average = 0.9, b2: Decay = 0.999, eps: NonNegative = 1e-8, eps_root: NonNegative = 0.0, threshold: Threshold = 5.0,
    *, nesterov: bool = False,
):  # fmt: skip
    """Adam's direction, rectified for the variance of the second moment; momentum alone as long as that is not finite.

        mu    = b1 mu + (1 - b1) g
        nu    = b2 nu + (1 - b2) |g|^2
        m     = mu^                                     x^ = x / (1 - b^t)
        rho   = rho_inf - 2 t b2^t / (1 - b2^t)         rho_inf = 2 / (1 - b2) - 1
        r     = sqrt((rho - 4) (rho - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho))
        u     = r m / (sqrt(nu^ + eps_root) + eps)      m if rho < threshold

    nesterov:  m = b1 mu / (1 - b1^(t+1)) + (1 - b1) g / (1 - b1^t)

    Args:
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.
      eps_root: added inside the root; more than 0 makes derivatives through the update finite at gradients of 0.
      threshold: the length of memory, in updates, from which on the rectified divisor is used.
      nesterov: look ahead by one step of the momentum.

    >>> tx = gx.chain(gx.scale_by_radam(), gx.scale_by_learning_rate(1e-3))

    State    count; mu: like p; nu: like p but real; float32 or wider. Memory: 2 x params.
    Units    u is dimensionless once rho >= threshold, before that it has those of g.
    Shapes   any, scalars and complex included.
    Source   Liu et al. 2020, arXiv:1908.03265, Algorithm 2, where the threshold is 4.
    Differs  rho is written so that float32 keeps its digits: Optax's r is off by up to 1% in the first updates. Float32 averages for
             narrow parameters; nu is real. r is not defined for rho < 4, hence the range of the threshold.
    Raises   HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps < 0, threshold < 4.
    """
    mu = b1 * s.mu + (1 - b1) * g
    nu = b2 * s.nu + (1 - b2) * abs_sq(g)
    m = b1 * c.debias(mu, b1, ahead=1) + (1 - b1) * c.debias(g, b1) if nesterov else c.debias(mu, b1)
    rectified, r = rectification(b2, c.t, threshold)
    divisor = jnp.where(rectified, jnp.sqrt(c.debias(nu, b2) + eps_root) + eps, 1)
    return jnp.where(rectified, r, 1) * m / divisor, s._replace(mu=mu, nu=nu)


@optimizer(
    source="Liu et al. 2020, arXiv:1908.03265",
    example={"learning_rate": 1e-3},
    rates={"default": 1e-3, "digits": 3e-2},
)
def radam(
    learning_rate: Real[Hyper],
    b1: Average[Hyper] = 0.9,
    b2: Decay[Hyper] = 0.999,
    eps: NonNegative[Hyper] = 1e-8,
    eps_root: NonNegative[Hyper] = 0.0,
    threshold: Threshold[Hyper] = 5.0,
    *,
    nesterov: bool = False,
):
    """RAdam: Adam whose early steps are rectified, or plain momentum while nothing is known of the second moment.

        rho   = rho_inf - 2 t b2^t / (1 - b2^t)         rho_inf = 2 / (1 - b2) - 1; mu, nu as in `adam`
        r     = sqrt((rho - 4) (rho - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho))
        u     = -learning_rate r mu^ / (sqrt(nu^ + eps_root) + eps)         -learning_rate mu^ if rho < threshold

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.
      eps_root: added inside the root; more than 0 makes derivatives through the update finite at gradients of 0.
      threshold: the length of memory, in updates, from which on the rectified divisor is used.
      nesterov: look ahead by one step of the momentum.

    >>> tx = gx.radam(1e-3)

    State    (ScaleByAdamState(count, mu, nu), EmptyState()). Memory: 2 x params.
    Units    learning_rate has those of p; in the first five or so updates those of p / g.
    Shapes   any, scalars and complex included.
    Source   Liu et al. 2020, arXiv:1908.03265, Algorithm 2.
    Differs  as `scale_by_radam`.
    Raises   HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps < 0, threshold < 4.
    """
    direction = scale_by_radam(b1, b2, eps, eps_root, threshold, nesterov=nesterov)
    return chain(direction, scale_by_learning_rate(learning_rate))
