"""What PyTorch's optimizers have in common."""

from __future__ import annotations

import functools

from gradxform._types import Decay, Hyper, NonNegative
from gradxform.core import GradientTransformation, GradientTransformationExtraArgs, chain, elementwise
from gradxform.dialects._dialect import dialect
from gradxform.dialects._pieces import is_zero
from gradxform.transforms import add_decayed_weights, scale, scale_by_learning_rate


@elementwise(needs=("params",))
def shrink_by_factor(g, s, p, c, lr: NonNegative, weight_decay: NonNegative):
    """Let the parameters shrink by themselves, by one factor that is rounded to their precision.

        u = g + (p (1 - lr weight_decay) - p)

    State    EmptyState(); with a schedule ScaleByScheduleState(count). Memory: none.
    Units    lr has those of p / g, weight_decay those of g / p.
    Shapes   any.
    Source   PyTorch 2.13, the `param.mul_(1 - lr * weight_decay)` of its decoupled decays.
    Differs  from `add_decayed_weights` before the rate: in float32 the factor is off by up to 3e-8, and so is PyTorch's, every update.
    Raises   MissingArgumentError: no params. HyperparameterError: an argument < 0.
    """
    return g + (p * (1 - lr * weight_decay) - p), s


torch_optimizer = functools.partial(dialect, "torch")
Betas = tuple[Decay[Hyper], Decay[Hyper]]


def minimizer(
    *direction: GradientTransformation, lr: Hyper, weight_decay: Hyper = 0.0, maximize: bool = False, decoupled: bool = False
) -> GradientTransformationExtraArgs:
    """The order in which PyTorch does things: negate the gradient, add the coupled decay, take a direction, step.

    g = -g                          if maximize
    g = g + weight_decay p          unless decoupled
    d = direction(g)
    u = -lr d                       -lr (d + weight_decay p) if decoupled
    """
    first = [scale(-1.0)] if maximize else []
    if is_zero(weight_decay):
        return chain(*first, *direction, scale_by_learning_rate(lr))
    if decoupled:
        return chain(*first, *direction, scale_by_learning_rate(lr), shrink_by_factor(lr, weight_decay))
    return chain(*first, add_decayed_weights(weight_decay), *direction, scale_by_learning_rate(lr))
