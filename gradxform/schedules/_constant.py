"""The schedule that does not change."""

from __future__ import annotations

from gradxform._types import Array
from gradxform.schedules._record import schedule
from gradxform.schedules._words import Real


@schedule
def constant_schedule(k: Array, value: Real):
    """Hold one value.

        v = value

    Args:
      value: the value.

    >>> gx.constant_schedule(0.1)(5)
    Array(0.1, dtype=float32)

    Units    those of value.
    Source   Optax.
    Differs  the result is a float array, and has the axes of k before those of `value`, not `value` as it was passed.
    Raises   HyperparameterError: value is not a number or an array of numbers.
    """
    return value
