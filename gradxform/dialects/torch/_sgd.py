"""`torch.optim.SGD`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import jax.numpy as jnp

from gradxform._errors import HyperparameterError
from gradxform._types import Clock, Field, Hyper, NonNegative, Real, Unit, Updates
from gradxform.core import elementwise
from gradxform.dialects._pieces import is_zero
from gradxform.dialects.torch._torch import minimizer, torch_optimizer
from gradxform.transforms import trace


class DampenedTraceState(NamedTuple):
    """The decaying sum of past gradients, the first at full size."""

    count: Clock
    trace: Annotated[Updates, Field(mean="decay")]


@elementwise(DampenedTraceState)
def dampened_trace(g, s, p, c, decay: Unit, dampening: Real = 0.0):
    """Accumulate a decaying sum of the updates, all but the first made smaller.

        trace = decay trace + (1 - dampening) g         trace = g at the first update
        u     = trace

    State    count; trace: like p, float32 or wider. Memory: 1 x params.
    Units    those of g.
    Shapes   any, scalars and complex included.
    Source   PyTorch 2.13, `torch.optim.SGD`.
    Differs  no.
    Raises   HyperparameterError: decay outside [0, 1].
    """
    trace = jnp.where(c.t == 1, g, decay * s.trace + (1 - dampening) * g)
    return trace, s._replace(trace=trace)


def _check(owner: str, arguments: Mapping[str, Any]) -> None:
    if arguments["nesterov"] and (is_zero(arguments["momentum"]) or not is_zero(arguments["dampening"])):
        raise HyperparameterError(
            f"{owner}: `nesterov` needs `momentum` > 0 and `dampening` = 0, but got momentum={arguments['momentum']!r}, "
            f"dampening={arguments['dampening']!r}."
        )


@torch_optimizer(core="sgd", example={"lr": 0.1, "momentum": 0.9}, check=_check)
def sgd(
    lr: NonNegative[Hyper] = 1e-3,
    momentum: Unit[Hyper] = 0.0,
    dampening: Real[Hyper] = 0.0,
    weight_decay: NonNegative[Hyper] = 0.0,
    nesterov: bool = False,
    *,
    maximize: bool = False,
):
    """`torch.optim.SGD`: momentum with the rate outside, coupled decay.

        g = g + weight_decay p                          -g + weight_decay p if maximize
        m = momentum m + (1 - dampening) g              m = g at the first update
        u = -lr m                                       nesterov: -lr (g + momentum m)

    Args:
      lr: the learning rate, or a schedule: a function of the number of completed updates.
      momentum: how much of the velocity stays at each update.
      dampening: the part of the gradient that does not enter the velocity.
      weight_decay: the part of the parameters that is added to the gradient.
      nesterov: look ahead by one step of the momentum.
      maximize: climb.

    >>> from gradxform.dialects import torch
    >>> tx = torch.sgd(lr=0.1, momentum=0.9, nesterov=True)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; TraceState(trace), or with dampening DampenedTraceState(count, trace). Memory: 1 x params with momentum.
    Units    lr has those of p / g.
    Shapes   any, scalars and complex included.
    Source   PyTorch 2.13, `torch.optim.SGD`.
    Differs  momentum is at most 1.
    Raises   HyperparameterError: an argument out of range; nesterov without momentum or with dampening.
    """
    if is_zero(momentum):
        direction = []
    elif is_zero(dampening):
        direction = [trace(momentum, nesterov)]
    else:
        direction = [dampened_trace(momentum, dampening)]
    return minimizer(*direction, lr=lr, weight_decay=weight_decay, maximize=maximize)
