"""MXNet's `FTML`."""

from __future__ import annotations

from typing import Unpack

from gradxform._types import Decay, Hyper, NonNegative, Real
from gradxform.dialects.mxnet._mxnet import Common, coupled, multiplied, mxnet_optimizer
from gradxform.optimizers import ftml as core_ftml


@mxnet_optimizer(core="ftml")
def ftml(
    learning_rate: Real[Hyper] = 0.0025,
    beta1: Decay[Hyper] = 0.6,
    beta2: Decay[Hyper] = 0.999,
    epsilon: NonNegative[Hyper] = 1e-8,
    **common: Unpack[Common],
):
    """MXNet's `FTML`: follow the moving leader.

        g  = clip(rescale_grad g) + wd p
        nu = beta2 nu + (1 - beta2) |g|^2
        d  = (1 - beta1^t) / learning_rate (sqrt(nu / (1 - beta2^t)) + epsilon)
        u  = -(1 - beta1) g / d

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
    >>> tx = mxnet.ftml(learning_rate=2.5e-3)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; ScaleByRmsWithCountState(count, nu). Memory: 1 x params.
    Units    learning_rate has those of p.
    Shapes   any, scalars and complex included.
    Source   MXNet's documentation of `FTML`; Zheng & Kwok 2017, Algorithm 1.
    Differs  MXNet keeps z = beta1 z + (1 - beta1) g - (d - beta1 d_before) p and jumps to -z / d. That is p + u as long as nothing but u
             moves p (`gradxform.ftml`), at 3 x params of memory. The guide's error, a gradient at w_i inside the sum over j, is mended.
    Raises   HyperparameterError: an argument out of range. MissingArgumentError: no params, with wd. LabelError: lr_mult or wd_mult.
    """
    return coupled(core_ftml(learning_rate, beta1, beta2, epsilon), *multiplied(common), common=common)
