"""The norm of a tree under its older name."""

from __future__ import annotations

from gradxform._types import Array, Updates
from gradxform.tree import norm


def global_norm(updates: Updates) -> Array:
    """The Euclidean norm of all elements of a tree; the same as `tree.norm`.

        sqrt(sum |x|^2)

    Args:
      updates: a tree of arrays.

    >>> gx.global_norm({"a": jnp.array(3.0), "b": jnp.array(4.0)})
    Array(5., dtype=float32)

    Source   the Euclidean norm.
    Differs  no deprecation warning; narrow dtypes are summed in float32.
    """
    return norm(updates)
