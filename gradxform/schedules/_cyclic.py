"""Schedules that start again."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, cast

import jax.numpy as jnp

from gradxform._errors import HyperparameterError
from gradxform._types import Array
from gradxform.schedules._join import join_schedules
from gradxform.schedules._path import comparable, real
from gradxform.schedules._record import Length, Record, schedule
from gradxform.schedules._warmup import warmup_cosine_decay_schedule
from gradxform.schedules._words import Positive, Real


def _cycle(kwargs: Mapping[str, Any]) -> Record:
    return cast(Record, warmup_cosine_decay_schedule(**kwargs))


def _as_cycles(cosine_kwargs: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    given = [dict(kwargs) for kwargs in cosine_kwargs]
    if not given:
        raise HyperparameterError("sgdr_schedule: `cosine_kwargs` must have the arguments of at least one cycle, but is empty.")
    cycles = [_cycle(kwargs) for kwargs in given]
    return {"cosine_kwargs": tuple({n: cycle.args[n] for n in kwargs} for cycle, kwargs in zip(cycles, given, strict=True))}


@schedule(settle=_as_cycles)
def sgdr_schedule(k: Array, cosine_kwargs: Iterable[Mapping[str, Any]]):
    """Decay along a cosine, with warm restarts: one cycle for each dictionary of arguments.

        v = warmup_cosine_decay_schedule(**cosine_kwargs[i])(k - begin_i)       begin_i = sum of decay_steps before cycle i

    Args:
      cosine_kwargs: for each cycle a dictionary of the arguments of `warmup_cosine_decay_schedule`.

    >>> cycle = dict(init_value=0.0, peak_value=1.0, warmup_steps=10, decay_steps=100)
    >>> schedule = gx.sgdr_schedule([cycle, cycle | {"peak_value": 0.5}])
    >>> [float(schedule(k)) for k in (10, 110)]
    [1.0, 0.5]

    Units    those of the cycles' values.
    Source   Loshchilov & Hutter 2017, arXiv:1608.03983, with Optax's warm-up.
    Differs  as `warmup_cosine_decay_schedule`.
    Raises   HyperparameterError: there is no cycle, or one's arguments do not fit.
    """
    cycles = [_cycle(kwargs) for kwargs in cosine_kwargs]
    ends = itertools.accumulate(cycle.args["decay_steps"] for cycle in cycles)
    return join_schedules(cycles, list(ends)[:-1])(k)


@schedule
def cyclic_triangular_schedule(k: Array, init_value: Real, peak_value: Real, transition_steps: Length, decay_rate: Positive = 1.0):
    """Rise and fall in straight lines, again and again.

        x = |(k mod 2 transition_steps) / transition_steps - 1|
        n = floor(k / (2 transition_steps))
        v = init_value + (peak_value - init_value) (1 - x) decay_rate^n

    Args:
      init_value: the value at first.
      peak_value: the largest value, at the end of the rise.
      transition_steps: the number of updates of a rise, and of a fall.
      decay_rate: the factor of the height from one cycle to the next.

    >>> schedule = gx.cyclic_triangular_schedule(0.0, 1.0, transition_steps=10)
    >>> [float(schedule(k)) for k in (0, 10, 15, 20)]
    [0.0, 1.0, 0.5, 0.0]

    Units    those of init_value and peak_value; decay_rate has none. transition_steps may be fractional or infinite.
    Source   Smith 2017, arXiv:1506.01186, 'triangular'; decay_rate = 0.5 is his 'triangular2'. transition_steps is his stepsize.
    Differs  Optax has none.
    Raises   HyperparameterError: transition_steps <= 0 or decay_rate <= 0.
    """
    k, cycle = comparable(k, 2 * transition_steps)
    x = jnp.abs(real(k % cycle) / real(transition_steps) - 1)
    n = k // cycle
    return init_value + (peak_value - init_value) * (1 - x) * jnp.power(decay_rate, real(n))
