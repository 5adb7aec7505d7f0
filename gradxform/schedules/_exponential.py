"""Exponential decay, continuous or in stairs."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform._types import Array, Count, Positive, Real
from gradxform.schedules._path import capped, since
from gradxform.schedules._record import Whole, schedule


@schedule
def exponential_decay(
    k: Array,
    init_value: Real,
    transition_steps: Count,
    decay_rate: Positive,
    transition_begin: Whole = 0,
    staircase: bool = False,
    end_value: Real | None = None,
):
    """Multiply by `decay_rate` every `transition_steps` steps, gradually or at once.

        e = max(k - transition_begin, 0)
        n = floor(e / transition_steps) if staircase, else e / transition_steps
        v = init_value decay_rate^n
        v = max(v, end_value) if decay_rate < 1, else min(v, end_value)         (with an end_value)

    Units    init_value and end_value alike; decay_rate has none.
    Source   Optax.
    Differs  transition_steps <= 0, decay_rate = 0 and transition_begin < 0 raise; Optax holds init_value, respectively begins at 0.
             decay_rate may be traced; with `staircase` the division is one of integers, exact for every count.
    Raises   HyperparameterError: transition_steps < 1, decay_rate <= 0 or transition_begin < 0.
    """
    e = since(k, transition_begin)
    n = e // capped(transition_steps) if staircase else e / float(transition_steps)
    v = init_value * jnp.power(decay_rate, n)
    if end_value is None:
        return v
    return jnp.where(decay_rate < 1, jnp.maximum(v, end_value), jnp.minimum(v, end_value))
