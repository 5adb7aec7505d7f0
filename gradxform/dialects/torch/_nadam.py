"""`torch.optim.NAdam`."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import jax.numpy as jnp

from gradxform._types import Clock, Decay, Field, Hyper, NonNegative, RealUpdates, Shared, Updates
from gradxform.core import elementwise
from gradxform.dialects._pieces import one_minus_power
from gradxform.dialects.torch._adam import moments
from gradxform.dialects.torch._torch import Betas, minimizer, torch_optimizer


def _ones(b1, momentum_decay):
    return jnp.ones(jnp.broadcast_shapes(jnp.shape(b1), jnp.shape(momentum_decay)))


def _advance(momentum_product, c, b1, momentum_decay):
    return momentum_product * _momentum(c.t.astype(c.dtype), b1, momentum_decay)


class ScaleByNadamState(NamedTuple):
    """The running means of g and |g|^2, and the product of the momentum coefficients so far."""

    count: Clock
    mu: Annotated[Updates, Field(mean="b1", partner="nu")]
    nu: Annotated[RealUpdates, Field(mean="b2", nonnegative=True)]
    momentum_product: Annotated[Shared, Field(first=_ones, advance=_advance)]


def _momentum(t, b1, momentum_decay):
    return b1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))


@elementwise(ScaleByNadamState)
def scale_by_torch_nadam(
    g, s, p, c, b1: Decay = 0.9, b2: Decay = 0.999, eps: NonNegative = 1e-8, momentum_decay: NonNegative = 4e-3
):  # fmt: skip
    """Adam's direction with Nesterov's look-ahead and a momentum that warms up.

        a_t = b1 (1 - 0.96^(t momentum_decay) / 2)
        mu  = b1 mu + (1 - b1) g
        nu  = b2 nu + (1 - b2) |g|^2
        m   = a_(t+1) mu / (1 - a_1 ... a_(t+1)) + (1 - a_t) g / (1 - a_1 ... a_t)
        u   = m / (sqrt(nu / (1 - b2^t)) + eps)

    State    count; mu: like p; nu: like p but real; momentum_product: a_1 ... a_t. Memory: 2 x params.
    Units    u is dimensionless.
    Shapes   any, scalars and complex included.
    Source   PyTorch 2.13, `torch.optim.NAdam`; Dozat 2016.
    Differs  no.
    Raises   HyperparameterError: b1 or b2 outside [0, 1), eps or momentum_decay < 0.
    """
    t = c.t.astype(c.dtype)
    now, ahead = _momentum(t, b1, momentum_decay), _momentum(t + 1, b1, momentum_decay)
    mu, nu = moments(g, s, b1, b2)
    product = c.momentum_product
    m = ahead * mu / (1 - product * ahead) + (1 - now) * g / (1 - product)
    return m / (jnp.sqrt(nu / one_minus_power(b2, c.t)) + eps), s._replace(mu=mu, nu=nu)


@torch_optimizer(core="nadam")
def nadam(
    lr: NonNegative[Hyper] = 2e-3,
    betas: Betas = (0.9, 0.999),
    eps: NonNegative[Hyper] = 1e-8,
    weight_decay: NonNegative[Hyper] = 0.0,
    momentum_decay: NonNegative[Hyper] = 4e-3,
    decoupled_weight_decay: bool = False,
    *,
    maximize: bool = False,
):
    """`torch.optim.NAdam`: Adam with Nesterov's look-ahead and a momentum that warms up.

        g = g + weight_decay p                          unless decoupled_weight_decay; -g if maximize
        m = a_(t+1) mu / (1 - a_1 ... a_(t+1)) + (1 - a_t) g / (1 - a_1 ... a_t)        a_t = b1 (1 - 0.96^(t momentum_decay) / 2)
        u = -lr m / (sqrt(nu / (1 - b2^t)) + eps)       mu, nu as in `adam`; (b1, b2) = betas

    Args:
      lr: the learning rate, or a schedule: a function of the number of completed updates.
      betas: how much of the running means of g and of its square stays at each update.
      eps: added to the root by which the gradient is divided.
      weight_decay: the part of the parameters that is added to the gradient; with decoupled_weight_decay, taken away apart, times
        lr.
      momentum_decay: how fast the momentum warms up.
      decoupled_weight_decay: take the decay away apart from the gradient, as AdamW does.
      maximize: climb.

    >>> from gradxform.dialects import torch
    >>> tx = torch.nadam(lr=2e-3)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; ScaleByNadamState(count, mu, nu, momentum_product). Memory: 2 x params.
    Units    lr has those of p.
    Shapes   any, scalars and complex included.
    Source   PyTorch 2.13, `torch.optim.NAdam`; Dozat 2016, "Incorporating Nesterov momentum into Adam".
    Differs  as `adam`.
    Raises   HyperparameterError: an argument < 0, a beta outside [0, 1).
    """
    b1, b2 = betas
    direction = scale_by_torch_nadam(b1, b2, eps, momentum_decay)
    return minimizer(direction, lr=lr, weight_decay=weight_decay, maximize=maximize, decoupled=decoupled_weight_decay)
