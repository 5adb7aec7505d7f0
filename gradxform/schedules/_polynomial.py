"""Straight and polynomial transitions between two values."""

from __future__ import annotations

from gradxform._types import Array, Count, NonNegative, Real
from gradxform.schedules._path import progress
from gradxform.schedules._record import Whole, schedule


@schedule
def polynomial_schedule(
    k: Array, init_value: Real, end_value: Real, power: NonNegative, transition_steps: Count, transition_begin: Whole = 0
):
    """Move from one value to another along a polynomial, then stay.

        p = (k - transition_begin) / transition_steps, in [0, 1]
        v = end_value + (init_value - end_value) (1 - p)^power

    Units    those of init_value and end_value; power has none.
    Source   Optax.
    Differs  transition_steps <= 0 and transition_begin < 0 raise; Optax holds init_value, respectively begins at 0. power < 0,
             infinite at the end, raises. With a fractional power Optax's compiled value may be NaN after the end.
    Raises   HyperparameterError: transition_steps < 1, transition_begin < 0 or power < 0.
    """
    p = progress(k, transition_steps, transition_begin)
    return end_value + (init_value - end_value) * (1 - p) ** power


@schedule
def linear_schedule(k: Array, init_value: Real, end_value: Real, transition_steps: Count, transition_begin: Whole = 0):
    """Move from one value to another in a straight line, then stay.

        p = (k - transition_begin) / transition_steps, in [0, 1]
        v = end_value + (init_value - end_value) (1 - p)

    Units    those of init_value and end_value.
    Source   Optax.
    Differs  transition_steps <= 0 and transition_begin < 0 raise; Optax holds init_value, respectively begins at 0.
    Raises   HyperparameterError: transition_steps < 1 or transition_begin < 0.
    """
    p = progress(k, transition_steps, transition_begin)
    return end_value + (init_value - end_value) * (1 - p)
