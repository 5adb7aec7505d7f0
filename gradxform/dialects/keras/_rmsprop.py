"""`keras.optimizers.RMSprop`."""

from __future__ import annotations

from typing import Unpack

from gradxform._types import Decay, Hyper, NonNegative, Real, Unit
from gradxform.dialects._pieces import is_zero
from gradxform.dialects.keras._keras import Common, decay, keras_optimizer, optimizer
from gradxform.transforms import scale_by_learning_rate, scale_by_rms, scale_by_stddev, trace


@keras_optimizer(core="rmsprop")
def rmsprop(
    learning_rate: Real[Hyper] = 0.001,
    rho: Decay[Hyper] = 0.9,
    momentum: Unit[Hyper] = 0.0,
    epsilon: NonNegative[Hyper] = 1e-7,
    centered: bool = False,
    weight_decay: NonNegative[Hyper] | None = None,
    **common: Unpack[Common],
):
    """`keras.optimizers.RMSprop`: eps inside the root, the rate inside the momentum.

        nu = rho nu + (1 - rho) |g|^2                   g clipped
        d  = learning_rate g / sqrt(nu + epsilon)       centered: nu - |mu|^2, mu = rho mu + (1 - rho) g
        m  = momentum m + d
        u  = -m - learning_rate weight_decay p

    Args:
      learning_rate: the learning rate, or a schedule: a function of the number of completed updates.
      rho: how much of the running means of squares stays at each update.
      momentum: how much of the velocity stays at each update.
      epsilon: added inside the root by which the gradient is divided.
      centered: divide by the running standard deviation in the place of the root mean square.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update; None: none.
      clipnorm: the norm above which a leaf's gradient is scaled down; None: none.
      clipvalue: the size above which an element of a gradient is cut; None: none.
      global_clipnorm: the norm of all leaves together above which they are scaled down; None: none.
      use_ema: keep a running mean of the parameters in the state; `eval_params` and `ema_params` read it.
      ema_momentum: how much of that running mean stays at each update.
      ema_overwrite_frequency: after how many updates the parameters are set to it; None: never.

    >>> from gradxform.dialects import keras
    >>> tx = keras.rmsprop(learning_rate=1e-3, rho=0.95)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; ScaleByRmsState(nu) or ScaleByRStdDevState(mu, nu), with momentum TraceState(trace), with use_ema
             ParamsEmaState(count, average). Memory: 1 to 4 x params.
    Units    learning_rate has those of p.
    Shapes   any, scalars and complex included.
    Source   Keras 3.15, `keras.optimizers.RMSprop`.
    Differs  the centered form stays finite where Keras's difference turns negative (`scale_by_stddev`).
    Raises   MissingArgumentError: no params, with weight_decay or use_ema. HyperparameterError: an argument out of range; more than one
             clip argument.
    """
    return optimizer(
        (scale_by_stddev if centered else scale_by_rms)(rho, epsilon),
        scale_by_learning_rate(learning_rate),
        *([] if is_zero(momentum) else [trace(momentum)]),
        *decay(learning_rate, weight_decay),
        common=common,
    )
