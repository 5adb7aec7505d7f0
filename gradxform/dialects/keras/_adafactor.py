"""`keras.optimizers.Adafactor`."""

from __future__ import annotations

from typing import Annotated, Unpack

import jax.numpy as jnp

from gradxform._numerics import abs_sq
from gradxform._types import Hyper, NonNegative, Positive, Range, Real, Value
from gradxform.core import per_leaf
from gradxform.dialects._pieces import LAST_TWO_AXES
from gradxform.dialects.keras._keras import Common, keras_optimizer, optimizer

NonPositive = Annotated[Value, Range("(-inf, 0]")]


def _rms(x):
    return jnp.sqrt(jnp.mean(abs_sq(x)))


@per_leaf(LAST_TWO_AXES, needs=("params",))
def keras_adafactor_step(
    g, s, p, c,
    learning_rate: Real, beta_2_decay: NonPositive, epsilon_1: NonNegative, epsilon_2: NonNegative,
    clip_threshold: Positive, weight_decay: NonNegative,
):  # fmt: skip
    """The step of `adafactor`, of the size of the parameter: see there."""
    decay = weight_decay * learning_rate * p
    t = c.t.astype(c.dtype)
    size = jnp.maximum(epsilon_2, _rms(p - decay)) * jnp.minimum(learning_rate, 1 / jnp.sqrt(t))
    b = 1 - t**beta_2_decay
    sq = abs_sq(g) + epsilon_1
    if g.ndim > 1:
        v_row = b * s.v_row + (1 - b) * sq.mean(-1)
        v_col = b * s.v_col + (1 - b) * sq.mean(-2)
        s = s._replace(v_row=v_row, v_col=v_col)
        v = (v_row / v_row.mean(-1, keepdims=True))[..., None] * v_col[..., None, :]
    else:
        v = b * s.v + (1 - b) * sq
        s = s._replace(v=v)
    u = g / jnp.sqrt(v)
    return -size * u / jnp.maximum(1, _rms(u) / clip_threshold) - decay, s


@keras_optimizer(core="adafactor")
def adafactor(
    learning_rate: Real[Hyper] = 0.001,
    beta_2_decay: NonPositive[Hyper] = -0.8,
    epsilon_1: Positive[Hyper] = 1e-30,
    epsilon_2: NonNegative[Hyper] = 1e-3,
    clip_threshold: Positive[Hyper] = 1.0,
    relative_step: bool = True,
    weight_decay: NonNegative[Hyper] | None = None,
    **common: Unpack[Common],
):
    """`keras.optimizers.Adafactor`: a root mean square kept for rows and columns only, clipped, in the scale of the parameters.

        q     = p - learning_rate weight_decay p
        b     = 1 - t^beta_2_decay
        v_row = b v_row + (1 - b) mean over columns of (|g|^2 + epsilon_1)              g clipped
        v_col = b v_col + (1 - b) mean over rows of (|g|^2 + epsilon_1)
        v     = v_row v_col / mean(v_row)               fewer than two axes: v = b v + (1 - b) (|g|^2 + epsilon_1)
        d     = g / sqrt(v)
        u     = q - p - max(epsilon_2, rms(q)) min(learning_rate, 1 / sqrt(t)) d / max(1, rms(d) / clip_threshold)

    Rows and columns are the last two axes, whatever their size.

    Args:
      learning_rate: the learning rate, or a schedule: a function of the number of completed updates.
      beta_2_decay: the exponent of the time with which the running means of squares lengthen.
      epsilon_1: added to the squares.
      epsilon_2: the least size that a parameter counts as having.
      clip_threshold: the root mean square above which a step is clipped.
      relative_step: let the rate fall with the root of the time once that is lower than learning_rate.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update; None: none.
      clipnorm: the norm above which a leaf's gradient is scaled down; None: none.
      clipvalue: the size above which an element of a gradient is cut; None: none.
      global_clipnorm: the norm of all leaves together above which they are scaled down; None: none.
      use_ema: keep a running mean of the parameters in the state; `eval_params` and `ema_params` read it.
      ema_momentum: how much of that running mean stays at each update.
      ema_overwrite_frequency: after how many updates the parameters are set to it; None: never.

    >>> from gradxform.dialects import keras
    >>> tx = keras.adafactor(learning_rate=0.01)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; FactoredState(count, v_row, v_col, v), of shape (1,) where unused; with use_ema ParamsEmaState(count, average).
             Memory: (m + n) / (m n) x params for m x n; Keras stores v as well.
    Units    learning_rate is dimensionless: each leaf moves by at most learning_rate times its root mean square.
    Shapes   any, scalars and complex included.
    Sharded  inside `shard_map` rows, columns and means are those of the device's own part of a leaf, whose shape decides whether it
             is factored; under `jit` those of the whole leaf.
    Source   Keras 3.15, `keras.optimizers.Adafactor`.
    Differs  relative_step changes nothing, as in Keras 3.15: min(learning_rate, 1 / sqrt(t)) is taken either way.
    Raises   MissingArgumentError: no params, with weight_decay or use_ema. HyperparameterError: an argument out of range; more than one
             clip argument.
    """
    del relative_step
    return optimizer(
        keras_adafactor_step(
            learning_rate, beta_2_decay, epsilon_1, epsilon_2, clip_threshold, 0.0 if weight_decay is None else weight_decay
        ),
        common=common,
    )
