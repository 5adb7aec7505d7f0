"""Schedules one after another."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from gradxform._errors import HyperparameterError
from gradxform._numerics import INT32_MAX
from gradxform._types import Array, Schedule
from gradxform.schedules._path import capped
from gradxform.schedules._record import admit_count, schedule


def _in_order(schedules: Sequence[Schedule], boundaries: Sequence[int]) -> Mapping[str, Any]:
    name, schedules = "join_schedules", tuple(schedules)
    boundaries = tuple(admit_count(name, f"boundaries[{i}]", b) for i, b in enumerate(boundaries))
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
    if any(b >= later for b, later in itertools.pairwise(boundaries)):
        raise HyperparameterError(f"{name}: `boundaries` must increase, but got {boundaries}.")
    return {"schedules": schedules, "boundaries": boundaries}


@schedule(settle=_in_order)
def join_schedules(k: Array, schedules: Sequence[Schedule], boundaries: Sequence[int]):
    """Run schedules one after another, each counting from its own beginning.

        v = schedules[i](k - boundaries[i - 1])         boundaries[i - 1] <= k < boundaries[i]

    Units    those of the schedules, which must agree.
    Source   Optax.
    Differs  boundaries that do not increase, or are not one fewer than the schedules, raise. No schedule is asked for a count
             before its beginning or after its end, where it might be infinite and make the gradient of the whole NaN.
    Raises   HyperparameterError: a schedule is not callable, a boundary is not a whole number, their number or order is wrong.
    """
    begins = [0, *map(capped, boundaries)]
    ends = [*begins[1:], INT32_MAX]
    turns = [f(jnp.clip(k, begin, end) - begin) for f, begin, end in zip(schedules, begins, ends, strict=True)]
    value = turns[0]
    for begin, turn in zip(begins[1:], turns[1:], strict=True):
        value = jnp.where(k < begin, value, turn)
    return value
