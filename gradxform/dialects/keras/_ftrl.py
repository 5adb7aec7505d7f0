"""`keras.optimizers.Ftrl`."""

from __future__ import annotations

from typing import Annotated, NamedTuple, Unpack

import jax.numpy as jnp

from gradxform._numerics import abs_sq
from gradxform._types import Field, Hyper, NonNegative, Positive, Range, RealUpdates, Updates, Value
from gradxform.core import elementwise
from gradxform.dialects.keras._keras import Common, keras_optimizer, optimizer

NonPositive = Annotated[Value, Range("(-inf, 0]")]


def _initial(zero, initial_accumulator_value):
    return jnp.full_like(zero, initial_accumulator_value)


class FtrlState(NamedTuple):
    """The sum of |g|^2, and the linear part of the sum of the losses so far."""

    accumulator: Annotated[RealUpdates, Field(first=_initial, nonnegative=True)]
    linear: Updates


def _clip(z, most):
    return jnp.sign(z) * jnp.minimum(jnp.abs(z), most)


@elementwise(FtrlState, needs=("params",))
def keras_ftrl_step(
    g, s, p, c,
    learning_rate: Positive, learning_rate_power: NonPositive, initial_accumulator_value: NonNegative,
    l1: NonNegative, l2: NonNegative, l2_shrinkage: NonNegative, beta: NonNegative, weight_decay: NonNegative,
):  # fmt: skip
    """The step of `ftrl`: see there."""
    q = p - weight_decay * learning_rate * p
    n = s.accumulator + abs_sq(g)
    root, last_root = n**-learning_rate_power, s.accumulator**-learning_rate_power
    z = s.linear + (g + 2 * l2_shrinkage * q) - (root - last_root) / learning_rate * q
    curvature = root / learning_rate + 2 * (l2 + beta / (2 * learning_rate))
    w = jnp.where(curvature > 0, (_clip(z, l1) - z) / jnp.where(curvature > 0, curvature, 1), 0)
    return w - p, s._replace(accumulator=n, linear=z)


@keras_optimizer(core="ftrl", example={"learning_rate": 0.1})
def ftrl(
    learning_rate: Positive[Hyper] = 0.001,
    learning_rate_power: NonPositive[Hyper] = -0.5,
    initial_accumulator_value: NonNegative[Hyper] = 0.1,
    l1_regularization_strength: NonNegative[Hyper] = 0.0,
    l2_regularization_strength: NonNegative[Hyper] = 0.0,
    l2_shrinkage_regularization_strength: NonNegative[Hyper] = 0.0,
    beta: NonNegative[Hyper] = 0.0,
    weight_decay: NonNegative[Hyper] | None = None,
    **common: Unpack[Common],
):
    """`keras.optimizers.Ftrl`: the minimum of all linearized losses so far, with penalties that make exact zeros.

        q = p - learning_rate weight_decay p
        m = n + |g|^2                                   g clipped; the first n is initial_accumulator_value
        z = z + g + 2 l2_shrinkage q - (m^-power - n^-power) / learning_rate q
        n = m
        w = (clip(z, l1) - z) / (n^-power / learning_rate + 2 l2 + beta / learning_rate)
        u = w - p                                       p + u is exactly 0 where |z| <= l1

    z starts at 0, and with it p is forgotten at the first update: start from zeros.

    Args:
      learning_rate: the learning rate, or a schedule: a function of the number of completed updates.
      learning_rate_power: the power of the sum of squares by which the rate of a coordinate falls.
      initial_accumulator_value: where the sum of squares begins.
      l1_regularization_strength: the strength of the penalty that makes exact zeros.
      l2_regularization_strength: the strength of the penalty that pulls towards 0.
      l2_shrinkage_regularization_strength: the strength of a penalty that enters through the gradient.
      beta: added to the root of the sum of squares, in the curvature.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update; None: none.
      clipnorm: the norm above which a leaf's gradient is scaled down; None: none.
      clipvalue: the size above which an element of a gradient is cut; None: none.
      global_clipnorm: the norm of all leaves together above which they are scaled down; None: none.
      use_ema: keep a running mean of the parameters in the state; `eval_params` and `ema_params` read it.
      ema_momentum: how much of that running mean stays at each update.
      ema_overwrite_frequency: after how many updates the parameters are set to it; None: never.

    >>> from gradxform.dialects import keras
    >>> tx = keras.ftrl(learning_rate=0.05, l1_regularization_strength=0.01)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; FtrlState(accumulator, linear), with use_ema ParamsEmaState(count, average). Memory: 2 or 3 x params.
    Units    learning_rate has those of p.
    Shapes   any, scalars and complex included: complex z are clipped by their size.
    Source   Keras 3.15, `keras.optimizers.Ftrl`; McMahan et al. 2013, Algorithm 1.
    Differs  0 where nothing is known yet and the quotient is 0 / 0, NaN in Keras.
    Raises   MissingArgumentError: no params. HyperparameterError: an argument out of range; more than one
             clip argument.
    """
    return optimizer(
        keras_ftrl_step(
            learning_rate,
            learning_rate_power,
            initial_accumulator_value,
            l1_regularization_strength,
            l2_regularization_strength,
            l2_shrinkage_regularization_strength,
            beta,
            0.0 if weight_decay is None else weight_decay,
        ),
        common=common,
    )
