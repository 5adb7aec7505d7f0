"""Keras's learning rate schedules, under the names and with the arguments of `keras.optimizers.schedules` 3.15.

    from gradxform.dialects import keras
    tx = keras.adam(keras.schedules.CosineDecay(1e-3, decay_steps=1000, warmup_target=1e-2, warmup_steps=100))

Each call is what it was. Not taken is `name`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import jax.numpy as jnp

from gradxform._errors import HyperparameterError
from gradxform._types import Array, Number, Range
from gradxform.schedules._path import before, comparable, cosine, progress, quotient, real, since
from gradxform.schedules._record import AnySteps, Length, Steps, admit_part, schedule
from gradxform.schedules._words import NonNegative, Real

Growth = Annotated[Number, Range("[1, inf)")]


def _elapsed(k: Array, decay_steps: Number, staircase: bool) -> Array:
    """k / decay_steps, whole if it is a staircase."""
    return real(quotient(k, decay_steps)) if staircase else real(k) / decay_steps


@schedule
def ExponentialDecay(k: Array, initial_learning_rate: Real, decay_steps: Length, decay_rate: NonNegative, staircase: bool = False):
    """Multiply the rate by decay_rate over every decay_steps.

        v = initial_learning_rate decay_rate^(k / decay_steps)          staircase: floor(k / decay_steps)

    Args:
      initial_learning_rate: the rate from which the schedule starts.
      decay_steps: the steps over which decay_rate counts once.
      decay_rate: by what the rate is multiplied in that time.
      staircase: count whole periods only.

    >>> from gradxform.dialects.keras import schedules
    >>> schedule = schedules.ExponentialDecay(0.1, decay_steps=10, decay_rate=0.5)
    >>> [round(float(schedule(k)), 4) for k in (0, 10, 20)]
    [0.1, 0.05, 0.025]

    Units    those of initial_learning_rate.
    Source   Keras 3.15, `ExponentialDecay`.
    Differs  no.
    Raises   HyperparameterError: decay_steps <= 0, decay_rate < 0.
    """
    return initial_learning_rate * jnp.power(decay_rate, _elapsed(k, decay_steps, staircase))


def _settle_pieces(boundaries: Sequence[float], values: Sequence[Number]) -> Mapping[str, Any]:
    owner = "PiecewiseConstantDecay"
    for name, given in (("boundaries", boundaries), ("values", values)):
        if not isinstance(given, (list, tuple)):
            raise HyperparameterError(f"{owner}: `{name}` must be a list, but got {given!r:.200}.")
    if len(boundaries) != len(values) - 1:
        raise HyperparameterError(
            f"{owner}: one boundary is needed between each value and the next, but got {len(values)} values and {len(boundaries)} "
            "boundaries."
        )
    return {
        "boundaries": tuple(admit_part(owner, f"boundaries[{i}]", b, AnySteps) for i, b in enumerate(boundaries)),
        "values": tuple(admit_part(owner, f"values[{i}]", v, Real) for i, v in enumerate(values)),
    }


@schedule(settle=_settle_pieces)
def PiecewiseConstantDecay(k: Array, boundaries: Sequence[float], values: Sequence[Number]):
    """One value after another; a boundary is the last step of the value before it.

        v = values[i]                           i: how many of boundaries are < k

    Args:
      boundaries: the last step of each value but the last, increasing.
      values: the rates, one more than there are boundaries.

    >>> from gradxform.dialects.keras import schedules
    >>> schedule = schedules.PiecewiseConstantDecay([10, 20], [0.1, 0.05, 0.01])
    >>> [round(float(schedule(k)), 4) for k in (0, 11, 21)]
    [0.1, 0.05, 0.01]

    Units    those of values.
    Source   Keras 3.15, `PiecewiseConstantDecay`.
    Differs  from `piecewise_constant_schedule`, where the next value begins at the boundary.
    Raises   HyperparameterError: the boundaries are not one fewer than the values, or something is no number.
    """
    v = jnp.asarray(values[0])
    for boundary, value in zip(boundaries, values[1:], strict=True):
        at, end = comparable(k, boundary)
        v = jnp.where(at > end, value, v)
    return v


@schedule
def PolynomialDecay(
    k: Array, initial_learning_rate: Real, decay_steps: Length, end_learning_rate: Real = 0.0001, power: NonNegative = 1.0,
    cycle: bool = False,
):  # fmt: skip
    """Decay along a power to end_learning_rate, then stay; or rise and decay again over longer and longer stretches.

        p = min(k, decay_steps) / decay_steps           cycle: k / (decay_steps ceil(k / decay_steps)), 0 at k = 0
        v = end_learning_rate + (initial_learning_rate - end_learning_rate) (1 - p)^power

    Args:
      initial_learning_rate: the rate from which the schedule starts.
      decay_steps: the number of steps that the decay takes.
      end_learning_rate: the lowest rate.
      power: the power of the time that is left.
      cycle: rise again after decay_steps, and fall over twice, three times that many.

    >>> from gradxform.dialects.keras import schedules
    >>> schedule = schedules.PolynomialDecay(0.1, decay_steps=10, end_learning_rate=0.0)
    >>> [round(float(schedule(k)), 4) for k in (0, 5, 10)]
    [0.1, 0.05, 0.0]

    Units    those of initial_learning_rate.
    Source   Keras 3.15, `PolynomialDecay`.
    Differs  no.
    Raises   HyperparameterError: decay_steps <= 0, power < 0.
    """
    if cycle:
        times = jnp.maximum(-quotient(-k, decay_steps), 1)
        p = real(k) / (decay_steps * real(times))
    else:
        p = progress(k, decay_steps)
    return end_learning_rate + (initial_learning_rate - end_learning_rate) * (1 - p) ** power


@schedule
def InverseTimeDecay(k: Array, initial_learning_rate: Real, decay_steps: Length, decay_rate: NonNegative, staircase: bool = False):
    """Divide by a number that grows in proportion to the time.

        v = initial_learning_rate / (1 + decay_rate k / decay_steps)            staircase: floor(k / decay_steps)

    Args:
      initial_learning_rate: the rate from which the schedule starts.
      decay_steps: the steps over which decay_rate counts once.
      decay_rate: how fast the divisor grows.
      staircase: count whole periods only.

    >>> from gradxform.dialects.keras import schedules
    >>> schedule = schedules.InverseTimeDecay(0.1, decay_steps=10, decay_rate=1.0)
    >>> [round(float(schedule(k)), 4) for k in (0, 10, 30)]
    [0.1, 0.05, 0.025]

    Units    those of initial_learning_rate.
    Source   Keras 3.15, `InverseTimeDecay`.
    Differs  no.
    Raises   HyperparameterError: decay_steps <= 0, decay_rate < 0.
    """
    return initial_learning_rate / (1 + decay_rate * _elapsed(k, decay_steps, staircase))


@schedule
def CosineDecay(
    k: Array, initial_learning_rate: Real, decay_steps: Length, alpha: Real = 0.0, *, warmup_target: Real | None = None,
    warmup_steps: Steps = 0,
):  # fmt: skip
    """Decay along half a period of a cosine, after a warm-up if there is one, then stay.

        v = initial_learning_rate + (warmup_target - initial_learning_rate) k / warmup_steps            k < warmup_steps
        v = peak (alpha + (1 - alpha) (1 + cos(pi p)) / 2)              p = (k - warmup_steps) / decay_steps in [0, 1]

    peak is warmup_target; without one it is initial_learning_rate, and there is no warm-up, whatever warmup_steps.

    Args:
      initial_learning_rate: the rate from which the schedule starts.
      decay_steps: the number of steps that the decay takes.
      alpha: the lowest rate, as a part of the highest.
      warmup_target: the rate at the end of the warm-up; None: there is no warm-up.
      warmup_steps: the number of steps of the warm-up.

    >>> from gradxform.dialects.keras import schedules
    >>> schedule = schedules.CosineDecay(0.0, decay_steps=100, warmup_target=0.1, warmup_steps=10)
    >>> [round(float(schedule(k)), 4) for k in (0, 10, 110)]
    [0.0, 0.1, 0.0]

    Units    those of initial_learning_rate.
    Source   Keras 3.15, `CosineDecay`.
    Differs  warmup_target and warmup_steps are given by name.
    Raises   HyperparameterError: decay_steps <= 0, warmup_steps < 0.
    """
    begin, peak = (0, initial_learning_rate) if warmup_target is None else (warmup_steps, warmup_target)
    v = peak * (alpha + (1 - alpha) * cosine(progress(k, decay_steps, begin)))
    if warmup_target is None:
        return v
    rise = initial_learning_rate + (warmup_target - initial_learning_rate) * progress(k, warmup_steps)
    return jnp.where(before(k, warmup_steps), rise, v)


@schedule
def CosineDecayRestarts(
    k: Array, initial_learning_rate: Real, first_decay_steps: Length, t_mul: Growth = 2.0, m_mul: NonNegative = 1.0,
    alpha: Real = 0.0,
):  # fmt: skip
    """Decay along half a period of a cosine, and begin again, in periods that grow, from values that shrink.

        i = the number of restarts before k; period i begins at first_decay_steps (t_mul^i - 1) / (t_mul - 1)
        p = the part of period i that is completed
        v = initial_learning_rate (alpha + (1 - alpha) m_mul^i (1 + cos(pi p)) / 2)

    Args:
      initial_learning_rate: the rate from which the schedule starts.
      first_decay_steps: the length of the first period.
      t_mul: by what each period is longer than the one before it.
      m_mul: by what each period begins lower than the one before it.
      alpha: the lowest rate, as a part of the highest.

    >>> from gradxform.dialects.keras import schedules
    >>> schedule = schedules.CosineDecayRestarts(0.1, first_decay_steps=10, m_mul=0.5)
    >>> [round(float(schedule(k)), 4) for k in (0, 5, 10)]
    [0.1, 0.05, 0.05]

    Units    those of initial_learning_rate.
    Source   Keras 3.15, `CosineDecayRestarts`; Loshchilov & Hutter 2017, arXiv:1608.03983.
    Differs  no.
    Raises   HyperparameterError: first_decay_steps <= 0, t_mul < 1, m_mul < 0.
    """
    x = real(since(k, 0)) / first_decay_steps
    growth = jnp.where(t_mul == 1, 2, jnp.asarray(t_mul, x.dtype))  # something that can be divided by where the periods are alike
    begin = lambda i: (growth**i - 1) / (growth - 1)
    i = jnp.floor(jnp.log1p(x * (growth - 1)) / jnp.log(growth))
    i = jnp.where(x >= begin(i + 1), i + 1, jnp.where(x < begin(i), i - 1, i))  # the logarithm is rounded
    i, p = jnp.where(t_mul == 1, jnp.floor(x), i), jnp.where(t_mul == 1, x - jnp.floor(x), (x - begin(i)) / growth**i)
    return initial_learning_rate * (alpha + (1 - alpha) * jnp.power(m_mul, i) * cosine(p))
