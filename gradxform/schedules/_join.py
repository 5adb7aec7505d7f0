"""Schedules one after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from gradxform._errors import HyperparameterError
from gradxform._numerics import INT32_MAX, result_dtype
from gradxform._types import Array, Number, Schedule
from gradxform.schedules._path import before, comparable, since
from gradxform.schedules._record import AnySteps, admit_part, schedule


def _in_order(schedules: Sequence[Schedule], boundaries: Sequence[Number]) -> Mapping[str, Any]:
    name, schedules = "join_schedules", tuple(schedules)
    boundaries = tuple(admit_part(name, f"boundaries[{i}]", b, AnySteps) for i, b in enumerate(boundaries))
    for i, f in enumerate(schedules):
        if not callable(f):
            raise HyperparameterError(
                f"{name}: `schedules[{i}]` must be a function of the update count, but got {f!r}. "
                "Write a number as `constant_schedule(number)`."
            )
    if not schedules or len(boundaries) != len(schedules) - 1:
        raise HyperparameterError(
            f"{name}: one boundary is needed between each schedule and the next, but got {len(schedules)} schedules "
            f"and {len(boundaries)} boundaries, {boundaries}."
        )
    return {"schedules": schedules, "boundaries": boundaries}


@schedule(settle=_in_order)
def join_schedules(k: Array, schedules: Sequence[Schedule], boundaries: Sequence[Number]):
    """Run schedules one after another, each counting from its own beginning.

        v = schedules[i](k - boundaries[i - 1])         for the last i with boundaries[i - 1] <= k; schedules[0](k) before all

    Args:
      schedules: functions of the number of updates, each counting from its own beginning.
      boundaries: the numbers of updates at which the next schedule begins, one fewer than the schedules.

    >>> schedule = gx.join_schedules([gx.linear_schedule(0.0, 1.0, 10), gx.cosine_decay_schedule(1.0, 90)], [10])
    >>> [round(float(schedule(k)), 3) for k in (0, 10, 55)]
    [0.0, 1.0, 0.5]

    Units    those of the schedules, which must agree. Boundaries may be fractional, infinite or traced.
    Source   Optax.
    Differs  boundaries that are not one fewer than the schedules raise. No schedule is asked for a count before its beginning or after
             the next one's, where it might be infinite and make the gradient of the whole NaN.
    Raises   HyperparameterError: a schedule is not callable, a boundary is not a number, or there are too many or too few.
    """
    begins = [0, *boundaries]
    turns = [f(since(_until(k, begins[i + 1 :]), begin)) for i, (f, begin) in enumerate(zip(schedules, begins, strict=True))]
    dtype = result_dtype(*turns)
    turns = [jnp.asarray(turn).astype(dtype) for turn in turns]
    value = turns[0]
    for begin, turn in zip(boundaries, turns[1:], strict=True):
        value = jnp.where(before(k, begin), value, turn)
    return value


def _until(k: Array, ends: Sequence[Number]) -> Array:
    """The count, and no more than that once the first of these is reached."""
    for end in ends:
        k, end = comparable(k, int(min(end, INT32_MAX)) if isinstance(end, float) else end)
        k = jnp.minimum(k, end)
    return k
