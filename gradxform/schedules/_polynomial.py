"""Straight and polynomial transitions between two values."""

from __future__ import annotations

from gradxform._types import Array
from gradxform.schedules._path import held
from gradxform.schedules._record import AnySteps, schedule
from gradxform.schedules._words import Real


@schedule
def polynomial_schedule(
    k: Array, init_value: Real, end_value: Real, power: Real, transition_steps: AnySteps, transition_begin: AnySteps = 0
):
    """Move from one value to another along a polynomial, then stay.

        p = (k - transition_begin) / transition_steps, in [0, 1]
        v = end_value + (init_value - end_value) (1 - p)^power
        v = init_value                                                  transition_steps <= 0
        transition_begin < 0 is 0

    Args:
      init_value: the value at first.
      end_value: the value in the end.
      power: the degree: 1 is a straight line.
      transition_steps: the number of updates that the way takes.
      transition_begin: the number of updates before the value begins to change.

    >>> schedule = gx.polynomial_schedule(1.0, 0.0, power=2, transition_steps=10)
    >>> [float(schedule(k)) for k in (0, 5, 10)]
    [1.0, 0.25, 0.0]

    Units    those of init_value and end_value; power has none. Numbers of steps may be fractional or infinite.
    Source   Optax.
    Differs  with a fractional power Optax's compiled value may be NaN after the end. Numbers of steps may be traced.
    Raises   HyperparameterError: an argument is not a number.
    """
    p = held(k, transition_steps, transition_begin)
    return end_value + (init_value - end_value) * (1 - p) ** power


@schedule
def linear_schedule(k: Array, init_value: Real, end_value: Real, transition_steps: AnySteps, transition_begin: AnySteps = 0):
    """Move from one value to another in a straight line, then stay.

        p = (k - transition_begin) / transition_steps, in [0, 1]
        v = end_value + (init_value - end_value) (1 - p)
        v = init_value                                                  transition_steps <= 0
        transition_begin < 0 is 0

    Args:
      init_value: the value at first.
      end_value: the value in the end.
      transition_steps: the number of updates that the way takes.
      transition_begin: the number of updates before the value begins to change.

    >>> schedule = gx.linear_schedule(0.0, 1.0, transition_steps=10)
    >>> [float(schedule(k)) for k in (0, 5, 10, 20)]
    [0.0, 0.5, 1.0, 1.0]

    Units    those of init_value and end_value. Numbers of steps may be fractional or infinite.
    Source   Optax.
    Differs  numbers of steps may be traced.
    Raises   HyperparameterError: an argument is not a number.
    """
    p = held(k, transition_steps, transition_begin)
    return end_value + (init_value - end_value) * (1 - p)
