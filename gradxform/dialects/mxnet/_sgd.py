"""MXNet's `SGD` and `NAG`."""

from __future__ import annotations

from typing import Unpack

from gradxform._types import Hyper, Real, Unit
from gradxform.dialects._pieces import is_zero
from gradxform.dialects.mxnet._mxnet import Common, coupled, mxnet_optimizer, rate
from gradxform.transforms import trace


@mxnet_optimizer(core="sgd", example={"momentum": 0.9, "wd": 0.01})
def sgd(learning_rate: Real[Hyper] = 0.1, momentum: Unit[Hyper] = 0.0, **common: Unpack[Common]):
    """MXNet's `SGD`: momentum with the rate inside, coupled decay.

        g = clip(rescale_grad g) + wd p
        v = momentum v - learning_rate g
        u = v

    Args:
      learning_rate: the learning rate, or a schedule: a function of the number of completed updates.
      momentum: how much of the velocity stays at each update.
      rescale_grad: what gradients are multiplied by first; MXNet's sum over the batch, so 1 / batch size there.
      clip_gradient: the size above which an element of the rescaled gradient is cut; None: none.
      wd: the strength of the weight decay.
      lr_mult: factors of the learning rate: a mapping from patterns of paths, or a tree; None: 1.
      wd_mult: factors of the weight decay: a mapping from patterns of paths, or a tree; None: 1.
      multi_precision: keep a float32 copy of narrow parameters in the state.

    >>> from gradxform.dialects import mxnet
    >>> tx = mxnet.sgd(learning_rate=0.1, momentum=0.9, wd=1e-4, clip_gradient=1.0)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; with momentum TraceState(trace). Memory: 1 x params with momentum.
    Units    learning_rate has those of p / g.
    Shapes   any, scalars and complex included.
    Source   MXNet's optimizer guide; MXNet 2, `SGD`.
    Differs  momentum is at most 1. MXNet's row-sparse path clips after adding wd p.
    Raises   HyperparameterError: an argument out of range. MissingArgumentError: no params, with wd. LabelError: lr_mult or wd_mult.
    """
    return coupled(*rate(learning_rate, common), *([] if is_zero(momentum) else [trace(momentum)]), common=common)


@mxnet_optimizer(core="sgd", example={"wd": 0.01})
def nag(learning_rate: Real[Hyper] = 0.1, momentum: Unit[Hyper] = 0.9, **common: Unpack[Common]):
    """MXNet's `NAG`: Nesterov's momentum with the rate inside; the parameters are the look-ahead point.

        g = clip(rescale_grad g) + wd p
        v = momentum v - learning_rate g
        u = momentum v - learning_rate g

    `eval_params(tx, state, params)` is the true iterate p - momentum v.

    Args:
      learning_rate: the learning rate, or a schedule: a function of the number of completed updates.
      momentum: how much of the velocity stays at each update.
      rescale_grad: what gradients are multiplied by first; MXNet's sum over the batch, so 1 / batch size there.
      clip_gradient: the size above which an element of the rescaled gradient is cut; None: none.
      wd: the strength of the weight decay.
      lr_mult: factors of the learning rate: a mapping from patterns of paths, or a tree; None: 1.
      wd_mult: factors of the weight decay: a mapping from patterns of paths, or a tree; None: 1.
      multi_precision: keep a float32 copy of narrow parameters in the state.

    >>> from gradxform.dialects import mxnet
    >>> tx = mxnet.nag(learning_rate=0.1, momentum=0.9)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; TraceState(trace). Memory: 1 x params.
    Units    learning_rate has those of p / g.
    Shapes   any, scalars and complex included.
    Source   MXNet's optimizer guide, moved to the look-ahead point; MXNet 2, `NAG`.
    Differs  momentum is at most 1. The guide takes the gradient at p + momentum v: with a constant rate these parameters are that point.
    Raises   HyperparameterError: an argument out of range. MissingArgumentError: no params, with wd. LabelError: lr_mult or wd_mult.
    """
    return coupled(*rate(learning_rate, common), trace(momentum, nesterov=True), common=common)
