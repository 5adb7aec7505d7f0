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

    State    a chain's; ScaleByNadamState(count, mu, nu, product). Memory: 2 x params.
    Units    learning_rate has those of p.
    Shapes   any, scalars and complex included.
    Source   MXNet 2, `Nadam`; Dozat 2016, "Incorporating Nesterov momentum into Adam".
    Differs  errata E4 and E19 are mended: the guide looks ahead uphill, with the sign of p + beta1 v; the code multiplies the product once
             per parameter array and update, here it is once per update.
    Raises   HyperparameterError: an argument out of range. MissingArgumentError: no params, with wd. LabelError: lr_mult or wd_mult.
    """
    direction = scale_by_nadam(beta1, beta2, epsilon, momentum_decay=schedule_decay)
    return coupled(direction, *rate(learning_rate, common), common=common)
