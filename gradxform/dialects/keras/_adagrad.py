"""`keras.optimizers.Adagrad`."""

from __future__ import annotations

from typing import Unpack

from gradxform._types import Hyper, NonNegative, Real
from gradxform.dialects.keras._keras import Common, decay, keras_optimizer, optimizer
from gradxform.transforms import scale_by_learning_rate, scale_by_rss


@keras_optimizer(core="adagrad", example={"learning_rate": 0.1})
def adagrad(
    learning_rate: Real[Hyper] = 0.001,
    initial_accumulator_value: NonNegative[Hyper] = 0.1,
    epsilon: NonNegative[Hyper] = 1e-7,
    weight_decay: NonNegative[Hyper] | None = None,
    **common: Unpack[Common],
):
    """`keras.optimizers.Adagrad`: eps inside the root.

        G = G + |g|^2                                   g clipped; the first G is initial_accumulator_value
        u = -learning_rate (g / sqrt(G + epsilon) + weight_decay p)

    Args:
      learning_rate: the learning rate, or a schedule: a function of the number of completed updates.
      initial_accumulator_value: where the sum of squares begins.
      epsilon: added inside the root by which the gradient is divided.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update; None: none.
      clipnorm: the norm above which a leaf's gradient is scaled down; None: none.
      clipvalue: the size above which an element of a gradient is cut; None: none.
      global_clipnorm: the norm of all leaves together above which they are scaled down; None: none.
      use_ema: keep a running mean of the parameters in the state; `eval_params` and `ema_params` read it.
      ema_momentum: how much of that running mean stays at each update.
      ema_overwrite_frequency: after how many updates the parameters are set to it; None: never.

    >>> from gradxform.dialects import keras
    >>> tx = keras.adagrad(learning_rate=0.01)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; ScaleByRssState(sum_of_squares), with use_ema ParamsEmaState(count, average). Memory: 1 or 2 x params.
    Units    learning_rate has those of p.
    Shapes   any, scalars and complex included.
    Source   Keras 3.15, `keras.optimizers.Adagrad`.
    Differs  no.
    Raises   MissingArgumentError: no params, with weight_decay or use_ema. HyperparameterError: an argument out of range; more than one
             clip argument.
    """
    return optimizer(
        scale_by_rss(initial_accumulator_value, epsilon),
        scale_by_learning_rate(learning_rate),
        *decay(learning_rate, weight_decay),
        common=common,
    )
