"""Yogi."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform._numerics import abs_sq
from gradxform._types import Average, Decay, Field, Hyper, NonNegative, Real
from gradxform.core import chain, elementwise, layout
from gradxform.optimizers._adam import ScaleByAdamState
from gradxform.registry import optimizer, transform
from gradxform.transforms import scale_by_learning_rate


def _initial(zero, initial_accumulator_value):
    return jnp.full_like(zero, initial_accumulator_value)


@transform(
    source="Zaheer et al. 2018, NeurIPS 31, Algorithm 2", homogeneity=0, example={"eps": 1e-30, "initial_accumulator_value": 0.0}
)
@elementwise(layout(ScaleByAdamState, mu=Field(first=_initial, partner=""), nu=Field(first=_initial, mean="")))
def scale_by_yogi(
    g, s, p, c,
    b1: Average = 0.9, b2: Decay = 0.999, eps: NonNegative = 1e-3, eps_root: NonNegative = 0.0,
    initial_accumulator_value: NonNegative = 1e-6,
):  # fmt: skip
    """Divide the gradient's running mean by a root mean square that moves by (1 - b2) |g|^2 and no more.

        mu = b1 mu + (1 - b1) g
        nu = nu - (1 - b2) sign(nu - |g|^2) |g|^2
        u  = mu^ / (sqrt(nu^ + eps_root) + eps)                             x^ = x / (1 - b^t)

    The first mu and nu are initial_accumulator_value, so that a gradient of 0 moves at first, by about that over eps.

    Args:
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.
      eps_root: added inside the root; more than 0 makes derivatives through the update finite at gradients of 0.
      initial_accumulator_value: the first mean and the first mean of squares.

    >>> tx = gx.chain(gx.scale_by_yogi(), gx.scale_by_learning_rate(1e-2))

    State    count; mu: like p; nu: like p but real; float32 or wider. Memory: 2 x params.
    Units    u is dimensionless: scaling every gradient by k > 0 leaves u unchanged (eps, initial_accumulator_value -> 0).
    Shapes   any, scalars and complex included.
    Source   Zaheer et al. 2018, NeurIPS 31, Algorithm 2, with Adam's bias corrections; mu begins at 0 there.
    Differs  float32 averages for narrow parameters; nu is real.
    Raises   HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps < 0, initial_accumulator_value < 0.
    """
    mu = b1 * s.mu + (1 - b1) * g
    nu = s.nu - (1 - b2) * jnp.sign(s.nu - abs_sq(g)) * abs_sq(g)
    u = c.debias(mu, b1) / (jnp.sqrt(c.debias(nu, b2) + eps_root) + eps)
    return u, s._replace(mu=mu, nu=nu)


@optimizer(
    source="Zaheer et al. 2018, NeurIPS 31",
    example={"learning_rate": 1e-2},
    rates={"default": 1e-2, "digits": 1e-2},
)
def yogi(learning_rate: Real[Hyper], b1: Average[Hyper] = 0.9, b2: Decay[Hyper] = 0.999, eps: NonNegative[Hyper] = 1e-3):
    """Yogi: Adam whose second moment grows and shrinks by steps of the gradient's square.

        mu = b1 mu + (1 - b1) g
        nu = nu - (1 - b2) sign(nu - |g|^2) |g|^2
        u  = -learning_rate mu^ / (sqrt(nu^) + eps)                         x^ = x / (1 - b^t)

    The first mu and nu are 1e-6.

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.

    >>> tx = gx.yogi(1e-2)

    State    (ScaleByAdamState(count, mu, nu), EmptyState()). Memory: 2 x params.
    Units    learning_rate has those of p.
    Shapes   any, scalars and complex included.
    Source   Zaheer et al. 2018, NeurIPS 31, Algorithm 2.
    Differs  as `scale_by_yogi`.
    Raises   HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps < 0.
    """
    return chain(scale_by_yogi(b1, b2, eps), scale_by_learning_rate(learning_rate))
