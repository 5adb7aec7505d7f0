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
