"""What PyTorch's optimizers have in common."""

from __future__ import annotations

import functools
from typing import Any

from gradxform.core import GradientTransformationExtraArgs, chain
from gradxform.dialects._dialect import dialect
from gradxform.dialects._pieces import is_zero
from gradxform.transforms import add_decayed_weights, scale, scale_by_learning_rate

torch_optimizer = functools.partial(dialect, "torch")


def minimizer(
    *direction: Any, lr: Any, weight_decay: Any = 0.0, maximize: bool = False, decoupled: bool = False
) -> GradientTransformationExtraArgs:
    """The order in which PyTorch does things: negate the gradient, add the coupled decay, take a direction, step.

    g = -g                          if maximize
    g = g + weight_decay p          unless decoupled
    d = direction(g)
    u = -lr d                       -lr (d + weight_decay p) if decoupled
    """
    decay = [] if is_zero(weight_decay) else [add_decayed_weights(weight_decay)]
    before, after = ([], decay) if decoupled else (decay, [])
    return chain(*([scale(-1.0)] if maximize else []), *before, *direction, *after, scale_by_learning_rate(lr))
