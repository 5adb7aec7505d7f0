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

    State    a chain's; TraceState(trace). Memory: 1 x params.
    Units    learning_rate has those of p / g.
    Shapes   any, scalars and complex included.
    Source   MXNet's optimizer guide, moved to the look-ahead point; MXNet 2, `NAG`.
    Differs  momentum is at most 1. The guide takes the gradient at p + momentum v: with a constant rate these parameters are that point.
    Raises   HyperparameterError: an argument out of range. MissingArgumentError: no params, with wd. LabelError: lr_mult or wd_mult.
    """
    return coupled(*rate(learning_rate, common), trace(momentum, nesterov=True), common=common)
