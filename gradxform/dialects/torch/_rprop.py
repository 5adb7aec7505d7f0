"""`torch.optim.Rprop`."""

from __future__ import annotations

from gradxform._types import Hyper, NonNegative
from gradxform.core import chain
from gradxform.dialects.torch._torch import torch_optimizer
from gradxform.optimizers._rprop import Larger, Smaller, scale_by_rprop
from gradxform.transforms import scale


@torch_optimizer()
def rprop(
    lr: NonNegative[Hyper] = 1e-2,
    etas: tuple[Smaller[Hyper], Larger[Hyper]] = (0.5, 1.2),
    step_sizes: tuple[NonNegative[Hyper], NonNegative[Hyper]] = (1e-6, 50.0),
    *,
    maximize: bool = False,
):
    """`torch.optim.Rprop`: only the signs of gradients count, and whether they change.

        step_size = clip(eta step_size, step_sizes)     eta = etas[1] if g keeps its sign, etas[0] if not, 1 if one is 0
        g         = 0 where the sign changed            g of this update is the last of the next
        u         = -sign(g) step_size                  g: -g if maximize

    The first step_size is lr; a schedule counts only at its beginning. For full batches.

    Args:
      lr: the learning rate, or a schedule: a function of the number of completed updates.
      etas: by what a step size is multiplied where the gradient changes its sign, and where it keeps it.
      step_sizes: the least and the largest step size.
      maximize: climb.

    >>> from gradxform.dialects import torch
    >>> tx = torch.rprop(lr=0.01)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    (ScaleByRpropState(step_sizes, prev_updates), EmptyState()). Memory: 2 x params.
    Units    lr has those of p.
    Shapes   any, scalars included; real and imaginary parts are two parameters, as in PyTorch.
    Source   PyTorch 2.13, `torch.optim.Rprop`; Riedmiller & Braun 1993.
    Differs  g prev cannot underflow: its sign is the product of two signs. A step size of 0, as by lr=0, stays 0.
    Raises   HyperparameterError: lr < 0, an eta out of range, a step size < 0.
    """
    (eta_minus, eta_plus), (least, most) = etas, step_sizes
    first = [scale(-1.0)] if maximize else []
    return chain(*first, scale_by_rprop(lr, eta_minus, eta_plus, least, most), scale(-1.0))
