"""Schedulers along a cosine."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform._numerics import INT32_MAX
from gradxform._types import Array, Count
from gradxform.schedules._path import capped, cosine, real
from gradxform.schedules._record import schedule
from gradxform.schedules._words import Real


@schedule
def CosineAnnealingLR(k: Array, lr: Real, T_max: Count, eta_min: Real = 0.0):
    """Fall along a cosine to eta_min at T_max, rise again to lr at 2 T_max, and so on.

        v = eta_min + (lr - eta_min) (1 + cos(pi k / T_max)) / 2

    Args:
      lr: the rate from which the schedule starts: the optimizer's, in whose place it stands.
      T_max: the steps from lr to eta_min.
      eta_min: the lowest rate.

    >>> from gradxform.dialects.torch import lr_scheduler
    >>> schedule = lr_scheduler.CosineAnnealingLR(0.1, T_max=100)
    >>> [round(float(schedule(k)), 4) for k in (0, 50, 100)]
    [0.1, 0.05, 0.0]

    Units    those of lr.
    Source   PyTorch 2.13, `CosineAnnealingLR`; Loshchilov & Hutter 2017, arXiv:1608.03983, without the restarts.
    Differs  no.
    Raises   HyperparameterError: T_max < 1.
    """
    at = k % capped(2 * T_max)  # the cosine of a small number keeps its digits
    return eta_min + (lr - eta_min) * cosine(real(at) / float(T_max))


def _starts(first: int, times: int) -> list[tuple[int, int]]:
    """Begin and length of each period that begins within the range of a count; the lengths grow, so that they are few."""
    found, begin, length = [], 0, first
    while begin <= INT32_MAX:
        found.append((begin, length))
        begin, length = begin + length, length * times
    return found


@schedule
def CosineAnnealingWarmRestarts(k: Array, lr: Real, T_0: Count, T_mult: Count = 1, eta_min: Real = 0.0):
    """Fall along a cosine towards eta_min, and begin again with lr, in periods that may grow.

        v = eta_min + (lr - eta_min) (1 + cos(pi j / T)) / 2            j: the steps since the last restart
        T = T_0 T_mult^i                                                in the i-th period

    Args:
      lr: the rate from which the schedule starts: the optimizer's, in whose place it stands.
      T_0: the length of the first period.
      T_mult: by what each period is longer than the one before it.
      eta_min: the lowest rate.

    >>> from gradxform.dialects.torch import lr_scheduler
    >>> schedule = lr_scheduler.CosineAnnealingWarmRestarts(0.1, T_0=10, T_mult=2)
    >>> [round(float(schedule(k)), 4) for k in (0, 5, 10)]
    [0.1, 0.05, 0.1]

    Units    those of lr.
    Source   PyTorch 2.13, `CosineAnnealingWarmRestarts`; Loshchilov & Hutter 2017, arXiv:1608.03983.
    Differs  k is a whole number; PyTorch's `step(epoch)` takes fractions.
    Raises   HyperparameterError: T_0 or T_mult < 1.
    """
    if T_mult == 1:
        p = real(k % capped(T_0)) / float(T_0)
    else:
        p = jnp.zeros(k.shape)
        for begin, length in _starts(T_0, T_mult):
            p = jnp.where(k >= begin, real(k - begin) / float(length), p)
    return eta_min + (lr - eta_min) * cosine(p)
