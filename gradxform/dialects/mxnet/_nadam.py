"""MXNet's `Nadam`."""

from __future__ import annotations

from typing import Unpack

from gradxform._types import Decay, Hyper, NonNegative, Real
from gradxform.dialects.mxnet._mxnet import Common, coupled, mxnet_optimizer, rate
from gradxform.optimizers import scale_by_nadam


@mxnet_optimizer(core="nadam")
def nadam(
    learning_rate: Real[Hyper] = 0.001,
    beta1: Decay[Hyper] = 0.9,
    beta2: Decay[Hyper] = 0.999,
    epsilon: NonNegative[Hyper] = 1e-8,
    schedule_decay: NonNegative[Hyper] = 0.004,
    **common: Unpack[Common],
):
    """MXNet's `Nadam`: Adam with Nesterov's look-ahead and a momentum that warms up.

        g = clip(rescale_grad g) + wd p
        m = a_(t+1) mu / (1 - a_1 ... a_(t+1)) + (1 - a_t) g / (1 - a_1 ... a_t)
        u = -learning_rate m / (sqrt(nu / (1 - beta2^t)) + epsilon)     mu, nu as in `adam`

        a_t = beta1 (1 - 0.96^(t schedule_decay) / 2)

    Args:
      learning_rate: the learning rate, or a schedule: a function of the number of completed updates.
      beta1: how much of the running mean of gradients stays at each update.
      beta2: how much of the running mean of squares stays at each update.
      epsilon: added to the root by which the gradient is divided.
      schedule_decay: how fast the momentum warms up.
      rescale_grad: what gradients are multiplied by first; MXNet's sum over the batch, so 1 / batch size there.
      clip_gradient: the size above which an element of the rescaled gradient is cut; None: none.
      wd: the strength of the weight decay.
      lr_mult: factors of the learning rate: a mapping from patterns of paths, or a tree; None: 1.
      wd_mult: factors of the weight decay: a mapping from patterns of paths, or a tree; None: 1.
      multi_precision: keep a float32 copy of narrow parameters in the state.

    >>> from gradxform.dialects import mxnet
    >>> tx = mxnet.nadam(learning_rate=1e-3)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; ScaleByNadamState(count, mu, nu, product). Memory: 2 x params.
    Units    learning_rate has those of p.
    Shapes   any, scalars and complex included.
    Source   MXNet 2, `Nadam`; Dozat 2016, "Incorporating Nesterov momentum into Adam".
    Differs  the guide and the code are mended: the guide looks ahead uphill, with the sign of p + beta1 v; the code multiplies the product
             once per parameter array and update, here it is once per update.
    Raises   HyperparameterError: an argument out of range. MissingArgumentError: no params, with wd. LabelError: lr_mult or wd_mult.
    """
    direction = scale_by_nadam(beta1, beta2, epsilon, momentum_decay=schedule_decay)
    return coupled(direction, *rate(learning_rate, common), common=common)
