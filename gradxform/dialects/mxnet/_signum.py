"""MXNet's `Signum`."""

from __future__ import annotations

from typing import Unpack

from gradxform._types import Decay, Hyper, NonNegative, Real
from gradxform.dialects._pieces import is_zero
from gradxform.dialects.mxnet._mxnet import Common, coupled, decay, finished, mxnet_optimizer, rate
from gradxform.transforms import add_decayed_weights, ema, scale_by_sign


@mxnet_optimizer(core="signum", example={"wd_lh": 0.01, "wd": 0.01})
def signum(
    learning_rate: Real[Hyper] = 0.01,
    momentum: Decay[Hyper] = 0.9,
    wd_lh: NonNegative[Hyper] = 0.0,
    **common: Unpack[Common],
):
    """MXNet's `Signum`: descend along the sign of the gradient's running mean; wd enters the mean, wd_lh does not.

        g = clip(rescale_grad g) + wd p
        v = momentum v + (1 - momentum) g
        u = -learning_rate (sign(v) + wd_lh p)

    momentum=0:  u = -learning_rate (sign(g) + (wd + wd_lh) p)          rescale_grad and clip_gradient are not used

    Args:
      learning_rate: the learning rate, or a schedule: a function of the number of completed updates.
      momentum: how much of the running mean of gradients stays at each update.
      wd_lh: decoupled decay, as Loshchilov and Hutter have it.
      rescale_grad: what gradients are multiplied by first; MXNet's sum over the batch, so 1 / batch size there.
      clip_gradient: the size above which an element of the rescaled gradient is cut; None: none.
      wd: the strength of the weight decay.
      lr_mult: factors of the learning rate: a mapping from patterns of paths, or a tree; None: 1.
      wd_mult: factors of the weight decay: a mapping from patterns of paths, or a tree; None: 1.
      multi_precision: keep a float32 copy of narrow parameters in the state.

    >>> from gradxform.dialects import mxnet
    >>> tx = mxnet.signum(learning_rate=0.01, wd_lh=0.01)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; with momentum EmaState(count, ema). Memory: 1 x params with momentum.
    Units    learning_rate has those of p; wd_lh those of 1 / p.
    Shapes   any, scalars and complex included.
    Source   MXNet's optimizer guide; MXNet 2, `Signum`; Bernstein et al. 2018, arXiv:1802.04434.
    Differs  wd_mult multiplies wd only. The documentation of MXNet's class clips before it rescales; its code and this do not.
    Raises   HyperparameterError: an argument out of range. MissingArgumentError: no params, with wd or wd_lh. LabelError: lr_mult or
             wd_mult.
    """
    own_decay = [] if is_zero(wd_lh) else [add_decayed_weights(wd_lh)]
    if is_zero(momentum):
        return finished(scale_by_sign(), *decay(common), *own_decay, *rate(learning_rate, common), common=common)
    return coupled(ema(momentum, debias=False), scale_by_sign(), *own_decay, *rate(learning_rate, common), common=common)
