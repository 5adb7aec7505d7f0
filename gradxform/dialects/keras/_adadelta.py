"""`keras.optimizers.Adadelta`."""

from __future__ import annotations

from typing import Unpack

from gradxform._types import Decay, Hyper, NonNegative, Real
from gradxform.dialects.keras._keras import Common, decay, keras_optimizer, optimizer
from gradxform.optimizers import scale_by_adadelta
from gradxform.transforms import scale_by_learning_rate


@keras_optimizer(core="adadelta", example={"learning_rate": 1.0})
def adadelta(
    learning_rate: Real[Hyper] = 0.001,
    rho: Decay[Hyper] = 0.95,
    epsilon: NonNegative[Hyper] = 1e-7,
    weight_decay: NonNegative[Hyper] | None = None,
    **common: Unpack[Common],
):
    """`keras.optimizers.Adadelta`: its rate of 0.001 makes it a thousand times slower than the paper's.

        e_g = rho e_g + (1 - rho) |g|^2                 g clipped
        d   = sqrt(e_x + epsilon) / sqrt(e_g + epsilon) g
        e_x = rho e_x + (1 - rho) |d|^2
        u   = -learning_rate (d + weight_decay p)

    Args:
      learning_rate: the learning rate, or a schedule: a function of the number of completed updates.
      rho: how much of the running means of squares stays at each update.
      epsilon: added inside both roots; it starts the first steps.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update; None: none.
      clipnorm: the norm above which a leaf's gradient is scaled down; None: none.
      clipvalue: the size above which an element of a gradient is cut; None: none.
      global_clipnorm: the norm of all leaves together above which they are scaled down; None: none.
      use_ema: keep a running mean of the parameters in the state; `eval_params` and `ema_params` read it.
      ema_momentum: how much of that running mean stays at each update.
      ema_overwrite_frequency: after how many updates the parameters are set to it; None: never.

    >>> from gradxform.dialects import keras
    >>> tx = keras.adadelta(learning_rate=1.0)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; ScaleByAdaDeltaState(e_g, e_x), with use_ema ParamsEmaState(count, average). Memory: 2 or 3 x params.
    Units    learning_rate is dimensionless; the paper's is 1.
    Shapes   any, scalars and complex included.
    Source   Keras 3.15, `keras.optimizers.Adadelta`.
    Differs  no.
    Raises   MissingArgumentError: no params, with weight_decay or use_ema. HyperparameterError: an argument out of range; more than one
             clip argument.
    """
    return optimizer(
        scale_by_adadelta(rho, epsilon),
        scale_by_learning_rate(learning_rate),
        *decay(learning_rate, weight_decay),
        common=common,
    )
