"""Division by a running root mean square, around zero or around the mean."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import jax.numpy as jnp

from gradxform._numerics import abs_sq, root
from gradxform._types import READS_CLOCK, Clock, Field, NonNegative, RealUpdates, Unit, Updates
from gradxform.core import elementwise, layout
from gradxform.registry import transform


def _initial(zero, initial_scale=0.0):
    return jnp.full_like(zero, initial_scale)


class ScaleByRmsState(NamedTuple):
    """The running mean of |g|^2."""

    nu: Annotated[RealUpdates, Field(mean="decay", nonnegative=True)]


class ScaleByRmsWithCountState(NamedTuple):
    """The same with a clock, for bias correction and schedules."""

    count: Clock
    nu: Annotated[RealUpdates, Field(first=_initial, mean="decay", nonnegative=True)]


class ScaleByRStdDevState(NamedTuple):
    """The running means of g and |g|^2."""

    mu: Updates
    nu: RealUpdates


class ScaleByRStdDevWithCountState(NamedTuple):
    """The same with a clock, for bias correction and schedules."""

    count: Clock
    mu: Updates
    nu: Annotated[RealUpdates, Field(first=_initial)]


@transform(source="Tieleman & Hinton 2012, lecture 6.5", homogeneity=0, example={"eps": 1e-30})
@elementwise(layout(ScaleByRmsWithCountState, count=Field(absent=ScaleByRmsState)))
def scale_by_rms(
    g, s, p, c,
    decay: Unit = 0.9, eps: NonNegative = 1e-8, initial_scale: NonNegative = 0.0,
    eps_in_sqrt: Literal[True, False, "both"] = True, bias_correction: Annotated[bool, READS_CLOCK] = False,
):  # fmt: skip
    """Divide updates by their running root mean square.

        nu = decay nu + (1 - decay) |g|^2
        u  = g / sqrt(nu + eps)                 eps_in_sqrt=False: g / (sqrt(nu) + eps); "both": g / (sqrt(nu + eps) + eps)

    With bias_correction, nu / (1 - decay^t) stands for nu in the second line. The first nu is initial_scale.

    Args:
      decay: how much of the running mean of squares stays at each update.
      eps: added to the divisor, or inside its root, as eps_in_sqrt says.
      initial_scale: the first mean of squares.
      eps_in_sqrt: where eps is added: True inside the root, False outside of it, "both" at both places.
      bias_correction: divide the averages by 1 - b^t, since they begin at 0.

    >>> tx = gx.chain(gx.scale_by_rms(decay=0.99), gx.scale_by_learning_rate(1e-3))

    State    nu: like p but real, float32 or wider; with bias_correction or a schedule also count. Memory: 1 x params.
    Units    u is dimensionless: scaling every gradient by k > 0 leaves u unchanged (eps -> 0).
    Shapes   any, scalars and complex included.
    Source   Tieleman & Hinton 2012, lecture 6.5; eps outside the root: PyTorch; both: neon.
    Differs  eps_in_sqrt="both" is new. Float32 nu for narrow parameters: a zero float16 gradient gives 0, bfloat16 averages decay.
    Raises   HyperparameterError: decay outside [0, 1], eps < 0, an unknown eps_in_sqrt.
    """
    nu = decay * s.nu + (1 - decay) * abs_sq(g)
    nu_hat = c.debias(nu, decay) if bias_correction else nu
    return g / root(nu_hat, eps, eps_in_sqrt), s._replace(nu=nu)


@transform(source="Graves 2013, arXiv:1308.0850", homogeneity=0, example={"eps": 1e-30})
@elementwise(layout(ScaleByRStdDevWithCountState, count=Field(absent=ScaleByRStdDevState)))
def scale_by_stddev(
    g, s, p, c,
    decay: Unit = 0.9, eps: NonNegative = 1e-8, initial_scale: NonNegative = 0.0,
    eps_in_sqrt: Literal[True, False, "both"] = True, bias_correction: Annotated[bool, READS_CLOCK] = False,
):  # fmt: skip
    """Divide updates by their running standard deviation.

        var = decay (nu - |mu|^2 + (1 - decay) |g - mu|^2)
        mu  = decay mu + (1 - decay) g
        nu  = decay nu + (1 - decay) |g|^2
        u   = g / sqrt(var + eps)               eps_in_sqrt=False: g / (sqrt(var) + eps); "both": g / (sqrt(var + eps) + eps)

    The first line is nu - |mu|^2 of the new averages, written so that rounding cannot make it negative: with nearly constant
    gradients the plain difference does, and its root is NaN. With bias_correction, var = nu^ - |mu^|^2, x^ = x / (1 - decay^t).

    Args:
      decay: how much of the running mean of squares stays at each update.
      eps: added to the divisor, or inside its root, as eps_in_sqrt says.
      initial_scale: the first mean of squares.
      eps_in_sqrt: where eps is added: True inside the root, False outside of it, "both" at both places.
      bias_correction: divide the averages by 1 - b^t, since they begin at 0.

    >>> tx = gx.chain(gx.scale_by_stddev(), gx.scale_by_learning_rate(1e-3))

    State    mu: like p; nu: like p but real; float32 or wider; with bias_correction or a schedule also count. Memory: 2 x params.
    Units    u is dimensionless: scaling every gradient by k > 0 leaves u unchanged (eps -> 0).
    Shapes   any, scalars and complex included.
    Source   Graves 2013, arXiv:1308.0850, equations 38-41.
    Differs  var is never negative; Optax becomes NaN on constant gradients. Float32 averages for narrow parameters. With bias_correction
             the first var is 0, so that the first update is g / sqrt(eps): give eps the size of g^2, or warm up.
    Raises   HyperparameterError: decay outside [0, 1], eps < 0.
    """
    var = decay * (jnp.maximum(s.nu - abs_sq(s.mu), 0) + (1 - decay) * abs_sq(g - s.mu))
    mu = decay * s.mu + (1 - decay) * g
    nu = decay * s.nu + (1 - decay) * abs_sq(g)
    if bias_correction:
        var = jnp.maximum(c.debias(nu, decay) - abs_sq(c.debias(mu, decay)), 0)
    return g / root(var, eps, eps_in_sqrt), s._replace(mu=mu, nu=nu)
