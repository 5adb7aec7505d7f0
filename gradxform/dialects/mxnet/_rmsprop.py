"""MXNet's `RMSProp`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from gradxform._errors import HyperparameterError
from gradxform._types import Decay, Hyper, NonNegative, Number, Positive, Real, Unit
from gradxform.core._hyper import is_schedule
from gradxform.dialects._pieces import box
from gradxform.dialects.mxnet._mxnet import Common, coupled, mxnet_optimizer, rate
from gradxform.transforms import scale_by_rms, scale_by_stddev, trace


def _check(owner: str, arguments: Mapping[str, Any]) -> None:
    if is_schedule(arguments["clip_weights"]):
        raise HyperparameterError(f"{owner}: `clip_weights` must be a number or None, but got {arguments['clip_weights']!r}.")


@mxnet_optimizer(core="rmsprop", check=_check)
def rmsprop(
    learning_rate: Real[Hyper] = 0.001,
    gamma1: Decay[Hyper] = 0.9,
    gamma2: Unit[Hyper] = 0.9,
    epsilon: NonNegative[Hyper] = 1e-7,
    centered: bool = False,
    clip_weights: Positive[Number] | None = None,
    **common: Unpack[Common],
):
    """MXNet's `RMSProp`: epsilon inside the root; momentum in the centered form only.

        g  = clip(rescale_grad g) + wd p
        nu = gamma1 nu + (1 - gamma1) |g|^2
        u  = -learning_rate g / sqrt(nu + epsilon)

    centered:  mu = gamma1 mu + (1 - gamma1) g
               v  = gamma2 v - learning_rate g / sqrt(nu - |mu|^2 + epsilon);  u = v

    With clip_weights, u is such that p + u lies in [-clip_weights, clip_weights].

    Args:
      learning_rate: the learning rate, or a schedule: a function of the number of completed updates.
      gamma1: how much of the running means stays at each update.
      gamma2: how much of the velocity stays at each update, if centered.
      epsilon: added inside the root by which the gradient is divided.
      centered: divide by the running standard deviation in the place of the root mean square, with momentum.
      clip_weights: the largest size that parameters may come to; None: any.
      rescale_grad: what gradients are multiplied by first; MXNet's sum over the batch, so 1 / batch size there.
      clip_gradient: the size above which an element of the rescaled gradient is cut; None: none.
      wd: the strength of the weight decay.
      lr_mult: factors of the learning rate: a mapping from patterns of paths, or a tree; None: 1.
      wd_mult: factors of the weight decay: a mapping from patterns of paths, or a tree; None: 1.
      multi_precision: keep a float32 copy of narrow parameters in the state.

    >>> from gradxform.dialects import mxnet
    >>> tx = mxnet.rmsprop(learning_rate=1e-3, centered=True)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; ScaleByRmsState(nu), or ScaleByRStdDevState(mu, nu) and TraceState(trace). Memory: 1 or 3 x params.
    Units    learning_rate has those of p.
    Shapes   any, scalars and complex included.
    Source   MXNet's optimizer guide; MXNet 1, `RMSProp`; Graves 2013, arXiv:1308.0850.
    Differs  nu - |mu|^2 is computed so that it is never negative (`scale_by_stddev`). MXNet 2 calls gamma1 and
             gamma2 rho and momentum, and has epsilon outside.
    Raises   HyperparameterError: an argument out of range. MissingArgumentError: no params, with wd or clip_weights. LabelError: lr_mult
             or wd_mult.
    """
    direction = scale_by_stddev(gamma1, epsilon) if centered else scale_by_rms(gamma1, epsilon)
    inertia = [trace(gamma2)] if centered else []
    return coupled(direction, *rate(learning_rate, common), *inertia, *box(clip_weights), common=common)
