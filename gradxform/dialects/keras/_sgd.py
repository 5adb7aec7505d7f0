"""`keras.optimizers.SGD`."""

from __future__ import annotations

from gradxform._types import Count, NonNegative, Unit
from gradxform.dialects._pieces import is_zero
from gradxform.dialects.keras._keras import keras_optimizer, optimizer
from gradxform.transforms import scale_by_learning_rate, trace


@keras_optimizer(core="sgd", example={"momentum": 0.9})
def sgd(
    learning_rate: NonNegative = 0.01,
    momentum: Unit = 0.0,
    nesterov: bool = False,
    weight_decay: NonNegative | None = None,
    clipnorm: NonNegative | None = None,
    clipvalue: NonNegative | None = None,
    global_clipnorm: NonNegative | None = None,
    use_ema: bool = False,
    ema_momentum: Unit = 0.99,
    ema_overwrite_frequency: Count | None = None,
):
    """`keras.optimizers.SGD`: momentum with the rate inside.

        v = momentum v - learning_rate clip(g)
        u = v - learning_rate weight_decay p            nesterov: momentum v - learning_rate clip(g) - ...

    State    a chain's; TraceState(trace) with momentum, ParamsEmaState(count, average) with use_ema. Memory: 0 to 2 x params.
    Units    learning_rate has those of p / g.
    Shapes   any, scalars and complex included.
    Source   Keras 3.15, `keras.optimizers.SGD`.
    Differs  no.
    Raises   MissingArgumentError: no params, with weight_decay or use_ema. HyperparameterError: an argument out of range; more than one
             of clipnorm, clipvalue and global_clipnorm.
    """
    return optimizer(
        scale_by_learning_rate(learning_rate),
        *([] if is_zero(momentum) else [trace(momentum, nesterov)]),
        learning_rate=learning_rate, weight_decay=weight_decay,
        clipnorm=clipnorm, clipvalue=clipvalue, global_clipnorm=global_clipnorm,
        use_ema=use_ema, ema_momentum=ema_momentum, ema_overwrite_frequency=ema_overwrite_frequency,
    )  # fmt: skip
