"""`keras.optimizers.Adamax`."""

from __future__ import annotations

from typing import Unpack

import jax.numpy as jnp

from gradxform._types import Decay, Field, Hyper, NonNegative, Real
from gradxform.core import elementwise, layout
from gradxform.dialects.keras._keras import Common, decay, keras_optimizer, optimizer
from gradxform.optimizers import ScaleByAdamState
from gradxform.transforms import scale_by_learning_rate


@elementwise(layout(ScaleByAdamState, mu=Field(partner=""), nu=Field(lasting=True)))
def scale_by_keras_adamax(g, s, p, c, b1: Decay = 0.9, b2: Decay = 0.999, eps: NonNegative = 1e-7):
    """Divide the gradient's running mean by its exponentially weighted infinity norm, to which eps is added.

        mu = b1 mu + (1 - b1) g
        nu = max(b2 nu, |g|)
        u  = mu / ((1 - b1^t) (nu + eps))

    State    count; mu: like p; nu: like p but real; float32 or wider. Memory: 2 x params.
    Units    u is dimensionless.
    Shapes   any, scalars and complex included.
    Source   Keras 3.15, `keras.optimizers.Adamax`; Kingma & Ba 2015, arXiv:1412.6980, Algorithm 2.
    Differs  from `scale_by_adamax`, which adds eps inside the maximum.
    Raises   HyperparameterError: b1 or b2 outside [0, 1), eps < 0.
    """
    mu = s.mu + (1 - b1) * (g - s.mu)
    nu = jnp.maximum(b2 * s.nu, jnp.abs(g))
    return c.debias(mu, b1) / (nu + eps), s._replace(mu=mu, nu=nu)


@keras_optimizer(core="adamax")
def adamax(
    learning_rate: Real[Hyper] = 0.001,
    beta_1: Decay[Hyper] = 0.9,
    beta_2: Decay[Hyper] = 0.999,
    epsilon: NonNegative[Hyper] = 1e-7,
    weight_decay: NonNegative[Hyper] | None = None,
    **common: Unpack[Common],
):
    """`keras.optimizers.Adamax`: momentum, divided by the largest recent gradient.

        mu = beta_1 mu + (1 - beta_1) g                 g clipped
        nu = max(beta_2 nu, |g|)
        d  = mu / ((1 - beta_1^t) (nu + epsilon))
        u  = -learning_rate (d + weight_decay p)

    Args:
      learning_rate: the learning rate, or a schedule: a function of the number of completed updates.
      beta_1: how much of the running mean of gradients stays at each update.
      beta_2: how much of the largest gradient stays at each update.
      epsilon: added to the largest recent gradient.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update; None: none.
      clipnorm: the norm above which a leaf's gradient is scaled down; None: none.
      clipvalue: the size above which an element of a gradient is cut; None: none.
      global_clipnorm: the norm of all leaves together above which they are scaled down; None: none.
      use_ema: keep a running mean of the parameters in the state; `eval_params` and `ema_params` read it.
      ema_momentum: how much of that running mean stays at each update.
      ema_overwrite_frequency: after how many updates the parameters are set to it; None: never.

    >>> from gradxform.dialects import keras
    >>> tx = keras.adamax(learning_rate=1e-3)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; ScaleByAdamState(count, mu, nu), with use_ema ParamsEmaState(count, average). Memory: 2 or 3 x params.
    Units    learning_rate has those of p.
    Shapes   any, scalars and complex included.
    Source   Keras 3.15, `keras.optimizers.Adamax`.
    Differs  no.
    Raises   MissingArgumentError: no params, with weight_decay or use_ema. HyperparameterError: an argument out of range; more than one
             clip argument.
    """
    return optimizer(
        scale_by_keras_adamax(beta_1, beta_2, epsilon),
        scale_by_learning_rate(learning_rate),
        *decay(learning_rate, weight_decay),
        common=common,
    )
