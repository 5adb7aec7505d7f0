"""MXNet's `AdaBelief`."""

from __future__ import annotations

from typing import Unpack

import jax.numpy as jnp

from gradxform._numerics import abs_sq
from gradxform._types import Decay, Hyper, NonNegative, Real
from gradxform.core import elementwise
from gradxform.dialects._folded import correction
from gradxform.dialects.mxnet._mxnet import Common, clips, decay, finished, mxnet_optimizer, rate, rescaled
from gradxform.optimizers import ScaleByBeliefState


@elementwise(ScaleByBeliefState)
def scale_by_folded_belief(
    g, s, p, c, b1: Decay = 0.9, b2: Decay = 0.999, eps: NonNegative = 1e-6, correct_bias: bool = True
):  # fmt: skip
    """The direction of `adabelief`: see there."""
    mu = b1 * s.mu + (1 - b1) * g
    nu = b2 * s.nu + (1 - b2) * abs_sq(g - mu) + eps
    u = mu / (jnp.sqrt(nu) + eps)
    return (correction(b1, b2, c.t) * u if correct_bias else u), s._replace(mu=mu, nu=nu)


@mxnet_optimizer(core="adabelief", example={"wd": 0.01})
def adabelief(
    learning_rate: Real[Hyper] = 0.001,
    beta1: Decay[Hyper] = 0.9,
    beta2: Decay[Hyper] = 0.999,
    epsilon: NonNegative[Hyper] = 1e-6,
    correct_bias: bool = True,
    **common: Unpack[Common],
):
    """MXNet's `AdaBelief`: momentum, divided by the running size of the gradient's deviation from it.

        g  = clip(rescale_grad g + wd p)
        mu = beta1 mu + (1 - beta1) g
        nu = beta2 nu + (1 - beta2) |g - mu|^2 + epsilon
        u  = -learning_rate sqrt(1 - beta2^t) / (1 - beta1^t) mu / (sqrt(nu) + epsilon)        without the quotient if not correct_bias

    wd p is clipped together with the gradient.

    Args:
      learning_rate: the learning rate, or a schedule: a function of the number of completed updates.
      beta1: how much of the running mean of gradients stays at each update.
      beta2: how much of the running mean of squares stays at each update.
      epsilon: added to the running mean of squares, at each update, and to its root.
      correct_bias: multiply the rate by the quotient of the bias corrections.
      rescale_grad: what gradients are multiplied by first; MXNet's sum over the batch, so 1 / batch size there.
      clip_gradient: the size above which an element of the rescaled gradient is cut; None: none.
      wd: the strength of the weight decay.
      lr_mult: factors of the learning rate: a mapping from patterns of paths, or a tree; None: 1.
      wd_mult: factors of the weight decay: a mapping from patterns of paths, or a tree; None: 1.
      multi_precision: keep a float32 copy of narrow parameters in the state.

    >>> from gradxform.dialects import mxnet
    >>> tx = mxnet.adabelief(learning_rate=1e-3, wd=0.01)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; ScaleByBeliefState(count, mu, nu). Memory: 2 x params.
    Units    learning_rate has those of p.
    Shapes   any, scalars and complex included.
    Source   MXNet 2, `AdaBelief`; Zhuang et al. 2020, arXiv:2010.07468, Algorithm 2.
    Differs  no: that epsilon adds up in nu is so in the paper too, and is kept: it lifts nu by up to
             epsilon / (1 - beta2).
    Raises   HyperparameterError: an argument out of range. MissingArgumentError: no params, with wd. LabelError: lr_mult or wd_mult.
    """
    direction = scale_by_folded_belief(beta1, beta2, epsilon, correct_bias)
    return finished(
        *rescaled(common), *decay(common), *clips(common), direction, *rate(learning_rate, common), common=common
    )  # fmt: skip
