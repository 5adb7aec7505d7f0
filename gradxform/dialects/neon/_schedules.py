"""neon's schedules.

They count epochs, e = floor(k / updates_per_epoch) after k completed updates; with updates_per_epoch=1, updates.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from gradxform._errors import HyperparameterError
from gradxform._types import Array, Count, Number, Whole
from gradxform.schedules._path import capped, real
from gradxform.schedules._record import admit_part
from gradxform.schedules._record import schedule as record
from gradxform.schedules._words import NonNegative, Positive, Real


def _epochs(k: Array, updates_per_epoch: int) -> Array:
    return k // capped(updates_per_epoch)


def _milestones(owner: str, step_config: Sequence[int]) -> tuple[int, ...]:
    if not isinstance(step_config, (list, tuple)):
        raise HyperparameterError(f"{owner}: `step_config` must be a list of epochs, but got {step_config!r}.")
    epochs = tuple(admit_part(owner, f"step_config[{i}]", e, Whole) for i, e in enumerate(step_config))
    if any(a >= b for a, b in itertools.pairwise(epochs)):
        raise HyperparameterError(f"{owner}: `step_config` must be increasing, but got {step_config!r}.")
    return epochs


def _settle_schedule(step_config: Sequence[int] | None) -> Mapping[str, Any]:
    return {} if step_config is None else {"step_config": _milestones("schedule", step_config)}


@record(settle=_settle_schedule)
def schedule(
    k: Array,
    learning_rate: NonNegative,
    step_config: Sequence[int] | None = None,
    change: Positive = 1.0,
    updates_per_epoch: Count = 1,
):
    """Multiply by `change` at each of the given epochs.

        v = learning_rate change^i              i: how many of step_config are <= e

    Args:
      learning_rate: the rate from which the schedule starts.
      step_config: the epochs at which the rate changes, increasing; None: never.
      change: by what the rate is multiplied each time.
      updates_per_epoch: the updates in an epoch.

    >>> from gradxform.dialects import neon
    >>> schedule = neon.schedule(0.1, step_config=[2, 4], change=0.5)
    >>> [round(float(schedule(k)), 4) for k in (0, 2, 4)]
    [0.1, 0.05, 0.025]

    Units    those of learning_rate.
    Source   neon, `Schedule`.
    Differs  the learning rate is an argument, not the optimizer's. A whole number as step_config is `power_schedule`, a list as change
             `step_schedule`.
    Raises   HyperparameterError: an argument out of range; step_config is not an increasing list.
    """
    e = _epochs(k, updates_per_epoch)
    passed = sum(((e >= capped(m)).astype(k.dtype) for m in step_config or ()), jnp.zeros_like(k))
    return learning_rate * jnp.power(change, real(passed))


def _settle_step(step_config: Sequence[int], change: Sequence[Number]) -> Mapping[str, Any]:
    owner, epochs = "step_schedule", _milestones("step_schedule", step_config)
    if not isinstance(change, (list, tuple)) or len(change) != len(epochs):
        raise HyperparameterError(
            f"{owner}: `change` must be a list of learning rates, one for each of `step_config` = {step_config!r}, but got {change!r}."
        )
    return {"step_config": epochs, "change": tuple(admit_part(owner, f"change[{i}]", x, NonNegative) for i, x in enumerate(change))}


@record(settle=_settle_step)
def step_schedule(
    k: Array, learning_rate: NonNegative, step_config: Sequence[int], change: Sequence[Number], updates_per_epoch: Count = 1
):  # fmt: skip
    """Set the rate to given values at given epochs.

        v = change[i] for the last step_config[i] <= e, learning_rate before the first

    Args:
      learning_rate: the rate from which the schedule starts.
      step_config: the epochs at which the rate changes, increasing.
      change: the rates from then on, one for each epoch of step_config.
      updates_per_epoch: the updates in an epoch.

    >>> from gradxform.dialects import neon
    >>> schedule = neon.step_schedule(0.1, step_config=[2, 4], change=[0.05, 0.01])
    >>> [round(float(schedule(k)), 4) for k in (0, 2, 4)]
    [0.1, 0.05, 0.01]

    Units    those of learning_rate and change.
    Source   neon, `StepSchedule`.
    Differs  a rate may be changed to 0, which neon takes for no change.
    Raises   HyperparameterError: an argument out of range; step_config is not an increasing list; change is not as long.
    """
    e, v = _epochs(k, updates_per_epoch), learning_rate
    for epoch, value in zip(step_config, change, strict=True):
        v = jnp.where(e >= capped(epoch), value, v)
    return v


@record
def power_schedule(k: Array, learning_rate: NonNegative, step_config: Count, change: Positive, updates_per_epoch: Count = 1):
    """Multiply by `change` every step_config epochs.

        v = learning_rate change^floor(e / step_config)

    Args:
      learning_rate: the rate from which the schedule starts.
      step_config: the epochs between two multiplications.
      change: by what the rate is multiplied each time.
      updates_per_epoch: the updates in an epoch.

    >>> from gradxform.dialects import neon
    >>> schedule = neon.power_schedule(0.1, step_config=2, change=0.5)
    >>> [round(float(schedule(k)), 4) for k in (0, 2, 4)]
    [0.1, 0.05, 0.025]

    Units    those of learning_rate.
    Source   neon, `PowerSchedule`.
    Differs  no.
    Raises   HyperparameterError: an argument out of range.
    """
    return learning_rate * jnp.power(change, real(_epochs(k, updates_per_epoch) // capped(step_config)))


@record
def exp_schedule(k: Array, learning_rate: NonNegative, decay: NonNegative, updates_per_epoch: Count = 1):
    """Divide by a number that grows in proportion to the time: in spite of its name it is not exponential.

        v = learning_rate / (1 + decay e)

    Args:
      learning_rate: the rate from which the schedule starts.
      decay: how fast the divisor grows with the epochs.
      updates_per_epoch: the updates in an epoch.

    >>> from gradxform.dialects import neon
    >>> schedule = neon.exp_schedule(0.1, decay=1.0)
    >>> [round(float(schedule(k)), 4) for k in (0, 1, 3)]
    [0.1, 0.05, 0.025]

    Units    those of learning_rate; decay is per epoch.
    Source   neon, `ExpSchedule`.
    Differs  no.
    Raises   HyperparameterError: an argument out of range.
    """
    return learning_rate / (1 + decay * real(_epochs(k, updates_per_epoch)))


@record
def poly_schedule(k: Array, learning_rate: NonNegative, total_epochs: Count, power: NonNegative, updates_per_epoch: Count = 1):
    """Decay along a power of the time that is left.

        v = learning_rate (1 - e / total_epochs)^power          0 from total_epochs on, power=0: learning_rate

    Args:
      learning_rate: the rate from which the schedule starts.
      total_epochs: the epoch at which the decay ends.
      power: the power of the time that is left.
      updates_per_epoch: the updates in an epoch.

    >>> from gradxform.dialects import neon
    >>> schedule = neon.poly_schedule(0.1, total_epochs=10, power=2.0)
    >>> [round(float(schedule(k)), 4) for k in (0, 5, 10)]
    [0.1, 0.025, 0.0]

    Units    those of learning_rate.
    Source   neon's documentation, `PolySchedule`.
    Differs  mended: neon's code has floor(e / total_epochs) for the quotient, and so does not decay before the end.
    Raises   HyperparameterError: an argument out of range.
    """
    e = _epochs(k, updates_per_epoch)
    left = jnp.where(e < capped(total_epochs), jnp.maximum(1 - real(e) / float(total_epochs), 0), 0)
    return learning_rate * left**power


@record
def shift_schedule(k: Array, learning_rate: NonNegative, interval: Count, shift: Real = 1.0, updates_per_epoch: Count = 1):
    """Halve, `shift` times, every `interval` epochs.

        v = learning_rate 2^(-shift floor(e / interval))

    Args:
      learning_rate: the rate from which the schedule starts.
      interval: the epochs between two changes.
      shift: how many times the rate is halved each time.
      updates_per_epoch: the updates in an epoch.

    >>> from gradxform.dialects import neon
    >>> schedule = neon.shift_schedule(0.1, interval=2)
    >>> [round(float(schedule(k)), 4) for k in (0, 2, 4)]
    [0.1, 0.05, 0.025]

    Units    those of learning_rate.
    Source   neon, `ShiftSchedule`.
    Differs  shift need not be whole.
    Raises   HyperparameterError: an argument out of range.
    """
    return learning_rate * jnp.exp2(-shift * real(_epochs(k, updates_per_epoch) // capped(interval)))
