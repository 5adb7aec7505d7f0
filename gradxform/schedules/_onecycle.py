"""One rise and one long fall."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._errors import HyperparameterError
from gradxform._types import Array, Number, Range
from gradxform.schedules._path import cosine, linear, path, real
from gradxform.schedules._record import Duration, schedule
from gradxform.schedules._words import Real

Part = Annotated[Number, Range("[0, 1]")]
"""A part of the whole."""
Finite = Annotated[Number, Duration("(0, inf)")]
Divisor = Annotated[Number, Range("(0, inf]")]


def _part(pct: Number, steps: Number) -> Number:
    """A part of a number of steps, whole."""
    return jnp.floor(pct * real(steps)) if isinstance(steps, jax.Array) else int(pct * steps)


def _one_part(name: str, **parts: object) -> None:
    for argument, x in parts.items():
        if np.ndim(x):  # type: ignore[arg-type]
            raise HyperparameterError(f"{name}: `{argument}` must be one number, a part of all steps, but got {x!r}.")


def _has_one_part(pct_start: float) -> Mapping[str, Any]:
    _one_part("cosine_onecycle_schedule", pct_start=pct_start)
    return {}


def _start_before_final(pct_start: float, pct_final: float) -> Mapping[str, Any]:
    _one_part("linear_onecycle_schedule", pct_start=pct_start, pct_final=pct_final)
    if pct_final < pct_start:
        raise HyperparameterError(
            f"linear_onecycle_schedule: `pct_final` must be at least `pct_start` = {pct_start}, but got {pct_final}: "
            "both are parts of the whole cycle."
        )
    return {}


@schedule(settle=_start_before_final)
def linear_onecycle_schedule(
    k: Array,
    transition_steps: Finite,
    peak_value: Real,
    pct_start: Part = 0.3,
    pct_final: Part = 0.85,
    div_factor: Divisor = 25.0,
    final_div_factor: Divisor = 1e4,
):
    """Rise to a peak, return, and fall far below, in three straight lines.

        init = peak_value / div_factor
        v    = init                          at k = 0
        v    = peak_value                    at k = floor(pct_start transition_steps)
        v    = init                          at k = floor(pct_final transition_steps)
        v    = init / final_div_factor       from k = transition_steps on; straight lines in between

    Args:
      transition_steps: the number of updates in all.
      peak_value: the largest value, at the end of the rise.
      pct_start: the part of the time that the rise takes.
      pct_final: the part of the time after which the last fall begins.
      div_factor: peak_value over the first value.
      final_div_factor: the first value over the last.

    >>> schedule = gx.linear_onecycle_schedule(100, peak_value=1.0)
    >>> [round(float(schedule(k)), 3) for k in (0, 30, 85, 100)]
    [0.04, 1.0, 0.04, 0.0]

    Units    those of peak_value; the other arguments have none.
    Source   Smith & Topin 2019, arXiv:1708.07120.
    Differs  where two of these steps are one step (short cycles) the values are still these; Optax loses a factor.
    Raises   HyperparameterError: transition_steps <= 0, a part outside [0, 1], pct_final < pct_start, or a factor <= 0.
    """
    init = peak_value / div_factor
    up, down = _part(pct_start, transition_steps), _part(pct_final, transition_steps)
    rise = (linear, up, peak_value)
    fall = (linear, down - up, init)
    end = transition_steps if isinstance(down, int) else real(transition_steps)
    tail = (linear, end - down, init / final_div_factor)
    return path(k, init, rise, fall, tail)


@schedule(settle=_has_one_part)
def cosine_onecycle_schedule(
    k: Array,
    transition_steps: Finite,
    peak_value: Real,
    pct_start: Part = 0.3,
    div_factor: Divisor = 25.0,
    final_div_factor: Divisor = 1e4,
):
    """Rise to a peak and fall far below, each along half a period of a cosine.

        init = peak_value / div_factor
        v    = init                          at k = 0
        v    = peak_value                    at k = floor(pct_start transition_steps)
        v    = init / final_div_factor       from k = transition_steps on; half cosines in between

    Args:
      transition_steps: the number of updates in all.
      peak_value: the largest value, at the end of the rise.
      pct_start: the part of the time that the rise takes.
      div_factor: peak_value over the first value.
      final_div_factor: the first value over the last.

    >>> schedule = gx.cosine_onecycle_schedule(100, peak_value=1.0)
    >>> [round(float(schedule(k)), 3) for k in (0, 30, 65, 100)]
    [0.04, 1.0, 0.5, 0.0]

    Units    those of peak_value; the other arguments have none.
    Source   Smith & Topin 2019, arXiv:1708.07120; the cosine is Optax's and PyTorch's.
    Differs  pct_start = 1 ends with a fall at once; Optax loses the peak.
    Raises   HyperparameterError: transition_steps <= 0, pct_start outside [0, 1], or a factor <= 0.
    """
    init = peak_value / div_factor
    up = _part(pct_start, transition_steps)
    rise = (cosine, up, peak_value)
    fall = (cosine, _part(1, transition_steps) - up, init / final_div_factor)
    return path(k, init, rise, fall)
