"""`torch.optim.Adamax`."""

from __future__ import annotations

from gradxform._types import Hyper, NonNegative
from gradxform.dialects.torch._torch import Betas, minimizer, torch_optimizer
from gradxform.optimizers import scale_by_adamax


@torch_optimizer(core="adamax")
def adamax(
    lr: NonNegative[Hyper] = 2e-3,
    betas: Betas = (0.9, 0.999),
    eps: NonNegative[Hyper] = 1e-8,
    weight_decay: NonNegative[Hyper] = 0.0,
    *,
    maximize: bool = False,
):
    """`torch.optim.Adamax`: momentum, divided by the largest recent gradient; coupled decay.

        g  = g + weight_decay p                         -g + weight_decay p if maximize
        mu = b1 mu + (1 - b1) g
        nu = max(b2 nu, |g| + eps)                      (b1, b2) = betas
        u  = -lr mu / ((1 - b1^t) nu)

    Args:
      lr: the learning rate, or a schedule: a function of the number of completed updates.
      betas: how much of the running mean of g and of the largest gradient stays at each update.
      eps: added to the gradient's size before the maximum is taken.
      weight_decay: the part of the parameters that is added to the gradient.
      maximize: climb.

    >>> from gradxform.dialects import torch
    >>> tx = torch.adamax(lr=2e-3)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; ScaleByAdamState(count, mu, nu). Memory: 2 x params.
    Units    lr has those of p.
    Shapes   any, scalars and complex included.
    Source   PyTorch 2.13, `torch.optim.Adamax`.
    Differs  as `adam`.
    Raises   HyperparameterError: lr, eps or weight_decay < 0, a beta outside [0, 1).
    """
    b1, b2 = betas
    return minimizer(scale_by_adamax(b1, b2, eps), lr=lr, weight_decay=weight_decay, maximize=maximize)
