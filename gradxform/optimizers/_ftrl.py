"""FTRL-proximal: follow the regularized leader, to weights that are exactly zero."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import jax.numpy as jnp

from gradxform._numerics import abs_sq
from gradxform._types import READS_CLOCK, Field, NonNegative, Positive, RealUpdates, Shared, Updates
from gradxform.core import elementwise
from gradxform.registry import optimizer

LEAST_RATE = 1e-6  # the rate divides


def _initial(zero, initial_accumulator_value):
    return jnp.full_like(zero, initial_accumulator_value)


def _rate(learning_rate):
    return jnp.maximum(learning_rate, LEAST_RATE)


class FtrlState(NamedTuple):
    """The linear term of the leader's problem, the sum of |g|^2, and the last learning rate."""

    z: Updates
    n: Annotated[RealUpdates, Field(first=_initial, nonnegative=True)]
    rate: Annotated[Shared, Field(first=_rate, advance=lambda rate, c, learning_rate: _rate(learning_rate), constant=True)]


@optimizer(
    source="McMahan et al. 2013, KDD, Algorithm 1",
    example={"learning_rate": 0.1, "l1": 0.01, "l2": 0.01},
    rates={"default": 0.1, "digits": 0.1},
)
@elementwise(
    FtrlState,
    needs=("params",),
)
def ftrl(
    g, s, p, c,
    learning_rate: Positive, l1: NonNegative = 0.0, l2: NonNegative = 0.0, beta: NonNegative = 1.0,
    initial_accumulator_value: NonNegative = 0.0, keep_initial: Annotated[bool, READS_CLOCK] = False,
):  # fmt: skip
    """FTRL-proximal: jump to the minimum of all past gradients' linear models, with L1 and L2 penalties.

        d  = (beta + sqrt(n)) / learning_rate + l2                          before: with the last n and the last rate
        z  = z + g - (d - d_before) p
        p' = -(z - l1 sign(z)) / d                                          0 where |z| <= l1
        u  = p' - p                                                         n = n + |g|^2

    The first z is 0, and the first p' near 0: initial weights are forgotten. With keep_initial the first z is -d_before p - l1 sign(p),
    which implies them, so that training goes on from there. The first n is initial_accumulator_value.

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      l1: the weight of the sum of |p|.
      l2: the weight of the sum of |p|^2 / 2.
      beta: added to the root of the sum of squares, in the units of g.
      initial_accumulator_value: the first sum of squares.
      keep_initial: go on from the initial weights, which are forgotten otherwise.

    >>> tx = gx.ftrl(0.1, l1=0.01)

    State    z: like p; n: like p but real; both float32 or wider; rate, the last one; with keep_initial or a schedule in a CountedState.
             Memory: 2 x params.
    Units    learning_rate has those of p; l1 and beta those of g; l2 those of g / p.
    Shapes   any, scalars and complex included (sign(z) = z / |z|).
    Source   McMahan et al. 2013, "Ad click prediction: a view from the trenches", Algorithm 1.
    Differs  Optax has no such optimizer. Some descriptions lack the + g in z, and have its other sign.
             p + (0 - p) is 0 exactly: zeros are zeros. With a schedule the paper's sum of d - d_before is kept; MXNet and TensorFlow
             take both at the new rate, and so shrink all weights as the rate falls. A rate below 1e-6 counts as 1e-6.
    Raises   MissingArgumentError: no params. HyperparameterError: learning_rate <= 0, another argument < 0.
    """
    n, root = s.n + abs_sq(g), beta + jnp.sqrt(s.n)
    d_before, d = root / s.rate + l2, (beta + jnp.sqrt(n)) / c.rate + l2
    growth = (jnp.sqrt(n) - jnp.sqrt(s.n)) / c.rate + root * (1 / c.rate - 1 / s.rate)  # d - d_before, without its rounding
    z = jnp.where(c.t == 1, -d_before * p - l1 * jnp.sign(p), s.z) if keep_initial else s.z
    z = z + g - growth * p
    new_p = jnp.where(jnp.abs(z) <= l1, 0, -(z - l1 * jnp.sign(z)) / d)
    return new_p - p, s._replace(z=z, n=n)
