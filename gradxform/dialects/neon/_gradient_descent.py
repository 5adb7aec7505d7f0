"""neon's `GradientDescentMomentum`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradxform._errors import HyperparameterError
from gradxform._types import Array, Bound, Hyper, NonNegative, Number, Real, Unit
from gradxform.core import chain
from gradxform.dialects._dialect import dialect
from gradxform.dialects._pieces import is_zero
from gradxform.dialects.neon._clip_norm import clip_step_by_gradient_norm
from gradxform.dialects.neon._neon import check_constants, clips, finished
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate, trace


def _check(owner: str, arguments: Mapping[str, Any]) -> None:
    check_constants(owner, arguments)
    if arguments["nesterov"] and is_zero(arguments["momentum_coef"]):
        momentum_coef = arguments["momentum_coef"]
        raise HyperparameterError(f"{owner}: `nesterov` needs `momentum_coef` > 0, but got momentum_coef={momentum_coef!r}.")


@dialect("neon", core="sgd", example={"learning_rate": 0.1, "momentum_coef": 0.9, "wdecay": 0.01}, check=_check)
def gradient_descent_momentum(
    learning_rate: Real[Hyper],
    momentum_coef: Unit[Hyper],
    wdecay: NonNegative[Hyper] = 0.0,
    nesterov: bool = False,
    gradient_clip_value: Bound[Hyper] | None = None,
    gradient_clip_norm: Bound[Number] | None = None,
    stochastic_round: bool = False,
    *,
    param_clip_value: Bound[Number] | None = None,
    key: Array | int = 0,
):
    """neon's `GradientDescentMomentum`: momentum with the rate inside, coupled decay.

        k = gradient_clip_norm / max(||g||, gradient_clip_norm)         the norm of all leaves, before the clip by value
        d = k clip(g) + wdecay p
        v = momentum_coef v - learning_rate d
        u = v                                           nesterov: momentum_coef v - learning_rate d

    Args:
      learning_rate: the learning rate, or a schedule: a function of the number of completed updates.
      momentum_coef: how much of the velocity stays at each update.
      wdecay: the part of the parameters that is added to the gradient.
      nesterov: look ahead by one step of the momentum.
      gradient_clip_value: the size above which an element of a gradient is cut; None: none.
      gradient_clip_norm: the norm of all leaves together above which they are scaled down; None: none.
      stochastic_round: round narrow parameters up or down at random, so that small updates count on average.
      param_clip_value: the largest size that parameters may come to; None: any.
      key: a random key for stochastic_round, or a number to make one of.

    >>> from gradxform.dialects import neon
    >>> tx = neon.gradient_descent_momentum(learning_rate=0.1, momentum_coef=0.9, wdecay=1e-4)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; with momentum TraceState(trace), with stochastic_round in a RoundedState. Memory: 1 x params with momentum.
    Units    learning_rate has those of p / g.
    Shapes   any, scalars and complex included.
    Source   neon's documentation and code, `GradientDescentMomentum`.
    Differs  mended: the documentation's nesterov has the other sign of the rate, and in the code param_clip_value is lost
             where momentum_coef = 0. The documentation says that the clip by norm multiplies by gradient_clip_norm itself.
    Raises   HyperparameterError: an argument out of range; nesterov without momentum. MissingArgumentError: no params, with wdecay
             or param_clip_value or stochastic_round.
    """
    clipped = clips(gradient_clip_value)
    if not is_zero(gradient_clip_norm):
        clipped = [clip_step_by_gradient_norm(chain(*clipped), gradient_clip_norm)]
    decay = [] if is_zero(wdecay) else [add_decayed_weights(wdecay)]
    inertia = [] if is_zero(momentum_coef) else [trace(momentum_coef, nesterov)]
    return finished(
        *clipped, *decay, scale_by_learning_rate(learning_rate), *inertia,
        param_clip_value=param_clip_value, stochastic_round=stochastic_round, key=key,
    )  # fmt: skip
