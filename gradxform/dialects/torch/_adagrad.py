"""`torch.optim.Adagrad`."""

from __future__ import annotations

from gradxform._types import Hyper, NonNegative
from gradxform.core import ScaleByScheduleState, elementwise
from gradxform.dialects._pieces import is_zero
from gradxform.dialects.torch._torch import minimizer, torch_optimizer
from gradxform.transforms import scale_by_rss


@elementwise(ScaleByScheduleState)
def decay_by_inverse_time(g, s, p, c, decay_rate: NonNegative):
    """Make updates smaller as time goes by.

        u = g / (1 + decay_rate (t - 1))

    State    ScaleByScheduleState(count). Memory: none.
    Units    those of g.
    Shapes   any.
    Source   PyTorch 2.13, the `lr_decay` of `torch.optim.Adagrad`.
    Differs  no.
    Raises   HyperparameterError: decay_rate < 0.
    """
    return g / (1 + decay_rate * (c.t - 1).astype(c.dtype)), s


@torch_optimizer(core="adagrad", example={"lr": 0.1})
def adagrad(
    lr: NonNegative[Hyper] = 1e-2,
    lr_decay: NonNegative[Hyper] = 0.0,
    weight_decay: NonNegative[Hyper] = 0.0,
    initial_accumulator_value: NonNegative[Hyper] = 0.0,
    eps: NonNegative[Hyper] = 1e-10,
    *,
    maximize: bool = False,
):
    """`torch.optim.Adagrad`: eps outside the root, a rate that decays with time, coupled decay.

        g = g + weight_decay p                          -g + weight_decay p if maximize
        G = G + |g|^2                                   the first G is initial_accumulator_value
        u = -lr / (1 + lr_decay (t - 1)) g / (sqrt(G) + eps)            0 where G = 0

    Args:
      lr: the learning rate, or a schedule: a function of the number of completed updates.
      lr_decay: how fast the rate falls with the number of updates.
      weight_decay: the part of the parameters that is added to the gradient.
      initial_accumulator_value: where the sum of squares begins.
      eps: added to the root by which the gradient is divided.
      maximize: climb.

    >>> from gradxform.dialects import torch
    >>> tx = torch.adagrad(lr=0.01)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; ScaleByRssState(sum_of_squares), with lr_decay a count. Memory: 1 x params.
    Units    lr has those of p.
    Shapes   any, scalars and complex included.
    Source   PyTorch 2.13, `torch.optim.Adagrad`.
    Differs  as `adam`.
    Raises   HyperparameterError: an argument < 0.
    """
    decay = [] if is_zero(lr_decay) else [decay_by_inverse_time(lr_decay)]
    direction = scale_by_rss(initial_accumulator_value, eps, eps_in_sqrt=False)
    return minimizer(direction, *decay, lr=lr, weight_decay=weight_decay, maximize=maximize)
