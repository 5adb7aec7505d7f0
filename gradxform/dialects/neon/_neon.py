"""What neon's optimizers have in common: clipping, and how parameters are rounded."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from gradxform._errors import HyperparameterError
from gradxform._types import Array, Hyper, Number
from gradxform.core import GradientTransformation, GradientTransformationExtraArgs, chain
from gradxform.core._hyper import is_schedule
from gradxform.dialects._dialect import dialect
from gradxform.dialects._pieces import box, is_zero
from gradxform.dialects.neon._clip_norm import clip_step_by_gradient_norm
from gradxform.dialects.neon._rounding import round_stochastically
from gradxform.transforms import clip

CONSTANTS = ("gradient_clip_norm", "param_clip_value")


def check_constants(owner: str, arguments: Mapping[str, Any]) -> None:
    for name in CONSTANTS:
        if is_schedule(arguments.get(name)):
            raise HyperparameterError(f"{owner}: `{name}` must be a number or None, but got the schedule {arguments[name]!r}.")


neon_optimizer = functools.partial(dialect, "neon", check=check_constants)


def clips(gradient_clip_value: Hyper | None) -> list[GradientTransformationExtraArgs]:
    return [] if is_zero(gradient_clip_value) else [clip(gradient_clip_value)]


def finished(
    *step: GradientTransformation, param_clip_value: Number | None, stochastic_round: bool, key: Array | int
) -> GradientTransformationExtraArgs:
    """A step, the box, and the rounding of the parameters."""
    tx = chain(*step, *box(param_clip_value))
    return round_stochastically(tx, key) if stochastic_round else tx


def optimizer(
    *step: GradientTransformation,
    gradient_clip_value: Hyper | None,
    gradient_clip_norm: Number | None,
    param_clip_value: Number | None,
    stochastic_round: bool,
    key: Array | int,
) -> GradientTransformationExtraArgs:
    """The order in which neon does things outside of momentum.

    k = gradient_clip_norm / max(||g||, gradient_clip_norm)
    g = clip(g, -gradient_clip_value, gradient_clip_value)
    u = k step(g)
    """
    tx = chain(*clips(gradient_clip_value), *step)
    if not is_zero(gradient_clip_norm):
        tx = clip_step_by_gradient_norm(tx, gradient_clip_norm)
    return finished(tx, param_clip_value=param_clip_value, stochastic_round=stochastic_round, key=key)
