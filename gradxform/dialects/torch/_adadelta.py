"""`torch.optim.Adadelta`."""

from __future__ import annotations

from gradxform._types import Decay, Hyper, NonNegative
from gradxform.dialects.torch._torch import minimizer, torch_optimizer
from gradxform.optimizers import scale_by_adadelta


@torch_optimizer(core="adadelta")
def adadelta(
    lr: NonNegative[Hyper] = 1.0,
    rho: Decay[Hyper] = 0.9,
    eps: NonNegative[Hyper] = 1e-6,
    weight_decay: NonNegative[Hyper] = 0.0,
    *,
    maximize: bool = False,
):
    """`torch.optim.Adadelta`: steps in the units of the parameters, coupled decay.

        g   = g + weight_decay p                        -g + weight_decay p if maximize
        e_g = rho e_g + (1 - rho) |g|^2
        d   = sqrt(e_x + eps) / sqrt(e_g + eps) g
        e_x = rho e_x + (1 - rho) |d|^2
        u   = -lr d

    Args:
      lr: the learning rate, or a schedule: a function of the number of completed updates.
      rho: how much of the running means of squares stays at each update.
      eps: added inside both roots; it starts the first steps.
      weight_decay: the part of the parameters that is added to the gradient.
      maximize: climb.

    >>> from gradxform.dialects import torch
    >>> tx = torch.adadelta(lr=1.0, rho=0.95)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; ScaleByAdaDeltaState(e_g, e_x). Memory: 2 x params.
    Units    lr is dimensionless.
    Shapes   any, scalars and complex included.
    Source   PyTorch 2.13, `torch.optim.Adadelta`.
    Differs  as `adam`; rho < 1.
    Raises   HyperparameterError: lr, eps or weight_decay < 0, rho outside [0, 1).
    """
    return minimizer(scale_by_adadelta(rho, eps), lr=lr, weight_decay=weight_decay, maximize=maximize)
