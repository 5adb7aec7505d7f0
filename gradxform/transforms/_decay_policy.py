"""Policies of weight decay."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import jax.numpy as jnp

from gradxform._types import Clock, Field, Positive, Real
from gradxform.core import EmptyState, elementwise

Policy = Literal["scaled", "coupled", "independent", "corrected", "cautious"]
Of = Literal["old", "new"]


class WeightDecaySchedule(NamedTuple):
    """The clock of a scheduled weight decay."""

    count: Annotated[Clock, Field(absent=EmptyState)]


@elementwise(WeightDecaySchedule, needs=("params",))
def _add_decayed_weights(
    g, s, p, c,
    weight_decay: Real, policy: Policy, learning_rate: Real | None = None, peak: Positive | None = None, of: Of = "old",
):  # fmt: skip
    """Add the parameters, times weight_decay, to the updates, as a policy says."""
    rate = 1 if learning_rate is None else learning_rate
    q = p - rate * g if of == "new" else p
    decay = weight_decay * q
    if policy == "cautious":
        decay = jnp.where((g.conj() * q).real >= 0, decay, 0)
    if policy == "corrected":
        decay = decay * rate
    return g + (decay if peak is None else decay / peak), s


by_policy = _add_decayed_weights
