"""Weight decay."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from gradxform._types import Clock, Field, Hyper, MaskOrFn, Real
from gradxform.core import EmptyState, elementwise, masked
from gradxform.registry import transform


class WeightDecaySchedule(NamedTuple):
    """The clock of a scheduled weight decay."""

    count: Annotated[Clock, Field(absent=EmptyState)]


@elementwise(WeightDecaySchedule, needs=("params",))
def _add_decayed_weights(g, s, p, c, weight_decay: Real = 0.0):
    """Add the parameters, times weight_decay, to the updates."""
    return g + weight_decay * p, s


@transform(source="Krogh & Hertz 1991", example={"weight_decay": 0.1})
def add_decayed_weights(weight_decay: Real[Hyper] = 0.0, mask: MaskOrFn = None):
    """Add the parameters, times weight_decay, to the updates.

        u = g + weight_decay p

    Before a preconditioner this is an L2 penalty; after it, and before the learning rate, it is decoupled decay.

    Args:
      weight_decay: the part of the parameters that is added; a number, an array or a schedule.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.

    >>> tx = gx.chain(gx.scale_by_adam(), gx.add_decayed_weights(0.1, mask=gx.by_ndim(2)), gx.scale_by_learning_rate(1e-3))

    State    EmptyState(); with a schedule WeightDecaySchedule(count); with a mask MaskedState of that. Memory: none.
    Units    weight_decay has those of g / p.
    Shapes   any, scalars and complex included.
    Masks    decays where True; see `masked`.
    Source   Krogh & Hertz 1991, NeurIPS 4; decoupled: Loshchilov & Hutter 2019, arXiv:1711.05101.
    Differs  no.
    Raises   MissingArgumentError: no params. HyperparameterError: weight_decay is not a finite number.
    """
    decay = _add_decayed_weights(weight_decay)
    return decay if mask is None else masked(decay, mask)
