"""Values that are multiplied by given factors at given steps, at once or gradually."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Literal

import jax.numpy as jnp

from gradxform._errors import HyperparameterError
from gradxform._types import Array, ArrayLike
from gradxform.schedules._path import SHAPES, before, path
from gradxform.schedules._record import AnySteps, admit_part, schedule
from gradxform.schedules._words import NonNegative, Real


def _in_order(name: str, boundaries_and_scales: Mapping[Any, Any] | None) -> Mapping[str, Any]:
    argument = "boundaries_and_scales"
    if boundaries_and_scales is None:
        return {}
    if not isinstance(boundaries_and_scales, Mapping):
        raise HyperparameterError(f"{name}: `{argument}` must be a dictionary {{step: factor}}, but got {boundaries_and_scales!r}.")
    scales = {
        admit_part(name, f"a step of {argument}", b, AnySteps): admit_part(name, f"{argument}[{b!r}]", scale, NonNegative)
        for b, scale in boundaries_and_scales.items()
    }
    return {argument: dict(sorted(scales.items()))}


@schedule(settle=functools.partial(_in_order, "piecewise_constant_schedule"))
def piecewise_constant_schedule(k: Array, init_value: Real, boundaries_and_scales: Mapping[float, ArrayLike] | None = None):
    """Multiply by a factor at each given step.

        v = init_value
        v = scale v     for each b, scale of boundaries_and_scales in order of b, once k >= b

    Args:
      init_value: the value at first.
      boundaries_and_scales: a dictionary from numbers of updates to factors; None: none.

    >>> schedule = gx.piecewise_constant_schedule(1.0, {10: 0.1, 20: 0.1})
    >>> [round(float(schedule(k)), 3) for k in (0, 10, 20)]
    [1.0, 0.1, 0.01]

    Units    those of init_value; the scales have none. A step may be fractional, or infinite and never come.
    Source   Optax.
    Differs  no.
    Raises   HyperparameterError: a step is not a number, or a scale is negative.
    """
    v = init_value
    for b, scale in (boundaries_and_scales or {}).items():
        v = jnp.where(before(k, b), v, scale * v)
    return v


@schedule(settle=functools.partial(_in_order, "piecewise_interpolate_schedule"))
def piecewise_interpolate_schedule(
    k: Array,
    interpolate_type: Literal["linear", "cosine"],
    init_value: Real,
    boundaries_and_scales: Mapping[float, ArrayLike] | None = None,
):
    """Move from each value to the next, the values being multiplied by a factor at each given step.

        v_0 = init_value,  v_i = scale_i v_(i-1)                b_0 = 0 and b_i, scale_i of boundaries_and_scales in order of b
        v   = v_i + (v_(i-1) - v_i) shape(p)                    p = (k - b_(i-1)) / (b_i - b_(i-1)), in [0, 1]
        shape(p) = 1 - p, or (1 + cos(pi p)) / 2

    Args:
      interpolate_type: "linear" or "cosine".
      init_value: the value at first.
      boundaries_and_scales: a dictionary from numbers of updates to factors; None: none.

    >>> schedule = gx.piecewise_interpolate_schedule("linear", 1.0, {10: 0.5})
    >>> [float(schedule(k)) for k in (0, 5, 10)]
    [1.0, 0.75, 0.5]

    Units    those of init_value; the scales have none. A step may be fractional.
    Source   Optax.
    Differs  no.
    Raises   HyperparameterError: a step is not a number, a scale is negative, or interpolate_type is unknown.
    """
    value, begin, stretches = init_value, 0, []
    for b, scale in (boundaries_and_scales or {}).items():
        value = scale * value
        stretches.append((SHAPES[interpolate_type], b - begin, value))
        begin = b
    return path(k, init_value, *stretches)
