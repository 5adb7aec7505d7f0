"""`keras.optimizers.SGD`."""

from __future__ import annotations

from typing import Unpack

from gradxform._types import Hyper, NonNegative, Real, Unit
from gradxform.dialects._pieces import is_zero
from gradxform.dialects.keras._keras import Common, decay, keras_optimizer, optimizer
from gradxform.transforms import scale_by_learning_rate, trace


@keras_optimizer(core="sgd", example={"momentum": 0.9})
def sgd(
    learning_rate: Real[Hyper] = 0.01,
    momentum: Unit[Hyper] = 0.0,
    nesterov: bool = False,
    weight_decay: NonNegative[Hyper] | None = None,
    **common: Unpack[Common],
):
    """`keras.optimizers.SGD`: momentum with the rate inside.

        v = momentum v - learning_rate clip(g)
        u = v - learning_rate weight_decay p            nesterov: momentum v - learning_rate clip(g) - ...

    Args:
      learning_rate: the learning rate, or a schedule: a function of the number of completed updates.
      momentum: how much of the velocity stays at each update.
      nesterov: look ahead by one step of the momentum.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update; None: none.
      clipnorm: the norm above which a leaf's gradient is scaled down; None: none.
      clipvalue: the size above which an element of a gradient is cut; None: none.
      global_clipnorm: the norm of all leaves together above which they are scaled down; None: none.
      use_ema: keep a running mean of the parameters in the state; `eval_params` and `ema_params` read it.
      ema_momentum: how much of that running mean stays at each update.
      ema_overwrite_frequency: after how many updates the parameters are set to it; None: never.

    >>> from gradxform.dialects import keras
    >>> tx = keras.sgd(learning_rate=0.1, momentum=0.9, use_ema=True)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; TraceState(trace) with momentum, ParamsEmaState(count, average) with use_ema. Memory: 0 to 2 x params.
    Units    learning_rate has those of p / g.
    Shapes   any, scalars and complex included.
    Source   Keras 3.15, `keras.optimizers.SGD`.
    Differs  no.
    Raises   MissingArgumentError: no params, with weight_decay or use_ema. HyperparameterError: an argument out of range; more than one
             clip argument.
    """
    return optimizer(
        scale_by_learning_rate(learning_rate),
        *([] if is_zero(momentum) else [trace(momentum, nesterov)]),
        *decay(learning_rate, weight_decay),
        common=common,
    )
