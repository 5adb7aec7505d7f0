"""`torch.optim.Adam` and `AdamW`."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform._numerics import abs_sq
from gradxform._types import Decay, Hyper, NonNegative
from gradxform.core import GradientTransformationExtraArgs, elementwise
from gradxform.dialects._pieces import one_minus_power
from gradxform.dialects.torch._torch import Betas, minimizer, torch_optimizer
from gradxform.optimizers import ScaleByAdamState, ScaleByAmsgradState


def moments(g, s, b1, b2):
    """The next running means of g and |g|^2, with PyTorch's order of operations."""
    return s.mu + (1 - b1) * (g - s.mu), b2 * s.nu + (1 - b2) * abs_sq(g)


@elementwise(ScaleByAdamState)
def scale_by_torch_adam(g, s, p, c, b1: Decay = 0.9, b2: Decay = 0.999, eps: NonNegative = 1e-8):
    """Divide the gradient's running mean by its running root mean square, with the bias corrections of double precision.

        mu = b1 mu + (1 - b1) g
        nu = b2 nu + (1 - b2) |g|^2
        u  = mu^ / (sqrt(nu^) + eps)                    x^ = x / (1 - b^t)

    State    count; mu: like p; nu: like p but real; float32 or wider. Memory: 2 x params.
    Units    u is dimensionless.
    Shapes   any, scalars and complex included.
    Source   PyTorch 2.13, `torch.optim.Adam`.
    Differs  from `scale_by_adam`: in float32 its 1 - b2^t is off by 1.3e-5 of itself, as Optax's is; PyTorch computes it on the host.
    Raises   HyperparameterError: b1 or b2 outside [0, 1), eps < 0.
    """
    mu, nu = moments(g, s, b1, b2)
    denominator = jnp.sqrt(nu) / jnp.sqrt(one_minus_power(b2, c.t)) + eps
    return mu / one_minus_power(b1, c.t) / denominator, s._replace(mu=mu, nu=nu)


@elementwise(ScaleByAmsgradState)
def scale_by_torch_amsgrad(g, s, p, c, b1: Decay = 0.9, b2: Decay = 0.999, eps: NonNegative = 1e-8):
    """Divide the gradient's running mean by the largest running root mean square that it has had.

        mu     = b1 mu + (1 - b1) g
        nu     = b2 nu + (1 - b2) |g|^2
        nu_max = max(nu_max, nu)
        u      = mu^ / (sqrt(nu_max^) + eps)            x^ = x / (1 - b^t)

    State    count; mu: like p; nu, nu_max: like p but real; float32 or wider. Memory: 3 x params.
    Units    u is dimensionless.
    Shapes   any, scalars and complex included.
    Source   PyTorch 2.13, `torch.optim.Adam(amsgrad=True)`; Reddi et al. 2018.
    Differs  from `scale_by_amsgrad(bias_correction_nu="after")` as `scale_by_torch_adam` from `scale_by_adam`.
    Raises   HyperparameterError: b1 or b2 outside [0, 1), eps < 0.
    """
    mu, nu = moments(g, s, b1, b2)
    nu_max = jnp.maximum(s.nu_max, nu)
    denominator = jnp.sqrt(nu_max) / jnp.sqrt(one_minus_power(b2, c.t)) + eps
    return mu / one_minus_power(b1, c.t) / denominator, s._replace(mu=mu, nu=nu, nu_max=nu_max)


def _adam(
    lr: Hyper, betas: Betas, eps: Hyper, weight_decay: Hyper, amsgrad: bool, maximize: bool, decoupled: bool
) -> GradientTransformationExtraArgs:
    b1, b2 = betas
    make = scale_by_torch_amsgrad if amsgrad else scale_by_torch_adam
    return minimizer(make(b1, b2, eps), lr=lr, weight_decay=weight_decay, maximize=maximize, decoupled=decoupled)


@torch_optimizer(core="adam")
def adam(
    lr: NonNegative[Hyper] = 1e-3,
    betas: Betas = (0.9, 0.999),
    eps: NonNegative[Hyper] = 1e-8,
    weight_decay: NonNegative[Hyper] = 0.0,
    amsgrad: bool = False,
    *,
    maximize: bool = False,
    decoupled_weight_decay: bool = False,
):
    """`torch.optim.Adam`: its weight decay is coupled unless decoupled_weight_decay.

        g  = g + weight_decay p                         -g + weight_decay p if maximize
        mu = b1 mu + (1 - b1) g
        nu = b2 nu + (1 - b2) |g|^2                     (b1, b2) = betas
        u  = -lr mu^ / (sqrt(nu^) + eps)                amsgrad: nu_max = max(nu_max, nu) in the place of nu

    Args:
      lr: the learning rate, or a schedule: a function of the number of completed updates.
      betas: how much of the running means of g and of its square stays at each update.
      eps: added to the root by which the gradient is divided.
      weight_decay: the part of the parameters that is added to the gradient; with decoupled_weight_decay, taken away apart, times
        lr.
      amsgrad: divide by the largest running mean of squares so far.
      maximize: climb.
      decoupled_weight_decay: take the decay away apart from the gradient, as AdamW does.

    >>> from gradxform.dialects import torch
    >>> tx = torch.adam(lr=3e-4, betas=(0.9, 0.95))
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; ScaleByAdamState(count, mu, nu), or ScaleByAmsgradState with nu_max. Memory: 2 or 3 x params.
    Units    lr has those of p.
    Shapes   any, scalars and complex included.
    Source   PyTorch 2.13, `torch.optim.Adam`.
    Differs  complex parameters: |g|^2 is of the whole number; PyTorch treats real and imaginary parts as two parameters.
    Raises   HyperparameterError: lr, eps or weight_decay < 0, a beta outside [0, 1).
    """
    return _adam(lr, betas, eps, weight_decay, amsgrad, maximize, decoupled_weight_decay)


@torch_optimizer(core="adamw")
def adamw(
    lr: NonNegative[Hyper] = 1e-3,
    betas: Betas = (0.9, 0.999),
    eps: NonNegative[Hyper] = 1e-8,
    weight_decay: NonNegative[Hyper] = 1e-2,
    amsgrad: bool = False,
    *,
    maximize: bool = False,
):
    """`torch.optim.AdamW`: Adam with decoupled weight decay, 0.01 by default.

        u = -lr (mu^ / (sqrt(nu^) + eps) + weight_decay p)              mu, nu as in `adam`

    Args:
      lr: the learning rate, or a schedule: a function of the number of completed updates.
      betas: how much of the running means of g and of its square stays at each update.
      eps: added to the root by which the gradient is divided.
      weight_decay: decoupled decay: the part of the parameters, times lr, that is taken away at each update.
      amsgrad: divide by the largest running mean of squares so far.
      maximize: climb.

    >>> from gradxform.dialects import torch
    >>> tx = torch.adamw(lr=3e-4, weight_decay=0.1)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    as `adam`. Memory: 2 or 3 x params.
    Units    lr has those of p; weight_decay those of 1 / p.
    Shapes   any, scalars and complex included.
    Source   PyTorch 2.13, `torch.optim.AdamW`.
    Differs  as `adam`.
    Raises   HyperparameterError: lr, eps or weight_decay < 0, a beta outside [0, 1). MissingArgumentError: no params.
    """
    return _adam(lr, betas, eps, weight_decay, amsgrad, maximize, True)
