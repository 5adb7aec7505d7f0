"""Decays as a power of the time, which have no end."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform._types import Array
from gradxform.schedules._path import real
from gradxform.schedules._record import Length, schedule
from gradxform.schedules._words import NonNegative, Real


@schedule
def inverse_time_schedule(k: Array, init_value: Real, decay_rate: NonNegative):
    """Divide by a number that grows in proportion to the time.

        v = init_value / (1 + decay_rate k)

    Args:
      init_value: the value at first.
      decay_rate: how much the divisor grows at each update.

    >>> schedule = gx.inverse_time_schedule(1.0, decay_rate=0.1)
    >>> [float(schedule(k)) for k in (0, 10)]
    [1.0, 0.5]

    Units    those of init_value; decay_rate is per update.
    Source   Robbins & Monro 1951; the `decay` of Keras's optimizers, neon's `ExpSchedule`.
    Differs  Optax has none.
    Raises   HyperparameterError: decay_rate < 0.
    """
    return init_value / (1 + decay_rate * real(k))


@schedule
def rsqrt_schedule(k: Array, init_value: Real, peak_value: Real, warmup_steps: Length):
    """Warm up in a straight line, then decay as one over the square root of the time.

        q = k / warmup_steps
        v = (init_value + (peak_value - init_value) min(q, 1)) / sqrt(max(q, 1))

    Args:
      init_value: the value at first.
      peak_value: the largest value, at the end of the rise.
      warmup_steps: the number of updates of the rise.

    >>> schedule = gx.rsqrt_schedule(0.0, 1.0, warmup_steps=100)
    >>> [float(schedule(k)) for k in (0, 100, 400)]
    [0.0, 1.0, 0.5]

    Units    those of init_value and peak_value. warmup_steps may be fractional or infinite.
    Source   Vaswani et al. 2017, arXiv:1706.03762, eq. 3: init_value 0, peak_value (d_model warmup_steps)^(-1/2).
    Differs  the paper numbers the updates from 1, so that its first is not 0. Optax has none.
    Raises   HyperparameterError: warmup_steps <= 0.
    """
    q = real(k) / real(warmup_steps)
    return (init_value + (peak_value - init_value) * jnp.minimum(q, 1)) / jnp.sqrt(jnp.maximum(q, 1))
