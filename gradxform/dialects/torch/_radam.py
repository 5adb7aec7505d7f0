"""`torch.optim.RAdam`."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform._types import Decay, Hyper, NonNegative
from gradxform.core import elementwise
from gradxform.dialects._pieces import one_minus_power
from gradxform.dialects.torch._adam import moments
from gradxform.dialects.torch._torch import Betas, minimizer, torch_optimizer
from gradxform.optimizers import ScaleByAdamState
from gradxform.optimizers._radam import rectification


@elementwise(ScaleByAdamState)
def scale_by_torch_radam(g, s, p, c, b1: Decay = 0.9, b2: Decay = 0.999, eps: NonNegative = 1e-8):
    """Adam's direction, rectified for the variance of the second moment; momentum alone as long as that is not finite.

        mu    = b1 mu + (1 - b1) g
        nu    = b2 nu + (1 - b2) |g|^2
        rho   = rho_inf - 2 t b2^t / (1 - b2^t)         rho_inf = 2 / (1 - b2) - 1
        r     = sqrt((rho - 4) (rho - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho))
        u     = mu^ r sqrt(1 - b2^t) / (sqrt(nu) + eps)                 mu^ if rho <= 5; mu^ = mu / (1 - b1^t)

    State    count; mu: like p; nu: like p but real; float32 or wider. Memory: 2 x params.
    Units    u is dimensionless once rho > 5, before that it has those of g.
    Shapes   any, scalars and complex included.
    Source   PyTorch 2.13, `torch.optim.RAdam`; Liu et al. 2020, arXiv:1908.03265.
    Differs  no. rho is written so that float32 keeps its digits: PyTorch computes it on the host in double precision.
    Raises   HyperparameterError: b1 or b2 outside [0, 1), eps < 0.
    """
    mu, nu = moments(g, s, b1, b2)
    rectified, r = rectification(b2, c.t, 5)
    adapted = r * jnp.sqrt(one_minus_power(b2, c.t)) / jnp.where(rectified, jnp.sqrt(nu) + eps, 1)
    return mu / one_minus_power(b1, c.t) * jnp.where(rectified, adapted, 1), s._replace(mu=mu, nu=nu)


@torch_optimizer()
def radam(
    lr: NonNegative[Hyper] = 1e-3,
    betas: Betas = (0.9, 0.999),
    eps: NonNegative[Hyper] = 1e-8,
    weight_decay: NonNegative[Hyper] = 0.0,
    decoupled_weight_decay: bool = False,
    *,
    maximize: bool = False,
):
    """`torch.optim.RAdam`: Adam whose early steps are rectified, or plain momentum while nothing is known of the second moment.

        g   = g + weight_decay p                        unless decoupled_weight_decay; -g if maximize
        rho = rho_inf - 2 t b2^t / (1 - b2^t)           rho_inf = 2 / (1 - b2) - 1; (b1, b2) = betas
        r   = sqrt((rho - 4) (rho - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho))
        u   = -lr mu^ r sqrt(1 - b2^t) / (sqrt(nu) + eps)               -lr mu^ if rho <= 5; mu, nu as in `adam`

    Args:
      lr: the learning rate, or a schedule: a function of the number of completed updates.
      betas: how much of the running means of g and of its square stays at each update.
      eps: added to the root by which the gradient is divided.
      weight_decay: the part of the parameters that is added to the gradient; with decoupled_weight_decay, taken away apart, times
        lr.
      decoupled_weight_decay: take the decay away apart from the gradient, as AdamW does.
      maximize: climb.

    >>> from gradxform.dialects import torch
    >>> tx = torch.radam(lr=1e-3)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; ScaleByAdamState(count, mu, nu). Memory: 2 x params.
    Units    lr has those of p; in the first five or so updates those of p / g.
    Shapes   any, scalars and complex included.
    Source   PyTorch 2.13, `torch.optim.RAdam`; Liu et al. 2020, arXiv:1908.03265.
    Differs  as `adam`.
    Raises   HyperparameterError: lr, eps or weight_decay < 0, a beta outside [0, 1).
    """
    b1, b2 = betas
    direction = scale_by_torch_radam(b1, b2, eps)
    return minimizer(direction, lr=lr, weight_decay=weight_decay, maximize=maximize, decoupled=decoupled_weight_decay)
