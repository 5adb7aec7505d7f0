"""`torch.optim.RMSprop`."""

from __future__ import annotations

from gradxform._types import Decay, Hyper, NonNegative, Unit
from gradxform.dialects._pieces import is_zero
from gradxform.dialects.torch._torch import minimizer, torch_optimizer
from gradxform.transforms import scale_by_rms, scale_by_stddev, trace


@torch_optimizer(core="rmsprop")
def rmsprop(
    lr: NonNegative[Hyper] = 1e-2,
    alpha: Decay[Hyper] = 0.99,
    eps: NonNegative[Hyper] = 1e-8,
    weight_decay: NonNegative[Hyper] = 0.0,
    momentum: Unit[Hyper] = 0.0,
    centered: bool = False,
    maximize: bool = False,
):
    """`torch.optim.RMSprop`: eps outside the root, the rate outside the momentum, coupled decay.

        g  = g + weight_decay p                         -g + weight_decay p if maximize
        nu = alpha nu + (1 - alpha) |g|^2
        d  = g / (sqrt(nu) + eps)                       centered: nu - |mu|^2, mu = alpha mu + (1 - alpha) g
        m  = momentum m + d
        u  = -lr m

    Args:
      lr: the learning rate, or a schedule: a function of the number of completed updates.
      alpha: how much of the running means stays at each update.
      eps: added to the root by which the gradient is divided.
      weight_decay: the part of the parameters that is added to the gradient.
      momentum: how much of the velocity stays at each update.
      centered: divide by the running standard deviation in the place of the root mean square.
      maximize: climb.

    >>> from gradxform.dialects import torch
    >>> tx = torch.rmsprop(lr=0.01, momentum=0.9, centered=True)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; ScaleByRmsState(nu) or ScaleByRStdDevState(mu, nu), with momentum TraceState(trace). Memory: 1 to 3 x params.
    Units    lr has those of p.
    Shapes   any, scalars and complex included.
    Source   PyTorch 2.13, `torch.optim.RMSprop`.
    Differs  the centered form stays finite where PyTorch's difference turns negative (`scale_by_stddev`); alpha < 1, momentum <= 1.
    Raises   HyperparameterError: lr, eps or weight_decay < 0, alpha outside [0, 1), momentum outside [0, 1].
    """
    precondition = scale_by_stddev if centered else scale_by_rms
    direction = precondition(alpha, eps, eps_in_sqrt=False)
    inertia = [] if is_zero(momentum) else [trace(momentum)]
    return minimizer(direction, *inertia, lr=lr, weight_decay=weight_decay, maximize=maximize)
