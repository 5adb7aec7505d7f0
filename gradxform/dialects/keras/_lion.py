"""`keras.optimizers.Lion`."""

from __future__ import annotations

from typing import Annotated, Unpack

from gradxform._types import Decay, Hyper, NonNegative, Range, Real, Value
from gradxform.dialects.keras._keras import Common, decay, keras_optimizer, optimizer
from gradxform.optimizers import scale_by_lion
from gradxform.transforms import scale_by_learning_rate

Open = Annotated[Value, Range("(0, 1)")]


@keras_optimizer(core="lion")
def lion(
    learning_rate: Real[Hyper] = 0.001,
    beta_1: Open[Hyper] = 0.9,
    beta_2: Decay[Hyper] = 0.99,
    weight_decay: NonNegative[Hyper] | None = None,
    **common: Unpack[Common],
):
    """`keras.optimizers.Lion`: the sign of momentum.

        u  = -learning_rate (sign(beta_1 mu + (1 - beta_1) g) + weight_decay p)         g clipped
        mu = beta_2 mu + (1 - beta_2) g

    Args:
      learning_rate: the learning rate, or a schedule: a function of the number of completed updates.
      beta_1: the part of the running mean in the direction whose sign is taken.
      beta_2: how much of the running mean of gradients stays at each update.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update; None: none.
      clipnorm: the norm above which a leaf's gradient is scaled down; None: none.
      clipvalue: the size above which an element of a gradient is cut; None: none.
      global_clipnorm: the norm of all leaves together above which they are scaled down; None: none.
      use_ema: keep a running mean of the parameters in the state; `eval_params` and `ema_params` read it.
      ema_momentum: how much of that running mean stays at each update.
      ema_overwrite_frequency: after how many updates the parameters are set to it; None: never.

    >>> from gradxform.dialects import keras
    >>> tx = keras.lion(learning_rate=1e-4, weight_decay=0.1)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; ScaleByLionState(count, mu), with use_ema ParamsEmaState(count, average). Memory: 1 or 2 x params.
    Units    learning_rate has those of p: every element moves by learning_rate.
    Shapes   any, scalars and complex included.
    Source   Keras 3.15, `keras.optimizers.Lion`.
    Differs  beta_1 < 1; at 1 the gradient would never count.
    Raises   MissingArgumentError: no params, with weight_decay or use_ema. HyperparameterError: an argument out of range; more than one
             clip argument.
    """
    return optimizer(
        scale_by_lion(beta_1, beta_2),
        scale_by_learning_rate(learning_rate),
        *decay(learning_rate, weight_decay),
        common=common,
    )
