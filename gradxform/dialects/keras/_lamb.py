"""`keras.optimizers.Lamb`."""

from __future__ import annotations

import dataclasses
from typing import Unpack

from gradxform._types import Array, Decay, Hyper, NonNegative, Real
from gradxform.core._hyper import evaluate, is_schedule
from gradxform.dialects._pieces import is_zero
from gradxform.dialects.keras._keras import Common, decay, keras_optimizer, optimizer
from gradxform.optimizers import scale_by_adam
from gradxform.transforms import scale_by_learning_rate, scale_by_trust_ratio


@dataclasses.dataclass(frozen=True)
class Remainder:
    """A schedule: what is left of the parameters after the decay, 1 - learning_rate weight_decay."""

    learning_rate: Hyper
    weight_decay: Hyper

    def __call__(self, k: Array | int) -> Array | float:
        return 1 - evaluate(self.learning_rate, k, "keras.lamb", "learning_rate") * evaluate(
            self.weight_decay, k, "keras.lamb", "weight_decay"
        )


def _remainder(learning_rate: Hyper, weight_decay: Hyper | None) -> Hyper:
    if weight_decay is None or is_zero(weight_decay):
        return 1.0
    rest = Remainder(learning_rate, weight_decay)
    return rest if is_schedule(learning_rate) or is_schedule(weight_decay) else rest(0)


@keras_optimizer(core="lamb")
def lamb(
    learning_rate: Real[Hyper] = 0.001,
    beta_1: Decay[Hyper] = 0.9,
    beta_2: Decay[Hyper] = 0.999,
    epsilon: NonNegative[Hyper] = 1e-7,
    weight_decay: NonNegative[Hyper] | None = None,
    **common: Unpack[Common],
):
    """`keras.optimizers.Lamb`: Adam's direction, given the norm of the parameter leaf by leaf; the decay comes first, and on its own.

        q = p - learning_rate weight_decay p
        d = mu^ / (sqrt(nu^) + epsilon)                 mu, nu as in `adam`; x^ = x / (1 - beta^t)
        u = q - p - learning_rate ||q|| / ||d|| d       the ratio is 1 where one of the norms is 0

    Args:
      learning_rate: the learning rate, or a schedule: a function of the number of completed updates.
      beta_1: how much of the running mean of gradients stays at each update.
      beta_2: how much of the running mean of squares stays at each update.
      epsilon: added to the root by which the gradient is divided.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update; None: none.
      clipnorm: the norm above which a leaf's gradient is scaled down; None: none.
      clipvalue: the size above which an element of a gradient is cut; None: none.
      global_clipnorm: the norm of all leaves together above which they are scaled down; None: none.
      use_ema: keep a running mean of the parameters in the state; `eval_params` and `ema_params` read it.
      ema_momentum: how much of that running mean stays at each update.
      ema_overwrite_frequency: after how many updates the parameters are set to it; None: never.

    >>> from gradxform.dialects import keras
    >>> tx = keras.lamb(learning_rate=1e-3)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; ScaleByAdamState(count, mu, nu), with use_ema ParamsEmaState(count, average). Memory: 2 or 3 x params.
    Units    learning_rate is dimensionless: each leaf moves by learning_rate times its norm.
    Shapes   any, scalars and complex included.
    Sharded  inside `shard_map` norms and means are over the device's own part of a leaf; under `jit` over the whole leaf.
    Source   Keras 3.15, `keras.optimizers.Lamb`.
    Differs  the decay is not part of d, as it is in the paper and in `gradxform.lamb`: Keras applies it before the step.
    Raises   MissingArgumentError: no params, with weight_decay or use_ema. HyperparameterError: an argument out of range; more than one
             clip argument.
    """
    return optimizer(
        scale_by_adam(beta_1, beta_2, epsilon),
        scale_by_trust_ratio(trust_coefficient=_remainder(learning_rate, weight_decay)),
        scale_by_learning_rate(learning_rate),
        *decay(learning_rate, weight_decay),
        common=common,
    )
