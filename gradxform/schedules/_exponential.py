"""Exponential decay, continuous or in stairs."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform._types import Array
from gradxform.schedules._path import nonnegative, positive, quotient, real, since
from gradxform.schedules._record import AnySteps, schedule
from gradxform.schedules._words import Extended, NonNegative, Real


@schedule
def exponential_decay(
    k: Array,
    init_value: Real,
    transition_steps: AnySteps,
    decay_rate: NonNegative,
    transition_begin: AnySteps = 0,
    staircase: bool = False,
    end_value: Extended | None = None,
):
    """Multiply by `decay_rate` every `transition_steps` steps, gradually or at once.

        e = max(k - transition_begin, 0)
        n = floor(e / transition_steps) if staircase, else e / transition_steps
        v = init_value decay_rate^n
        v = max(v, end_value) if decay_rate < 1, else min(v, end_value)         (with an end_value)
        v = init_value                                                          transition_steps <= 0 or decay_rate = 0
        transition_begin < 0 is 0

    Args:
      init_value: the value at first.
      transition_steps: the number of updates of one factor.
      decay_rate: the factor of each transition_steps steps.
      transition_begin: the number of updates before the value begins to change.
      staircase: whether the factor is applied at once, every transition_steps updates.
      end_value: the bound that the value does not cross; None: none.

    >>> schedule = gx.exponential_decay(1.0, transition_steps=10, decay_rate=0.5)
    >>> [float(schedule(k)) for k in (0, 10, 20)]
    [1.0, 0.5, 0.25]

    Units    init_value and end_value alike; decay_rate has none. Numbers of steps may be fractional or infinite.
    Source   Optax.
    Differs  decay_rate and numbers of steps may be traced; with `staircase` the division of whole numbers is exact for every count.
    Raises   HyperparameterError: decay_rate < 0.
    """
    e = since(k, nonnegative(transition_begin))
    n = quotient(e, transition_steps) if staircase else real(e) / positive(transition_steps)
    v = init_value * jnp.power(decay_rate, real(n))
    if end_value is not None:
        v = jnp.where(decay_rate < 1, jnp.maximum(v, end_value), jnp.minimum(v, end_value))
    return jnp.where((transition_steps > 0) & (decay_rate > 0), v, init_value)
