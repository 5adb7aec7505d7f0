"""Multipliers that differ from leaf to leaf."""

from __future__ import annotations

from gradxform._types import LeafNumbers
from gradxform.core import elementwise
from gradxform.registry import transform


@transform(source="MXNet, lr_mult", example={"multipliers": {"*": 0.5}}, homogeneity=1)
@elementwise()
def scale_by_multiplier(g, s, p, c, multipliers: LeafNumbers):
    """Multiply the update of each leaf by a number of its own.

        u = multiplier g

    After an optimizer it multiplies the learning rate of that leaf: `chain(adam(1e-3), scale_by_multiplier({"embed/*": 0.1}))`.

    Args:
      multipliers: a number for each leaf: patterns such as `{"embed/*": 0.1}`, a tree, a function of (path, leaf), one number.

    >>> tx = gx.chain(gx.adam(1e-3), gx.scale_by_multiplier({"b": 0.1}))

    State    EmptyState(). Memory: none.
    Units    those of g.
    Shapes   any, scalars and complex included.
    Sharded  inside `shard_map` as unsharded, where functions of leaves return for the device's own part what they return for the
             whole.
    Labels   patterns on paths, of which the first that matches counts; a predicate of (path, leaf); a tree of numbers, or a prefix of
             one; one number for all. A leaf that no pattern matches, or whose number is None, has 1. The numbers may be traced.
    Source   MXNet, lr_mult.
    Differs  Optax has no such transformation.
    Raises   LabelError: a pattern matches no leaf, a tree does not fit, a multiplier is not a number.
    """
    return c.multipliers * g, s
