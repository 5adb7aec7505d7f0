"""How many updates lie between two of a preconditioner."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform._types import Array
from gradxform.schedules._path import real
from gradxform.schedules._record import AnySteps, schedule
from gradxform.schedules._words import Positive, Real


@schedule
def psgd_gap(k: Array, least: Positive = 1.0, most: Positive = 1 / 0.03, flat: AnySteps = 500, rate: Real = 1e-3):
    """Grow exponentially between two bounds: the gap from one update of PSGD's preconditioner to the next.

        v = min(max(e^(rate (k + 1 - flat)), least), most)

    Args:
      least: the gap at first.
      most: the gap in the end.
      flat: the number of updates at which it begins to grow, where least is 1.
      rate: how fast it grows.

    >>> schedule = gx.psgd_gap()
    >>> [round(float(schedule(k)), 2) for k in (0, 1499, 10000)]
    [1.0, 2.72, 33.33]

    Units    updates; rate is per update.
    Source   psgd_jax, where 1 / v is the probability of an update of the preconditioner.
    Differs  nothing is left to chance. Optax has none.
    Raises   HyperparameterError: least <= 0, most <= 0.
    """
    return jnp.minimum(jnp.maximum(jnp.exp(rate * (real(k) + 1 - real(flat))), least), most)
