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

    State    a chain's; ScaleByBeliefState(count, mu, nu). Memory: 2 x params.
    Units    learning_rate has those of p.
    Shapes   any, scalars and complex included.
    Source   MXNet 2, `AdaBelief`; Zhuang et al. 2020, arXiv:2010.07468, Algorithm 2.
    Differs  no: that epsilon adds up in nu (erratum E19) is so in the paper too, and is kept: it lifts nu by up to
             epsilon / (1 - beta2).
    Raises   HyperparameterError: an argument out of range. MissingArgumentError: no params, with wd. LabelError: lr_mult or wd_mult.
    """
    direction = scale_by_folded_belief(beta1, beta2, epsilon, correct_bias)
    return finished(
        *rescaled(common), *decay(common), *clips(common), direction, *rate(learning_rate, common), common=common
    )  # fmt: skip
