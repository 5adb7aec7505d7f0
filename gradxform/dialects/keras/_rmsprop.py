"""`keras.optimizers.RMSprop`."""

from __future__ import annotations

from gradxform._types import Count, Decay, NonNegative, Unit
from gradxform.dialects._pieces import is_zero
from gradxform.dialects.keras._keras import keras_optimizer, optimizer
from gradxform.transforms import scale_by_learning_rate, scale_by_rms, scale_by_stddev, trace


@keras_optimizer(core="rmsprop")
def rmsprop(
    learning_rate: NonNegative = 0.001,
    rho: Decay = 0.9,
    momentum: Unit = 0.0,
    epsilon: NonNegative = 1e-7,
    centered: bool = False,
    weight_decay: NonNegative | None = None,
    clipnorm: NonNegative | None = None,
    clipvalue: NonNegative | None = None,
    global_clipnorm: NonNegative | None = None,
    use_ema: bool = False,
    ema_momentum: Unit = 0.99,
    ema_overwrite_frequency: Count | None = None,
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
             of clipnorm, clipvalue and global_clipnorm.
    """
    return optimizer(
        (scale_by_stddev if centered else scale_by_rms)(rho, epsilon),
        scale_by_learning_rate(learning_rate),
        *([] if is_zero(momentum) else [trace(momentum)]),
        learning_rate=learning_rate, weight_decay=weight_decay,
        clipnorm=clipnorm, clipvalue=clipvalue, global_clipnorm=global_clipnorm,
        use_ema=use_ema, ema_momentum=ema_momentum, ema_overwrite_frequency=ema_overwrite_frequency,
    )  # fmt: skip
