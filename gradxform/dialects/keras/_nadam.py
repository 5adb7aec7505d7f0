"""`keras.optimizers.Nadam`."""

from __future__ import annotations

from typing import Annotated, NamedTuple, Unpack

import jax.numpy as jnp

from gradxform._types import Clock, Decay, Field, Hyper, NonNegative, Real, RealUpdates, Shared, Updates
from gradxform.core import elementwise
from gradxform.dialects._pieces import one_minus_power
from gradxform.dialects.keras._adam import moments
from gradxform.dialects.keras._keras import Common, decay, keras_optimizer, optimizer
from gradxform.transforms import scale_by_learning_rate


def _advance(u_product, c, b1):
    return u_product * _momentum(c.t.astype(c.dtype), b1)


class NadamState(NamedTuple):
    """The running means of g and |g|^2, and the product of the momentum coefficients so far."""

    count: Clock
    mu: Annotated[Updates, Field(mean="b1", partner="nu")]
    nu: Annotated[RealUpdates, Field(mean="b2", nonnegative=True)]
    u_product: Annotated[Shared, Field(first=lambda b1: jnp.ones(jnp.shape(b1)), advance=_advance)]


def _momentum(t, b1):
    return b1 * (1 - 0.5 * 0.96**t)


@elementwise(NadamState)
def scale_by_keras_nadam(g, s, p, c, b1: Decay = 0.9, b2: Decay = 0.999, eps: NonNegative = 1e-7):
    """Adam's direction with Nesterov's look-ahead and a momentum that warms up within some dozens of updates.

        a_t = b1 (1 - 0.96^t / 2)
        mu  = b1 mu + (1 - b1) g
        nu  = b2 nu + (1 - b2) |g|^2
        m   = a_(t+1) mu / (1 - a_1 ... a_(t+1)) + (1 - a_t) g / (1 - a_1 ... a_t)
        u   = m / (sqrt(nu / (1 - b2^t)) + eps)

    State    count; mu: like p; nu: like p but real; u_product: a_1 ... a_t. Memory: 2 x params.
    Units    u is dimensionless.
    Shapes   any, scalars and complex included.
    Source   Keras 3.15, `keras.optimizers.Nadam`; Dozat 2016.
    Differs  no. In float32 Keras takes both 1 - b2 and 1 - b2^t of a rounded b2, whose error cancels; here neither is rounded.
    Raises   HyperparameterError: b1 or b2 outside [0, 1), eps < 0.
    """
    t = c.t.astype(c.dtype)
    now, ahead, product = _momentum(t, b1), _momentum(t + 1, b1), c.u_product
    mu, nu = moments(g, s, b1, b2)
    m = ahead * mu / (1 - product * ahead) + (1 - now) * g / (1 - product)
    return m / (jnp.sqrt(nu / one_minus_power(b2, t)) + eps), s._replace(mu=mu, nu=nu)


@keras_optimizer(core="nadam")
def nadam(
    learning_rate: Real[Hyper] = 0.001,
    beta_1: Decay[Hyper] = 0.9,
    beta_2: Decay[Hyper] = 0.999,
    epsilon: NonNegative[Hyper] = 1e-7,
    weight_decay: NonNegative[Hyper] | None = None,
    **common: Unpack[Common],
):
    """`keras.optimizers.Nadam`: Adam with Nesterov's look-ahead and a momentum that warms up.

        m = a_(t+1) mu / (1 - a_1 ... a_(t+1)) + (1 - a_t) g / (1 - a_1 ... a_t)        a_t = beta_1 (1 - 0.96^t / 2)
        d = m / (sqrt(nu / (1 - beta_2^t)) + epsilon)   mu, nu as in `adam`
        u = -learning_rate (d + weight_decay p)

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
    >>> tx = keras.nadam(learning_rate=1e-3)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; NadamState(count, mu, nu, u_product), with use_ema ParamsEmaState(count, average). Memory: 2 or 3 x params.
    Units    learning_rate has those of p.
    Shapes   any, scalars and complex included.
    Source   Keras 3.15, `keras.optimizers.Nadam`.
    Differs  no.
    Raises   MissingArgumentError: no params, with weight_decay or use_ema. HyperparameterError: an argument out of range; more than one
             clip argument.
    """
    return optimizer(
        scale_by_keras_nadam(beta_1, beta_2, epsilon),
        scale_by_learning_rate(learning_rate),
        *decay(learning_rate, weight_decay),
        common=common,
    )
