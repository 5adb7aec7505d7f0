"""MXNet's `Adam` and `AdamW`."""

from __future__ import annotations

from typing import Unpack

import jax.numpy as jnp

from gradxform._numerics import abs_sq
from gradxform._types import Decay, Hyper, LeafNumbers, NonNegative, Real
from gradxform.core import elementwise
from gradxform.dialects._folded import correction, scale_by_folded_adam
from gradxform.dialects.mxnet._mxnet import Common, coupled, decoupled, filled, mxnet_optimizer, rate
from gradxform.optimizers import ScaleByAdamState


@mxnet_optimizer(core="adam")
def adam(
    learning_rate: Real[Hyper] = 0.001,
    beta1: Decay[Hyper] = 0.9,
    beta2: Decay[Hyper] = 0.999,
    epsilon: NonNegative[Hyper] = 1e-8,
    **common: Unpack[Common],
):
    """MXNet's `Adam`: the bias corrections are folded into the rate, so that epsilon joins a nu that is not debiased.

        g  = clip(rescale_grad g) + wd p
        mu = beta1 mu + (1 - beta1) g
        nu = beta2 nu + (1 - beta2) |g|^2
        u  = -learning_rate sqrt(1 - beta2^t) / (1 - beta1^t) mu / (sqrt(nu) + epsilon)

    Args:
      learning_rate: the learning rate, or a schedule: a function of the number of completed updates.
      beta1: how much of the running mean of gradients stays at each update.
      beta2: how much of the running mean of squares stays at each update.
      epsilon: added to the root by which the gradient is divided.
      rescale_grad: what gradients are multiplied by first; MXNet's sum over the batch, so 1 / batch size there.
      clip_gradient: the size above which an element of the rescaled gradient is cut; None: none.
      wd: the strength of the weight decay.
      lr_mult: factors of the learning rate: a mapping from patterns of paths, or a tree; None: 1.
      wd_mult: factors of the weight decay: a mapping from patterns of paths, or a tree; None: 1.
      multi_precision: keep a float32 copy of narrow parameters in the state.

    >>> from gradxform.dialects import mxnet
    >>> tx = mxnet.adam(learning_rate=1e-3, rescale_grad=1 / 32)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; ScaleByAdamState(count, mu, nu). Memory: 2 x params.
    Units    learning_rate has those of p.
    Shapes   any, scalars and complex included.
    Source   MXNet 2, `Adam`; Kingma & Ba 2015, arXiv:1412.6980, the end of section 2. MXNet's guide has epsilon outside the root of nu^.
    Differs  no.
    Raises   HyperparameterError: an argument out of range. MissingArgumentError: no params, with wd. LabelError: lr_mult or wd_mult.
    """
    return coupled(scale_by_folded_adam(beta1, beta2, epsilon), *rate(learning_rate, common), common=common)


@elementwise(ScaleByAdamState, needs=("params",))
def mxnet_adamw_step(
    g, s, p, c,
    learning_rate: Real, b1: Decay, b2: Decay, eps: NonNegative, wd: NonNegative, correct_bias: bool = True,
    lr_mult: LeafNumbers = None, wd_mult: LeafNumbers = None,
):  # fmt: skip
    """The step of `adamw`: see there."""
    mu = b1 * s.mu + (1 - b1) * g
    nu = b2 * s.nu + (1 - b2) * abs_sq(g)
    size = learning_rate * c.lr_mult * (correction(b1, b2, c.t) if correct_bias else 1)
    step = -size * mu / (jnp.sqrt(nu) + eps)
    return step - size * wd * c.wd_mult * (p + step), s._replace(mu=mu, nu=nu)


@mxnet_optimizer(core="adamw", example={"wd": 0.01})
def adamw(
    learning_rate: Real[Hyper] = 0.001,
    beta1: Decay[Hyper] = 0.9,
    beta2: Decay[Hyper] = 0.999,
    epsilon: NonNegative[Hyper] = 1e-6,
    correct_bias: bool = True,
    **common: Unpack[Common],
):
    """MXNet's `AdamW`: decoupled decay that has the rate's bias correction, and acts on the parameters after the step.

        g  = clip(rescale_grad g)
        mu = beta1 mu + (1 - beta1) g
        nu = beta2 nu + (1 - beta2) |g|^2
        a  = learning_rate sqrt(1 - beta2^t) / (1 - beta1^t)            learning_rate if not correct_bias
        d  = -a mu / (sqrt(nu) + epsilon)
        u  = d - a wd (p + d)

    Args:
      learning_rate: the learning rate, or a schedule: a function of the number of completed updates.
      beta1: how much of the running mean of gradients stays at each update.
      beta2: how much of the running mean of squares stays at each update.
      epsilon: added to the root by which the gradient is divided.
      correct_bias: multiply the rate by the quotient of the bias corrections.
      rescale_grad: what gradients are multiplied by first; MXNet's sum over the batch, so 1 / batch size there.
      clip_gradient: the size above which an element of the rescaled gradient is cut; None: none.
      wd: the strength of the weight decay.
      lr_mult: factors of the learning rate: a mapping from patterns of paths, or a tree; None: 1.
      wd_mult: factors of the weight decay: a mapping from patterns of paths, or a tree; None: 1.
      multi_precision: keep a float32 copy of narrow parameters in the state.

    >>> from gradxform.dialects import mxnet
    >>> tx = mxnet.adamw(learning_rate=1e-3, wd=0.1)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; ScaleByAdamState(count, mu, nu). Memory: 2 x params.
    Units    learning_rate has those of p; wd those of 1 / p.
    Shapes   any, scalars and complex included.
    Source   MXNet 2, `AdamW` without its fused kernel, which decays p and not p + d; Loshchilov & Hutter 2019, arXiv:1711.05101.
    Differs  no.
    Raises   HyperparameterError: an argument out of range. MissingArgumentError: no params. LabelError: lr_mult or wd_mult.
    """
    given = filled(common)
    step = mxnet_adamw_step(
        learning_rate, beta1, beta2, epsilon, given["wd"], correct_bias, given["lr_mult"], given["wd_mult"]
    )  # fmt: skip
    return decoupled(step, common=common)
