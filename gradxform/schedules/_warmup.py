"""A rise from a small value to a peak, and what may follow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from jax.core import Tracer

from gradxform._errors import HyperparameterError
from gradxform._types import Array, Number
from gradxform.schedules._exponential import exponential_decay
from gradxform.schedules._join import join_schedules
from gradxform.schedules._path import SHAPES, cosine, linear, path
from gradxform.schedules._record import AnySteps, Length, Steps, schedule
from gradxform.schedules._words import Extended, NonNegative, Positive, Real


@schedule
def warmup_constant_schedule(k: Array, init_value: Real, peak_value: Real, warmup_steps: Steps):
    """Rise to a peak in a straight line, then stay.

        p = k / warmup_steps, in [0, 1]
        v = peak_value + (init_value - peak_value) (1 - p)

    Args:
      init_value: the value at first.
      peak_value: the largest value, at the end of the rise.
      warmup_steps: the number of updates of the rise.

    >>> schedule = gx.warmup_constant_schedule(0.0, 1.0, warmup_steps=10)
    >>> [float(schedule(k)) for k in (0, 5, 10, 20)]
    [0.0, 0.5, 1.0, 1.0]

    Units    those of init_value and peak_value.
    Source   Optax.
    Differs  warmup_steps = 0 is no warm-up and gives peak_value; Optax gives init_value for ever. warmup_steps < 0 raises.
    Raises   HyperparameterError: warmup_steps < 0.
    """
    return path(k, init_value, (linear, warmup_steps, peak_value))


@schedule
def warmup_power_schedule(k: Array, init_value: Real, peak_value: Real, warmup_steps: Steps, power: Positive):
    """Rise to a peak along a power of the time, then stay.

        p = k / warmup_steps, in [0, 1]
        v = peak_value + (init_value - peak_value) (1 - p^power)

    Args:
      init_value: the value at first.
      peak_value: the largest value, at the end of the rise.
      warmup_steps: the number of updates of the rise.
      power: the power of the time: 1 is a straight line.

    >>> schedule = gx.warmup_power_schedule(0.0, 1.0, warmup_steps=10, power=2)
    >>> [float(schedule(k)) for k in (0, 5, 10)]
    [0.0, 0.25, 1.0]

    Units    those of init_value and peak_value; power has none.
    Source   MXNet 1's LBSGD, whose warm-ups 'linear', 'power2' and 'sqrt' are the powers 1, 2 and 0.5, with init_value its
             learning rate, peak_value that times batch_scale, and warmup_steps = warmup_epochs updates_per_epoch.
    Differs  LBSGD counts from 1. `polynomial_schedule` bends the other way: (1 - p)^power instead of 1 - p^power. Optax has none.
    Raises   HyperparameterError: warmup_steps < 0 or power <= 0.
    """
    return path(k, init_value, (lambda p: 1 - p**power, warmup_steps, peak_value))


def _outlasts_the_warmup(warmup_steps: Number, decay_steps: Number) -> Mapping[str, Any]:
    known = not any(isinstance(n, Tracer) for n in (warmup_steps, decay_steps))
    if known and decay_steps <= warmup_steps:
        raise HyperparameterError(
            f"warmup_cosine_decay_schedule: `decay_steps` must be more than `warmup_steps` = {warmup_steps}, but got "
            f"{decay_steps}. It is the length of the whole schedule, the warm-up included."
        )
    return {}


@schedule(settle=_outlasts_the_warmup)
def warmup_cosine_decay_schedule(
    k: Array,
    init_value: Real,
    peak_value: Real,
    warmup_steps: Steps,
    decay_steps: Length,
    end_value: Real = 0.0,
    exponent: Real = 1.0,
):
    """Rise to a peak in a straight line, then decay along half a period of a cosine. `decay_steps` includes the warm-up.

        p = k / warmup_steps
        v = peak_value + (init_value - peak_value) (1 - p)                                      p < 1
        q = (k - warmup_steps) / (decay_steps - warmup_steps), at most 1
        v = end_value + (peak_value - end_value) ((1 + cos(pi q)) / 2)^exponent                 p >= 1

    Args:
      init_value: the value at first.
      peak_value: the largest value, at the end of the rise.
      warmup_steps: the number of updates of the rise.
      decay_steps: the number of updates in all, the warm-up included.
      end_value: the value in the end.
      exponent: the power of the cosine.

    >>> schedule = gx.warmup_cosine_decay_schedule(0.0, 1.0, warmup_steps=10, decay_steps=110)
    >>> [round(float(schedule(k)), 3) for k in (0, 10, 60, 110)]
    [0.0, 1.0, 0.5, 0.0]

    Units    those of init_value, peak_value and end_value; exponent has none.
    Source   Loshchilov & Hutter 2017, arXiv:1608.03983, with Optax's warm-up.
    Differs  with peak_value = 0 it still ends at end_value, where Optax stays at 0; peak_value and numbers of steps may be traced.
    Raises   HyperparameterError: warmup_steps < 0, decay_steps <= warmup_steps.
    """
    rise = (linear, warmup_steps, peak_value)
    fall = (lambda q: cosine(q) ** exponent, decay_steps - warmup_steps, end_value)
    return path(k, init_value, rise, fall)


@schedule
def warmup_exponential_decay_schedule(
    k: Array,
    init_value: Real,
    peak_value: Real,
    warmup_steps: Steps,
    transition_steps: AnySteps,
    decay_rate: NonNegative,
    transition_begin: AnySteps = 0,
    staircase: bool = False,
    end_value: Extended | None = None,
):
    """Rise to a peak in a straight line, then decay exponentially.

        rise = warmup_constant_schedule(init_value, peak_value, warmup_steps)
        fall = exponential_decay(peak_value, transition_steps, decay_rate, transition_begin, staircase, end_value)
        v    = rise(k) if k < warmup_steps, else fall(k - warmup_steps)

    Args:
      init_value: the value at first.
      peak_value: the largest value, at the end of the rise.
      warmup_steps: the number of updates of the rise.
      transition_steps: the number of updates of one factor.
      decay_rate: the factor of each transition_steps steps.
      transition_begin: the number of updates before the value begins to change.
      staircase: whether the factor is applied at once, every transition_steps updates.
      end_value: the bound that the value does not cross; None: none.

    >>> schedule = gx.warmup_exponential_decay_schedule(0.0, 1.0, warmup_steps=10, transition_steps=10, decay_rate=0.5)
    >>> [float(schedule(k)) for k in (0, 10, 20)]
    [0.0, 1.0, 0.5]

    Units    those of init_value, peak_value and end_value; decay_rate has none.
    Source   Optax.
    Differs  as `exponential_decay`.
    Raises   HyperparameterError: warmup_steps < 0 or decay_rate < 0.
    """
    rise = warmup_constant_schedule(init_value, peak_value, warmup_steps)
    fall = exponential_decay(peak_value, transition_steps, decay_rate, transition_begin, staircase, end_value)
    return join_schedules([rise, fall], [warmup_steps])(k)


@schedule
def wsd_schedule(
    k: Array,
    init_value: Real,
    peak_value: Real,
    warmup_steps: Steps,
    stable_steps: Steps,
    decay_steps: Steps,
    end_value: Real = 0.0,
    decay: Literal["linear", "cosine", "one_minus_sqrt"] = "linear",
):
    """Warm up, stay stable, decay: a trapezoid. Each of the three numbers of steps is that of its own part.

        v = peak_value + (init_value - peak_value) (1 - p)      p: progress through the first warmup_steps
        v = peak_value                                          for stable_steps
        v = end_value + (peak_value - end_value) shape(q)       q: progress through the last decay_steps, 1 after them
        shape(q) = 1 - q, (1 + cos(pi q)) / 2, or 1 - sqrt(q)

    Args:
      init_value: the value at first.
      peak_value: the largest value, at the end of the rise.
      warmup_steps: the number of updates of the rise.
      stable_steps: the number of updates at peak_value.
      decay_steps: the number of updates of the decay.
      end_value: the value in the end.
      decay: the shape of the last part: "linear", "cosine" or "one_minus_sqrt".

    >>> schedule = gx.wsd_schedule(0.0, 1.0, warmup_steps=10, stable_steps=80, decay_steps=10)
    >>> [float(schedule(k)) for k in (0, 10, 90, 95, 100)]
    [0.0, 1.0, 1.0, 0.5, 0.0]

    Units    those of init_value, peak_value and end_value.
    Source   Hu et al. 2024 (MiniCPM), arXiv:2404.06395; the shapes of the decay from Hägele et al. 2024, arXiv:2405.18392.
    Differs  MiniCPM decays exponentially: `join_schedules` with `exponential_decay`. Optax has none.
    Raises   HyperparameterError: warmup_steps < 0, stable_steps < 0, decay_steps < 0, or decay is unknown.
    """
    rise = (linear, warmup_steps, peak_value)
    stay = (linear, stable_steps, peak_value)
    fall = (SHAPES[decay], decay_steps, end_value)
    return path(k, init_value, rise, stay, fall)
