"""MXNet's learning rate schedulers.

MXNet calls them with the number n of the update that is being made, which is k + 1 after k completed updates.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax.numpy as jnp

from gradxform._errors import HyperparameterError
from gradxform._types import Array, Count, Number, Whole
from gradxform.core._hyper import is_number
from gradxform.schedules._path import capped, cosine, real
from gradxform.schedules._record import admit_part, schedule
from gradxform.schedules._words import NonNegative, Unit

Mode = Literal["linear", "constant"]


def _warm(k: Array, value: Number, base_lr: Number, steps: int, begin: Number, mode: str) -> Number:
    """`value`, and before it the warm-up: for n < steps a line from `begin` to base_lr, or `begin` itself."""
    if not steps:
        return value
    n = k - (capped(steps) - 1)  # of the updates after the warm-up, negative before
    rise = begin if mode == "constant" else begin + (base_lr - begin) * (real(n + steps) / float(steps))
    return jnp.where(n < 0, rise, value)


def _progress(k: Array, max_update: int, warmup_steps: int) -> Array:
    """(n - warmup_steps) / (max_update - warmup_steps) in [0, 1], exactly 1 from the end on."""
    n = jnp.maximum(k - capped(warmup_steps) + 1, 0)
    steps = max_update - warmup_steps
    return jnp.where(n < steps, jnp.minimum(real(n) / float(steps), 1), 1)


def _ordered(owner: str, base_lr: Number, warmup_begin_lr: Number) -> None:
    if is_number(base_lr) and is_number(warmup_begin_lr) and warmup_begin_lr > base_lr:
        raise HyperparameterError(
            f"{owner}: `warmup_begin_lr` must not exceed `base_lr` = {base_lr!r}, but got {warmup_begin_lr!r}."
        )


def _outlasts(owner: str, max_update: int, warmup_steps: int) -> None:
    if max_update <= warmup_steps:
        raise HyperparameterError(
            f"{owner}: `max_update` must be more than `warmup_steps` = {warmup_steps}, but got {max_update}. "
            "It is the length of the whole schedule, the warm-up included."
        )


def _settle_factor(base_lr: Number, warmup_begin_lr: Number) -> Mapping[str, Any]:
    _ordered("factor_scheduler", base_lr, warmup_begin_lr)
    return {}


@schedule(settle=_settle_factor)
def factor_scheduler(
    k: Array,
    step: Count,
    factor: Unit = 1.0,
    stop_factor_lr: NonNegative = 1e-8,
    base_lr: NonNegative = 0.01,
    warmup_steps: Whole = 0,
    warmup_begin_lr: NonNegative = 0.0,
    warmup_mode: Mode = "linear",
):
    """Multiply by a factor every `step` updates, down to stop_factor_lr.

        n = k + 1
        i = floor((n - 1) / step)
        v = max(base_lr factor^i, stop_factor_lr)       base_lr if i = 0
        v = warmup_begin_lr + (base_lr - warmup_begin_lr) n / warmup_steps              n < warmup_steps; "constant": warmup_begin_lr

    Args:
      step: the updates between two multiplications.
      factor: by what the rate is multiplied each time.
      stop_factor_lr: the lowest rate.
      base_lr: the rate from which the decay starts.
      warmup_steps: the number of steps of the warm-up.
      warmup_begin_lr: the rate at which the warm-up begins.
      warmup_mode: whether the warm-up is "linear" or "constant".

    >>> from gradxform.dialects import mxnet
    >>> schedule = mxnet.factor_scheduler(step=10, factor=0.5, base_lr=0.1)
    >>> [round(float(schedule(k)), 4) for k in (0, 10, 20)]
    [0.1, 0.05, 0.025]

    Units    those of base_lr.
    Source   MXNet 2, `FactorScheduler`.
    Differs  a factor below 0 raises.
    Raises   HyperparameterError: an argument out of range, warmup_begin_lr > base_lr, an unknown warmup_mode.
    """
    i = k // capped(step)
    v = jnp.where(i > 0, jnp.maximum(base_lr * jnp.power(factor, real(i)), stop_factor_lr), base_lr)
    return _warm(k, v, base_lr, warmup_steps, warmup_begin_lr, warmup_mode)


def _settle_multi(step: Sequence[int], base_lr: Number, warmup_begin_lr: Number) -> Mapping[str, Any]:
    owner = "multi_factor_scheduler"
    _ordered(owner, base_lr, warmup_begin_lr)
    if not isinstance(step, (list, tuple)) or not step:
        raise HyperparameterError(f"{owner}: `step` must be a list of increasing numbers of updates, but got {step!r}.")
    steps = tuple(admit_part(owner, f"step[{i}]", s, Whole) for i, s in enumerate(step))
    if steps[0] < 1 or any(a >= b for a, b in itertools.pairwise(steps)):
        raise HyperparameterError(f"{owner}: `step` must be increasing and begin with 1 or more, but got {step!r}.")
    return {"step": steps}


@schedule(settle=_settle_multi)
def multi_factor_scheduler(
    k: Array,
    step: Sequence[int],
    factor: Unit = 1.0,
    base_lr: NonNegative = 0.01,
    warmup_steps: Whole = 0,
    warmup_begin_lr: NonNegative = 0.0,
    warmup_mode: Mode = "linear",
):
    """Multiply by a factor after each of the given numbers of updates.

        n = k + 1
        i = how many of `step` are < n
        v = base_lr factor^i
        v = warmup_begin_lr + (base_lr - warmup_begin_lr) n / warmup_steps              n < warmup_steps; "constant": warmup_begin_lr

    Args:
      step: the numbers of updates after which the rate is multiplied, increasing.
      factor: by what the rate is multiplied each time.
      base_lr: the rate from which the decay starts.
      warmup_steps: the number of steps of the warm-up.
      warmup_begin_lr: the rate at which the warm-up begins.
      warmup_mode: whether the warm-up is "linear" or "constant".

    >>> from gradxform.dialects import mxnet
    >>> schedule = mxnet.multi_factor_scheduler(step=[10, 20], factor=0.1, base_lr=0.1)
    >>> [round(float(schedule(k)), 4) for k in (0, 10, 20)]
    [0.1, 0.01, 0.001]

    Units    those of base_lr.
    Source   MXNet 2, `MultiFactorScheduler`.
    Differs  a factor below 0 raises.
    Raises   HyperparameterError: an argument out of range, `step` not increasing, warmup_begin_lr > base_lr, an unknown warmup_mode.
    """
    v = base_lr * jnp.power(factor, real(sum((k >= capped(s)).astype(k.dtype) for s in step)))
    return _warm(k, v, base_lr, warmup_steps, warmup_begin_lr, warmup_mode)


def _settle_poly(max_update: int, base_lr: Number, warmup_steps: int, warmup_begin_lr: Number) -> Mapping[str, Any]:
    _ordered("poly_scheduler", base_lr, warmup_begin_lr)
    _outlasts("poly_scheduler", max_update, warmup_steps)
    return {}


@schedule(settle=_settle_poly)
def poly_scheduler(
    k: Array,
    max_update: Count,
    base_lr: NonNegative = 0.01,
    pwr: NonNegative = 2.0,
    final_lr: NonNegative = 0.0,
    warmup_steps: Whole = 0,
    warmup_begin_lr: NonNegative = 0.0,
    warmup_mode: Mode = "linear",
):
    """Decay along a power to final_lr at the update max_update, then stay.

        n = k + 1
        q = (n - warmup_steps) / (max_update - warmup_steps), at most 1
        v = final_lr + (base_lr - final_lr) (1 - q)^pwr
        v = warmup_begin_lr + (base_lr - warmup_begin_lr) n / warmup_steps              n < warmup_steps; "constant": warmup_begin_lr

    Args:
      max_update: the update at which the decay ends.
      base_lr: the rate from which the decay starts.
      pwr: the power of the time that is left.
      final_lr: the rate at which it ends.
      warmup_steps: the number of steps of the warm-up.
      warmup_begin_lr: the rate at which the warm-up begins.
      warmup_mode: whether the warm-up is "linear" or "constant".

    >>> from gradxform.dialects import mxnet
    >>> schedule = mxnet.poly_scheduler(max_update=100, base_lr=0.1, pwr=1.0)
    >>> [round(float(schedule(k)), 4) for k in (0, 49, 99)]
    [0.099, 0.05, 0.0]

    Units    those of base_lr.
    Source   MXNet 2, `PolyScheduler`.
    Differs  pwr need not be whole.
    Raises   HyperparameterError: an argument out of range, max_update <= warmup_steps, warmup_begin_lr > base_lr, an unknown warmup_mode.
    """
    v = final_lr + (base_lr - final_lr) * (1 - _progress(k, max_update, warmup_steps)) ** pwr
    return _warm(k, v, base_lr, warmup_steps, warmup_begin_lr, warmup_mode)


def _settle_cosine(max_update: int, base_lr: Number, warmup_steps: int, warmup_begin_lr: Number) -> Mapping[str, Any]:
    _ordered("cosine_scheduler", base_lr, warmup_begin_lr)
    _outlasts("cosine_scheduler", max_update, warmup_steps)
    return {}


@schedule(settle=_settle_cosine)
def cosine_scheduler(
    k: Array,
    max_update: Count,
    base_lr: NonNegative = 0.01,
    final_lr: NonNegative = 0.0,
    warmup_steps: Whole = 0,
    warmup_begin_lr: NonNegative = 0.0,
    warmup_mode: Mode = "linear",
):
    """Decay along half a period of a cosine to final_lr at the update max_update, then stay.

        n = k + 1
        q = (n - warmup_steps) / (max_update - warmup_steps), at most 1
        v = final_lr + (base_lr - final_lr) (1 + cos(pi q)) / 2
        v = warmup_begin_lr + (base_lr - warmup_begin_lr) n / warmup_steps              n < warmup_steps; "constant": warmup_begin_lr

    Args:
      max_update: the update at which the decay ends.
      base_lr: the rate from which the decay starts.
      final_lr: the rate at which it ends.
      warmup_steps: the number of steps of the warm-up.
      warmup_begin_lr: the rate at which the warm-up begins.
      warmup_mode: whether the warm-up is "linear" or "constant".

    >>> from gradxform.dialects import mxnet
    >>> schedule = mxnet.cosine_scheduler(max_update=100, base_lr=0.1)
    >>> [round(float(schedule(k)), 4) for k in (0, 49, 99)]
    [0.1, 0.05, 0.0]

    Units    those of base_lr.
    Source   MXNet 2, `CosineScheduler`.
    Differs  no.
    Raises   HyperparameterError: an argument out of range, max_update <= warmup_steps, warmup_begin_lr > base_lr, an unknown warmup_mode.
    """
    v = final_lr + (base_lr - final_lr) * cosine(_progress(k, max_update, warmup_steps))
    return _warm(k, v, base_lr, warmup_steps, warmup_begin_lr, warmup_mode)
