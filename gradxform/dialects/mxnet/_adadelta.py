"""MXNet's `AdaDelta`."""

from __future__ import annotations

from typing import Unpack

from gradxform._types import Decay, Hyper, NonNegative
from gradxform.dialects.mxnet._mxnet import Common, coupled, mxnet_optimizer, rate
from gradxform.optimizers import scale_by_adadelta


@mxnet_optimizer(core="adadelta")
def adadelta(rho: Decay[Hyper] = 0.9, epsilon: NonNegative[Hyper] = 1e-7, **common: Unpack[Common]):
    """MXNet's `AdaDelta`: steps in the units of the parameters, without a rate.

        g   = clip(rescale_grad g) + wd p
        e_g = rho e_g + (1 - rho) |g|^2
        u   = -sqrt(e_x + epsilon) / sqrt(e_g + epsilon) g
        e_x = rho e_x + (1 - rho) |u|^2

    Args:
      rho: how much of the running means of squares stays at each update.
      epsilon: added inside both roots; it starts the first steps.
      rescale_grad: what gradients are multiplied by first; MXNet's sum over the batch, so 1 / batch size there.
      clip_gradient: the size above which an element of the rescaled gradient is cut; None: none.
      wd: the strength of the weight decay.
      lr_mult: factors of the learning rate: a mapping from patterns of paths, or a tree; None: 1.
      wd_mult: factors of the weight decay: a mapping from patterns of paths, or a tree; None: 1.
      multi_precision: keep a float32 copy of narrow parameters in the state.

    >>> from gradxform.dialects import mxnet
    >>> tx = mxnet.adadelta(rho=0.95)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; ScaleByAdaDeltaState(e_g, e_x). Memory: 2 x params.
    Units    u has those of p, set by epsilon.
    Shapes   any, scalars and complex included.
    Source   MXNet's optimizer guide; MXNet 2, `AdaDelta`, with a rate of 1; Zeiler 2012, arXiv:1212.5701, Algorithm 1.
    Differs  MXNet 1 adds wd p to the step. lr_mult is applied to u after e_x.
    Raises   HyperparameterError: an argument out of range. MissingArgumentError: no params, with wd. LabelError: lr_mult or wd_mult.
    """
    return coupled(scale_by_adadelta(rho, epsilon), *rate(1.0, common), common=common)
