"""Cosine decay."""

from __future__ import annotations

from gradxform._types import Array
from gradxform.schedules._path import cosine, progress
from gradxform.schedules._record import Length, schedule
from gradxform.schedules._words import Real


@schedule
def cosine_decay_schedule(k: Array, init_value: Real, decay_steps: Length, alpha: Real = 0.0, exponent: Real = 1.0):
    """Decay along half a period of a cosine to the part `alpha` of the first value, then stay.

        p = k / decay_steps, in [0, 1]
        v = init_value (alpha + (1 - alpha) ((1 + cos(pi p)) / 2)^exponent)

    Args:
      init_value: the value at first.
      decay_steps: the number of updates of the decay.
      alpha: the part of init_value that is left in the end.
      exponent: the power of the cosine.

    >>> schedule = gx.cosine_decay_schedule(1.0, decay_steps=100, alpha=0.1)
    >>> [round(float(schedule(k)), 3) for k in (0, 50, 100, 200)]
    [1.0, 0.55, 0.1, 0.1]

    Units    those of init_value; alpha and exponent have none. decay_steps may be fractional or infinite.
    Source   Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5; exponent is Optax's.
    Differs  decay_steps may be traced.
    Raises   HyperparameterError: decay_steps <= 0.
    """
    p = progress(k, decay_steps)
    return init_value * (alpha + (1 - alpha) * cosine(p) ** exponent)
