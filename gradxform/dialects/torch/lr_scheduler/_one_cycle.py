"""One cycle of the rate, and the opposite one of the momentum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax.numpy as jnp

from gradxform._errors import HyperparameterError
from gradxform._types import Array, Count, Number
from gradxform.schedules._path import cosine, linear, real
from gradxform.schedules._record import schedule
from gradxform.schedules._words import NonNegative, Positive, Unit

Anneal = Literal["cos", "linear"]


def _settled(owner: str, total_steps: int | None, epochs: int | None, steps_per_epoch: int | None) -> Mapping[str, Any]:
    if total_steps is None and (epochs is None or steps_per_epoch is None):
        raise HyperparameterError(f"{owner}: give `total_steps`, or `epochs` and `steps_per_epoch`.")
    if total_steps is None:
        total_steps = epochs * steps_per_epoch  # type: ignore[operator]
    return {"total_steps": total_steps, "epochs": None, "steps_per_epoch": None}


def _settle_rate(total_steps, epochs, steps_per_epoch):
    return _settled("OneCycleLR", total_steps, epochs, steps_per_epoch)


def _settle_momentum(total_steps, epochs, steps_per_epoch):
    return _settled("OneCycleMomentum", total_steps, epochs, steps_per_epoch)


def _phases(k: Array, values: Sequence[Number], total: int | None, pct_start: Number, three_phase: bool, anneal: Anneal) -> Number:
    """From each value to the next, within the phases of the cycle; the last stays."""
    assert total is not None  # settled
    ends = [pct_start * float(total) - 1, *([2 * pct_start * float(total) - 2] if three_phase else []), total - 1]
    left, v, begin = linear if anneal == "linear" else cosine, jnp.asarray(values[0]), 0.0
    x = real(k)
    for i, end in enumerate(ends):
        length = jnp.asarray(end - begin, x.dtype)
        p = jnp.where(length > 0, jnp.clip((x - begin) / jnp.where(length > 0, length, 1), 0, 1), 1)
        phase = values[i + 1] + (values[i] - values[i + 1]) * left(p)
        v = phase if i == 0 else jnp.where(x > begin, phase, v)
        begin = end
    return v


@schedule(settle=_settle_rate)
def OneCycleLR(
    k: Array,
    max_lr: NonNegative,
    total_steps: Count | None = None,
    epochs: Count | None = None,
    steps_per_epoch: Count | None = None,
    pct_start: Unit = 0.3,
    anneal_strategy: Anneal = "cos",
    div_factor: Positive = 25.0,
    final_div_factor: Positive = 1e4,
    three_phase: bool = False,
):
    """Rise to max_lr and fall far below the first rate, once.

        initial = max_lr / div_factor
        v = initial                             at k = 0
        v = max_lr                              at k = pct_start total_steps - 1
        v = initial                             at k = 2 pct_start total_steps - 2, if three_phase
        v = initial / final_div_factor          from k = total_steps - 1 on; in between along a cosine, or straight

    Args:
      max_lr: the highest rate.
      total_steps: the length of the cycle; or epochs steps_per_epoch.
      epochs: the number of epochs, where total_steps is not given.
      steps_per_epoch: the steps in an epoch, where total_steps is not given.
      pct_start: the part of the cycle in which the rate rises.
      anneal_strategy: "cos" or "linear".
      div_factor: how many times lower than max_lr the first rate is.
      final_div_factor: how many times lower than the first rate the last one is.
      three_phase: fall to the first rate as slowly as it rose, and only then to the last.

    >>> from gradxform.dialects.torch import lr_scheduler
    >>> schedule = lr_scheduler.OneCycleLR(max_lr=0.1, total_steps=100)
    >>> [round(float(schedule(k)), 4) for k in (0, 29, 99)]
    [0.004, 0.1, 0.0]

    Units    those of max_lr.
    Source   PyTorch 2.13, `OneCycleLR`; Smith & Topin 2019, arXiv:1708.07120.
    Differs  it cycles the rate alone: `OneCycleMomentum` is what PyTorch does to the momentum, or to the first of the betas, unless
             cycle_momentum=False. After total_steps, where PyTorch raises, the last value stays.
    Raises   HyperparameterError: an argument out of range; neither total_steps nor epochs and steps_per_epoch.
    """
    initial = max_lr / div_factor
    values = [initial, max_lr, *([initial] if three_phase else []), initial / final_div_factor]
    return _phases(k, values, total_steps, pct_start, three_phase, anneal_strategy)


@schedule(settle=_settle_momentum)
def OneCycleMomentum(
    k: Array,
    total_steps: Count | None = None,
    epochs: Count | None = None,
    steps_per_epoch: Count | None = None,
    pct_start: Unit = 0.3,
    anneal_strategy: Anneal = "cos",
    base_momentum: Unit = 0.85,
    max_momentum: Unit = 0.95,
    three_phase: bool = False,
):
    """Fall to base_momentum where the rate of `OneCycleLR` rises, and rise again where it falls.

        torch.sgd(OneCycleLR(0.1, 1000), momentum=OneCycleMomentum(1000))
        torch.adamw(OneCycleLR(1e-3, 1000), betas=(OneCycleMomentum(1000), 0.999))

        v = max_momentum                        at k = 0
        v = base_momentum                       at k = pct_start total_steps - 1
        v = max_momentum                        at the end of the next phase; in between along a cosine, or straight

    Args:
      total_steps: the length of the cycle; or epochs steps_per_epoch.
      epochs: the number of epochs, where total_steps is not given.
      steps_per_epoch: the steps in an epoch, where total_steps is not given.
      pct_start: the part of the cycle in which the rate rises.
      anneal_strategy: "cos" or "linear".
      base_momentum: the lowest momentum, where the rate is highest.
      max_momentum: the highest momentum, at both ends.
      three_phase: fall to the first rate as slowly as it rose, and only then to the last.

    >>> from gradxform.dialects.torch import lr_scheduler
    >>> schedule = lr_scheduler.OneCycleMomentum(total_steps=100)
    >>> [round(float(schedule(k)), 4) for k in (0, 29, 99)]
    [0.95, 0.85, 0.95]

    Units    none.
    Source   PyTorch 2.13, `OneCycleLR(cycle_momentum=True)`.
    Differs  a schedule of its own.
    Raises   HyperparameterError: an argument out of range; neither total_steps nor epochs and steps_per_epoch.
    """
    values = [max_momentum, base_momentum, max_momentum, *([max_momentum] if three_phase else [])]
    return _phases(k, values, total_steps, pct_start, three_phase, anneal_strategy)
