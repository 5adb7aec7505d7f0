"""Transitions that fall in other ways than a polynomial. Each takes the arguments of `linear_schedule` and can replace it."""

from __future__ import annotations

from gradxform._types import Array
from gradxform.schedules._path import held, one_minus_sqrt
from gradxform.schedules._record import AnySteps, schedule
from gradxform.schedules._words import Real


@schedule
def one_minus_sqrt_schedule(
    k: Array, init_value: Real, end_value: Real, transition_steps: AnySteps, transition_begin: AnySteps = 0
):
    """Cool down quickly at first, then ever more slowly.

        p = (k - transition_begin) / transition_steps, in [0, 1]
        v = end_value + (init_value - end_value) (1 - sqrt(p))

    Args:
      init_value: the value at first.
      end_value: the value in the end.
      transition_steps: the number of updates that the way takes.
      transition_begin: the number of updates before the value begins to change.

    >>> schedule = gx.one_minus_sqrt_schedule(1.0, 0.0, transition_steps=100)
    >>> [float(schedule(k)) for k in (0, 25, 100)]
    [1.0, 0.5, 0.0]

    Units    those of init_value and end_value. The rest as of `linear_schedule`.
    Source   Hägele et al. 2024, arXiv:2405.18392, the (1-sqrt) cooldown.
    Differs  the paper cools down to 0. Optax has none.
    Raises   HyperparameterError: an argument is not a number.
    """
    p = held(k, transition_steps, transition_begin)
    return end_value + (init_value - end_value) * one_minus_sqrt(p)


@schedule
def rex_schedule(k: Array, init_value: Real, end_value: Real, transition_steps: AnySteps, transition_begin: AnySteps = 0):
    """Fall slowly at first, then ever faster: the reflected exponential.

        p = (k - transition_begin) / transition_steps, in [0, 1]
        v = end_value + (init_value - end_value) (1 - p) / (1/2 + (1 - p) / 2)

    Args:
      init_value: the value at first.
      end_value: the value in the end.
      transition_steps: the number of updates that the way takes.
      transition_begin: the number of updates before the value begins to change.

    >>> schedule = gx.rex_schedule(1.0, 0.0, transition_steps=100)
    >>> [round(float(schedule(k)), 3) for k in (0, 50, 100)]
    [1.0, 0.667, 0.0]

    Units    those of init_value and end_value. The rest as of `linear_schedule`.
    Source   Chen et al. 2021, arXiv:2107.04197.
    Differs  the paper falls to 0. Optax has none.
    Raises   HyperparameterError: an argument is not a number.
    """
    p = held(k, transition_steps, transition_begin)
    return end_value + (init_value - end_value) * (1 - p) / (1 / 2 + (1 - p) / 2)
