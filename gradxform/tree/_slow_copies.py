"""A slow copy of the parameters: an average of them, or one that is refreshed from time to time."""

from __future__ import annotations

import operator

import jax.numpy as jnp

from gradxform._numerics import is_inexact, promote, round_to, widen
from gradxform._types import Array, ArrayLike, Tree
from gradxform.tree._leafwise import alike, leafwise


@leafwise("new_tensors", "old_tensors")
def incremental_update(new_tensors: Tree, old_tensors: Tree, step_size: Array | float) -> Tree:
    """Move the old tensors a step towards the new ones: Polyak averaging.

        old + step_size (new - old)

    Args:
      new_tensors: a tree of arrays.
      old_tensors: a tree like new_tensors.
      step_size: the part of the way to the new tensors.

    >>> gx.incremental_update(jnp.array([1.0]), jnp.array([0.0]), step_size=0.25)
    Array([0.25], dtype=float32)

    Shapes   those of the old tensors; `None` and masked leaves stay.
    Source   Polyak & Juditsky 1992, doi:10.1137/0330046.
    Differs  computed in float32 or wider and rounded once to the dtype of the old tensor, so that the copy can be carried through a scan;
             whole numbers and flags, which have no average, are those of the new tensors.
    """
    new, old = jnp.asarray(new_tensors), jnp.asarray(old_tensors)
    if not is_inexact(old.dtype):
        return new.astype(old.dtype)
    wide = widen(promote(new.dtype, old.dtype))
    new, moved = new.astype(wide), old.astype(wide)
    new, moved, step, rest = alike(new, moved, step_size, 1 - step_size)
    return round_to(step * new + rest * moved, old.dtype)


def periodic_update(new_tensors: Tree, old_tensors: Tree, steps: ArrayLike, update_period: ArrayLike) -> Tree:
    """Take the new tensors at every update_period-th step, and keep the old ones otherwise.

        new   if steps is a multiple of update_period
        old   otherwise

    Args:
      new_tensors: a tree of arrays.
      old_tensors: a tree like new_tensors.
      steps: the number of the step.
      update_period: from how many to how many steps the new tensors are taken.

    >>> gx.periodic_update(jnp.array([1.0]), jnp.array([0.0]), steps=10, update_period=5)
    Array([1.], dtype=float32)

    Shapes   any; `None` and masked leaves stay.
    Source   Mnih et al. 2015, doi:10.1038/nature14236; Grill et al. 2020, arXiv:2006.07733.
    Differs  the result has the dtypes of the old tensors.
    """
    due = operator.mod(*alike(steps, update_period)) == 0

    @leafwise("new", "old")
    def choose(new: ArrayLike, old: ArrayLike) -> Array:
        before = jnp.asarray(old)
        return jnp.where(due, round_to(jnp.asarray(new), before.dtype), before)

    return choose(new_tensors, old_tensors)
