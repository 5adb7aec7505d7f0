"""MXNet's `DCASGD`."""

from __future__ import annotations

from typing import Unpack

from gradxform._types import Hyper, NonNegative, Real, Unit
from gradxform.dialects._pieces import is_zero
from gradxform.dialects.mxnet._mxnet import Common, coupled, mxnet_optimizer, rate
from gradxform.optimizers import compensate_delay
from gradxform.transforms import trace


@mxnet_optimizer(core="dcasgd", example={"momentum": 0.9})
def dcasgd(
    learning_rate: Real[Hyper] = 0.1, momentum: Unit[Hyper] = 0.0, lamda: NonNegative[Hyper] = 0.04, **common: Unpack[Common]
):
    """MXNet's `DCASGD`: descent with delayed gradients, compensated to first order.

        g = clip(rescale_grad g) + wd p
        d = g + lamda |g|^2 (p - delayed_params)
        m = momentum m - learning_rate d
        u = m

    `update(..., delayed_params=w)` says where g was computed; without it, as in MXNet, where the parameters were at the last update.

    Args:
      learning_rate: the learning rate, or a schedule: a function of the number of completed updates.
      momentum: how much of the velocity stays at each update.
      lamda: the strength of the compensation for the delay.
      rescale_grad: what gradients are multiplied by first; MXNet's sum over the batch, so 1 / batch size there.
      clip_gradient: the size above which an element of the rescaled gradient is cut; None: none.
      wd: the strength of the weight decay.
      lr_mult: factors of the learning rate: a mapping from patterns of paths, or a tree; None: 1.
      wd_mult: factors of the weight decay: a mapping from patterns of paths, or a tree; None: 1.
      multi_precision: keep a float32 copy of narrow parameters in the state.

    >>> from gradxform.dialects import mxnet
    >>> tx = mxnet.dcasgd(learning_rate=0.1, lamda=0.04)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; CompensateDelayState(count, previous), with momentum TraceState(trace). Memory: 1 x params, 2 x with momentum.
    Units    learning_rate has those of p / g; lamda those of 1 / (g p).
    Shapes   any, scalars and complex included.
    Source   MXNet's optimizer guide; MXNet 2, `DCASGD`; Zheng et al. 2017, arXiv:1609.08326. MXNet 1 has wd p outside |g|^2.
    Differs  from `gradxform.dcasgd`: the compensation has no limit. `delayed_params` is new.
    Raises   HyperparameterError: an argument out of range. MissingArgumentError: no params. LabelError: lr_mult or wd_mult.
    """
    inertia = [] if is_zero(momentum) else [trace(momentum)]
    return coupled(compensate_delay(lamda, limit=None), *rate(learning_rate, common), *inertia, common=common)
