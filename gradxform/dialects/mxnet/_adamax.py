"""MXNet's `Adamax`."""

from __future__ import annotations

from typing import Unpack

import jax.numpy as jnp

from gradxform._types import Decay, Field, Hyper, NonNegative, Real
from gradxform.core import elementwise, layout
from gradxform.dialects._pieces import one_minus_power
from gradxform.dialects.mxnet._mxnet import Common, coupled, mxnet_optimizer, rate
from gradxform.optimizers import ScaleByAdamState


@elementwise(layout(ScaleByAdamState, mu=Field(partner=""), nu=Field(lasting=True)))
def scale_by_mxnet_adamax(g, s, p, c, b1: Decay = 0.9, b2: Decay = 0.999, eps: NonNegative = 1e-8):
    """Divide the gradient's running mean by its exponentially weighted infinity norm, and that plus eps.

        mu = b1 mu + (1 - b1) g
        nu = max(b2 nu, |g|)
        u  = mu / (1 - b1^t) / (nu + eps)

    State    count; mu: like p; nu: like p but real; float32 or wider. Memory: 2 x params.
    Units    u is dimensionless.
    Shapes   any, scalars and complex included.
    Source   MXNet 2, `Adamax`; Kingma & Ba 2015, section 7.1.
    Differs  from `scale_by_adamax`, which takes max(b2 nu, |g| + eps).
    Raises   HyperparameterError: b1 or b2 outside [0, 1), eps < 0.
    """
    mu = b1 * s.mu + (1 - b1) * g
    nu = jnp.maximum(b2 * s.nu, jnp.abs(g))
    return mu / one_minus_power(b1, c.t) / (nu + eps), s._replace(mu=mu, nu=nu)


@mxnet_optimizer(core="adamax")
def adamax(
    learning_rate: Real[Hyper] = 0.002,
    beta1: Decay[Hyper] = 0.9,
    beta2: Decay[Hyper] = 0.999,
    epsilon: NonNegative[Hyper] = 1e-8,
    **common: Unpack[Common],
):
    """MXNet's `Adamax`: momentum, divided by the largest recent gradient.

        g  = clip(rescale_grad g) + wd p
        mu = beta1 mu + (1 - beta1) g
        nu = max(beta2 nu, |g|)
        u  = -learning_rate / (1 - beta1^t) mu / (nu + epsilon)

    Args:
      learning_rate: the learning rate, or a schedule: a function of the number of completed updates.
      beta1: how much of the running mean of gradients stays at each update.
      beta2: how much of the largest gradient stays at each update.
      epsilon: added to the largest recent gradient.
      rescale_grad: what gradients are multiplied by first; MXNet's sum over the batch, so 1 / batch size there.
      clip_gradient: the size above which an element of the rescaled gradient is cut; None: none.
      wd: the strength of the weight decay.
      lr_mult: factors of the learning rate: a mapping from patterns of paths, or a tree; None: 1.
      wd_mult: factors of the weight decay: a mapping from patterns of paths, or a tree; None: 1.
      multi_precision: keep a float32 copy of narrow parameters in the state.

    >>> from gradxform.dialects import mxnet
    >>> tx = mxnet.adamax(learning_rate=2e-3)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; ScaleByAdamState(count, mu, nu). Memory: 2 x params.
    Units    learning_rate has those of p.
    Shapes   any, scalars and complex included.
    Source   MXNet's optimizer guide; MXNet 2, `Adamax`; Kingma & Ba 2015, arXiv:1412.6980, section 7.1.
    Differs  no.
    Raises   HyperparameterError: an argument out of range. MissingArgumentError: no params, with wd. LabelError: lr_mult or wd_mult.
    """
    return coupled(scale_by_mxnet_adamax(beta1, beta2, epsilon), *rate(learning_rate, common), common=common)
