"""`keras.optimizers.Adam` and `AdamW`."""

from __future__ import annotations

from typing import Annotated, NamedTuple, Unpack

import jax.numpy as jnp

from gradxform._numerics import abs_sq
from gradxform._types import Clock, Decay, Field, Hyper, NonNegative, Real, RealUpdates, Updates
from gradxform.core import GradientTransformationExtraArgs, elementwise
from gradxform.dialects.keras._keras import Common, decay, keras_optimizer, optimizer
from gradxform.optimizers import ScaleByAdamState
from gradxform.transforms import scale_by_learning_rate


class AmsgradState(NamedTuple):
    """The running means of g and |g|^2, not debiased, and the largest that the second has been."""

    count: Clock
    mu: Annotated[Updates, Field(mean="b1", partner="nu")]
    nu: Annotated[RealUpdates, Field(mean="b2", nonnegative=True, lasting=True)]
    nu_max: Annotated[RealUpdates, Field(nonnegative=True)]


def moments(g, s, b1, b2):
    """The next running means of g and |g|^2, with Keras's order of operations."""
    return s.mu + (1 - b1) * (g - s.mu), s.nu + (1 - b2) * (abs_sq(g) - s.nu)


def _folded(c, b1, b2):
    """Both bias corrections as one factor of the rate."""
    t = c.t.astype(c.dtype)
    return jnp.sqrt(1 - b2**t) / (1 - b1**t)


@elementwise(ScaleByAdamState)
def scale_by_folded_adam(g, s, p, c, b1: Decay = 0.9, b2: Decay = 0.999, eps: NonNegative = 1e-7):
    """Adam's direction with the bias corrections folded into the rate, so that eps is added to a root that is not debiased.

        mu = b1 mu + (1 - b1) g
        nu = b2 nu + (1 - b2) |g|^2
        u  = sqrt(1 - b2^t) / (1 - b1^t) mu / (sqrt(nu) + eps)

    State    count; mu: like p; nu: like p but real; float32 or wider. Memory: 2 x params.
    Units    u is dimensionless.
    Shapes   any, scalars and complex included.
    Source   Kingma & Ba 2015, arXiv:1412.6980, the paragraph after Algorithm 1; Keras 3.15.
    Differs  from `scale_by_adam`: its eps is eps / sqrt(1 - b2^t) there.
    Raises   HyperparameterError: b1 or b2 outside [0, 1), eps < 0.
    """
    mu, nu = moments(g, s, b1, b2)
    return mu * _folded(c, b1, b2) / (jnp.sqrt(nu) + eps), s._replace(mu=mu, nu=nu)


@elementwise(AmsgradState)
def scale_by_folded_amsgrad(g, s, p, c, b1: Decay = 0.9, b2: Decay = 0.999, eps: NonNegative = 1e-7):
    """The same with the largest second moment so far.

        mu     = b1 mu + (1 - b1) g
        nu     = b2 nu + (1 - b2) |g|^2
        nu_max = max(nu_max, nu)
        u      = sqrt(1 - b2^t) / (1 - b1^t) mu / (sqrt(nu_max) + eps)

    State    count; mu: like p; nu, nu_max: like p but real; float32 or wider. Memory: 3 x params.
    Units    u is dimensionless.
    Shapes   any, scalars and complex included.
    Source   Keras 3.15, `keras.optimizers.Adam(amsgrad=True)`; Reddi et al. 2018.
    Differs  the maximum is taken before the bias correction, as in Keras; Optax takes it after.
    Raises   HyperparameterError: b1 or b2 outside [0, 1), eps < 0.
    """
    mu, nu = moments(g, s, b1, b2)
    nu_max = jnp.maximum(s.nu_max, nu)
    return mu * _folded(c, b1, b2) / (jnp.sqrt(nu_max) + eps), s._replace(mu=mu, nu=nu, nu_max=nu_max)


def _adam(
    learning_rate: Hyper, beta_1: Hyper, beta_2: Hyper, epsilon: Hyper, amsgrad: bool, weight_decay: Hyper | None, common: Common
) -> GradientTransformationExtraArgs:
    direction = (scale_by_folded_amsgrad if amsgrad else scale_by_folded_adam)(beta_1, beta_2, epsilon)
    return optimizer(direction, scale_by_learning_rate(learning_rate), *decay(learning_rate, weight_decay), common=common)


@keras_optimizer(core="adam")
def adam(
    learning_rate: Real[Hyper] = 0.001,
    beta_1: Decay[Hyper] = 0.9,
    beta_2: Decay[Hyper] = 0.999,
    epsilon: NonNegative[Hyper] = 1e-7,
    amsgrad: bool = False,
    weight_decay: NonNegative[Hyper] | None = None,
    **common: Unpack[Common],
):
    """`keras.optimizers.Adam`: bias corrections in the rate, decoupled decay.

        mu = beta_1 mu + (1 - beta_1) g                 g clipped
        nu = beta_2 nu + (1 - beta_2) |g|^2
        d  = sqrt(1 - beta_2^t) / (1 - beta_1^t) mu / (sqrt(nu) + epsilon)
        u  = -learning_rate (d + weight_decay p)        amsgrad: nu_max = max(nu_max, nu) in the place of nu

    Args:
      learning_rate: the learning rate, or a schedule: a function of the number of completed updates.
      beta_1: how much of the running mean of gradients stays at each update.
      beta_2: how much of the running mean of squares stays at each update.
      epsilon: added to the root by which the gradient is divided.
      amsgrad: divide by the largest running mean of squares so far.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update; None: none.
      clipnorm: the norm above which a leaf's gradient is scaled down; None: none.
      clipvalue: the size above which an element of a gradient is cut; None: none.
      global_clipnorm: the norm of all leaves together above which they are scaled down; None: none.
      use_ema: keep a running mean of the parameters in the state; `eval_params` and `ema_params` read it.
      ema_momentum: how much of that running mean stays at each update.
      ema_overwrite_frequency: after how many updates the parameters are set to it; None: never.

    >>> from gradxform.dialects import keras
    >>> tx = keras.adam(learning_rate=1e-3, clipnorm=1.0)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; ScaleByAdamState(count, mu, nu), or AmsgradState with nu_max; with use_ema ParamsEmaState(count, average).
             Memory: 2 x params, one more with amsgrad, one more with use_ema.
    Units    learning_rate has those of p.
    Shapes   any, scalars and complex included.
    Source   Keras 3.15, `keras.optimizers.Adam`.
    Differs  no.
    Raises   MissingArgumentError: no params, with weight_decay or use_ema. HyperparameterError: an argument out of range; more than one
             clip argument.
    """
    return _adam(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay, common)


@keras_optimizer(core="adamw")
def adamw(
    learning_rate: Real[Hyper] = 0.001,
    weight_decay: NonNegative[Hyper] = 0.004,
    beta_1: Decay[Hyper] = 0.9,
    beta_2: Decay[Hyper] = 0.999,
    epsilon: NonNegative[Hyper] = 1e-7,
    amsgrad: bool = False,
    **common: Unpack[Common],
):
    """`keras.optimizers.AdamW`: `adam` whose weight_decay is 0.004 by default.

        u = -learning_rate (d + weight_decay p)         d as in `adam`

    Args:
      learning_rate: the learning rate, or a schedule: a function of the number of completed updates.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update; None: none.
      beta_1: how much of the running mean of gradients stays at each update.
      beta_2: how much of the running mean of squares stays at each update.
      epsilon: added to the root by which the gradient is divided.
      amsgrad: divide by the largest running mean of squares so far.
      clipnorm: the norm above which a leaf's gradient is scaled down; None: none.
      clipvalue: the size above which an element of a gradient is cut; None: none.
      global_clipnorm: the norm of all leaves together above which they are scaled down; None: none.
      use_ema: keep a running mean of the parameters in the state; `eval_params` and `ema_params` read it.
      ema_momentum: how much of that running mean stays at each update.
      ema_overwrite_frequency: after how many updates the parameters are set to it; None: never.

    >>> from gradxform.dialects import keras
    >>> tx = keras.adamw(learning_rate=1e-3, weight_decay=0.01)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; ScaleByAdamState(count, mu, nu), or AmsgradState with nu_max; with use_ema ParamsEmaState(count, average).
             Memory: 2 x params, one more with amsgrad, one more with use_ema.
    Units    learning_rate has those of p.
    Shapes   any, scalars and complex included.
    Source   Keras 3.15, `keras.optimizers.AdamW`.
    Differs  no.
    Raises   MissingArgumentError: no params, with weight_decay or use_ema. HyperparameterError: an argument out of range; more than one
             clip argument.
    """
    return _adam(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay, common)
