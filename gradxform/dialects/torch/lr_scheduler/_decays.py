"""Schedulers that multiply the rate by a factor, and one after another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from gradxform._errors import HyperparameterError
from gradxform._types import Array, ArrayLike, Count, Schedule, Whole
from gradxform.core._hyper import called, real_value
from gradxform.schedules import join_schedules
from gradxform.schedules._path import capped, progress, real
from gradxform.schedules._record import Record, admit_part, schedule
from gradxform.schedules._words import NonNegative, Unit


def _settle_lambda(lr_lambda: Callable[[Any], ArrayLike]) -> Mapping[str, Any]:
    if not callable(lr_lambda):
        raise HyperparameterError(
            f"LambdaLR: `lr_lambda` must be a function of the number of steps, but got {lr_lambda!r:.200}. "
            "Each group of a `partition` has a schedule of its own."
        )
    return {}


@schedule(settle=_settle_lambda)
def LambdaLR(k: Array, lr: NonNegative, lr_lambda: Callable[[Any], ArrayLike]):
    """Multiply the rate by a function of the number of steps.

        v = lr lr_lambda(k)

    Args:
      lr: the rate from which the schedule starts: the optimizer's, in whose place it stands.
      lr_lambda: a function of the number of steps.

    >>> from gradxform.dialects.torch import lr_scheduler
    >>> schedule = lr_scheduler.LambdaLR(0.1, lambda k: 0.5**k)
    >>> [round(float(schedule(k)), 4) for k in (0, 1, 2)]
    [0.1, 0.05, 0.025]

    Units    those of lr.
    Source   PyTorch 2.13, `LambdaLR`.
    Differs  under `jit` k is traced, so that lr_lambda is written with `jax.numpy`; `tabulate(lr_lambda, steps)` is one that is not.
    Raises   HyperparameterError: lr < 0, lr_lambda is no function, or cannot be traced.
    """
    return lr * real_value("LambdaLR", "lr_lambda", called("LambdaLR", "lr_lambda", lr_lambda, k))


@schedule
def StepLR(k: Array, lr: NonNegative, step_size: Count, gamma: NonNegative = 0.1):
    """Multiply the rate by gamma every step_size steps.

        v = lr gamma^floor(k / step_size)

    Args:
      lr: the rate from which the schedule starts: the optimizer's, in whose place it stands.
      step_size: the steps between two multiplications.
      gamma: by what the rate is multiplied each time.

    >>> from gradxform.dialects.torch import lr_scheduler
    >>> schedule = lr_scheduler.StepLR(0.1, step_size=30)
    >>> [round(float(schedule(k)), 4) for k in (0, 30, 60)]
    [0.1, 0.01, 0.001]

    Units    those of lr.
    Source   PyTorch 2.13, `StepLR`.
    Differs  no.
    Raises   HyperparameterError: an argument out of range.
    """
    return lr * jnp.power(gamma, real(k // capped(step_size)))


def _settle_milestones(milestones: Sequence[int]) -> Mapping[str, Any]:
    if not isinstance(milestones, (list, tuple)):
        raise HyperparameterError(f"MultiStepLR: `milestones` must be a list of numbers of steps, but got {milestones!r:.200}.")
    return {"milestones": tuple(admit_part("MultiStepLR", f"milestones[{i}]", m, Whole) for i, m in enumerate(milestones))}


@schedule(settle=_settle_milestones)
def MultiStepLR(k: Array, lr: NonNegative, milestones: Sequence[int], gamma: NonNegative = 0.1):
    """Multiply the rate by gamma at each milestone.

        v = lr gamma^i                          i: how many of milestones are <= k

    Args:
      lr: the rate from which the schedule starts: the optimizer's, in whose place it stands.
      milestones: the steps at which the rate is multiplied, increasing.
      gamma: by what the rate is multiplied each time.

    >>> from gradxform.dialects.torch import lr_scheduler
    >>> schedule = lr_scheduler.MultiStepLR(0.1, milestones=[30, 80])
    >>> [round(float(schedule(k)), 4) for k in (0, 30, 80)]
    [0.1, 0.01, 0.001]

    Units    those of lr.
    Source   PyTorch 2.13, `MultiStepLR`.
    Differs  a milestone at 0 counts from the start.
    Raises   HyperparameterError: an argument out of range.
    """
    passed = sum(((k >= capped(m)).astype(k.dtype) for m in milestones), jnp.zeros_like(k))
    return lr * jnp.power(gamma, real(passed))


@schedule
def ExponentialLR(k: Array, lr: NonNegative, gamma: NonNegative):
    """Multiply the rate by gamma at every step.

        v = lr gamma^k

    Args:
      lr: the rate from which the schedule starts: the optimizer's, in whose place it stands.
      gamma: by what the rate is multiplied each time.

    >>> from gradxform.dialects.torch import lr_scheduler
    >>> schedule = lr_scheduler.ExponentialLR(0.1, gamma=0.5)
    >>> [round(float(schedule(k)), 4) for k in (0, 1, 2)]
    [0.1, 0.05, 0.025]

    Units    those of lr.
    Source   PyTorch 2.13, `ExponentialLR`.
    Differs  no.
    Raises   HyperparameterError: an argument < 0.
    """
    return lr * jnp.power(gamma, real(k))


@schedule
def ConstantLR(k: Array, lr: NonNegative, factor: Unit = 1 / 3, total_iters: Whole = 5):
    """Multiply the rate by a factor for some steps.

        v = lr factor                           k < total_iters; then lr

    Args:
      lr: the rate from which the schedule starts: the optimizer's, in whose place it stands.
      factor: by what the rate is multiplied until then.
      total_iters: the number of steps that it takes.

    >>> from gradxform.dialects.torch import lr_scheduler
    >>> schedule = lr_scheduler.ConstantLR(0.1, factor=0.5, total_iters=5)
    >>> [round(float(schedule(k)), 4) for k in (0, 4, 5)]
    [0.05, 0.05, 0.1]

    Units    those of lr.
    Source   PyTorch 2.13, `ConstantLR`.
    Differs  no.
    Raises   HyperparameterError: an argument out of range.
    """
    return lr * jnp.where(k < capped(total_iters), factor, 1)


@schedule
def LinearLR(k: Array, lr: NonNegative, start_factor: Unit = 1 / 3, end_factor: Unit = 1.0, total_iters: Count = 5):
    """Go from one part of the rate to another on a straight line, then stay.

        v = lr (start_factor + (end_factor - start_factor) min(k, total_iters) / total_iters)

    Args:
      lr: the rate from which the schedule starts: the optimizer's, in whose place it stands.
      start_factor: by what the rate is multiplied at first.
      end_factor: by what the rate is multiplied at the end.
      total_iters: the number of steps that it takes.

    >>> from gradxform.dialects.torch import lr_scheduler
    >>> schedule = lr_scheduler.LinearLR(0.1, start_factor=0.5, total_iters=10)
    >>> [round(float(schedule(k)), 4) for k in (0, 5, 10)]
    [0.05, 0.075, 0.1]

    Units    those of lr.
    Source   PyTorch 2.13, `LinearLR`.
    Differs  start_factor may be 0.
    Raises   HyperparameterError: an argument out of range.
    """
    return lr * (start_factor + (end_factor - start_factor) * progress(k, total_iters))


@schedule
def PolynomialLR(k: Array, lr: NonNegative, total_iters: Count = 5, power: NonNegative = 1.0):
    """Decay along a power to 0 at total_iters, then stay.

        v = lr (1 - min(k, total_iters) / total_iters)^power

    Args:
      lr: the rate from which the schedule starts: the optimizer's, in whose place it stands.
      total_iters: the number of steps that it takes.
      power: the power of the time that is left.

    >>> from gradxform.dialects.torch import lr_scheduler
    >>> schedule = lr_scheduler.PolynomialLR(0.1, total_iters=10)
    >>> [round(float(schedule(k)), 4) for k in (0, 5, 10)]
    [0.1, 0.05, 0.0]

    Units    those of lr.
    Source   PyTorch 2.13, `PolynomialLR`.
    Differs  no.
    Raises   HyperparameterError: an argument out of range.
    """
    return lr * (1 - progress(k, total_iters)) ** power


def _settle_sequence(schedulers: Sequence[Schedule], milestones: Sequence[int]) -> Mapping[str, Any]:
    joined = join_schedules(schedulers, milestones)
    assert isinstance(joined, Record)
    return {"schedulers": joined.args["schedules"], "milestones": joined.args["boundaries"]}


@schedule(settle=_settle_sequence)
def SequentialLR(k: Array, schedulers: Sequence[Schedule], milestones: Sequence[int]):
    """Run schedules one after another, each counting from its own beginning; the same as `join_schedules`.

        v = schedulers[i](k - milestones[i - 1])        for the last i with milestones[i - 1] <= k; schedulers[0](k) before all

    Args:
      schedulers: the schedules, one more than there are milestones.
      milestones: the steps at which the next schedule begins, increasing.

    >>> from gradxform.dialects.torch import lr_scheduler
    >>> schedule = lr_scheduler.SequentialLR([lambda k: 0.01, lambda k: 0.1], milestones=[5])
    >>> [round(float(schedule(k)), 4) for k in (0, 5)]
    [0.01, 0.1]

    Units    those of the schedules.
    Source   PyTorch 2.13, `SequentialLR`.
    Differs  no.
    Raises   HyperparameterError: a scheduler is not callable, or there are too many milestones or too few.
    """
    return join_schedules(schedulers, milestones)(k)
