"""The clip by norm that scales a step, and leaves the gradients as they are."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform import tree
from gradxform._types import Array, Bound, Inner
from gradxform.core import GradientTransformation, wrapper


def _times(u: Array, factor: Array) -> Array:
    return factor * u


@wrapper(Inner)
def clip_step_by_gradient_norm(g, s, p, c, inner: GradientTransformation, max_norm: Bound):
    """Make the step of `inner` smaller where the norm of the gradients exceeds max_norm, by the factor that would bring them down to it.

        u = max_norm / max(||g||, max_norm) inner(g)

    State    that of inner. Memory: that of inner.
    Units    those of inner; max_norm has those of g.
    Shapes   any, complex included; the norm is over all leaves.
    Source   neon, `gradient_clip_norm`.
    Differs  from `clip_by_global_norm`: what inner remembers of the gradients is not clipped.
    Raises   StructureError: inner is not a transformation.
    """
    max_norm = c.number("max_norm", max_norm)
    factor = max_norm / jnp.maximum(tree.norm(c.trees.arrays), max_norm)
    u, s = inner.update(g, s, p)
    return c.map(_times, u, factor=factor), s
