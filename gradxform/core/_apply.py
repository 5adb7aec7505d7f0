"""Adding updates to parameters."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._errors import StructureError
from gradxform._messages import shape_of
from gradxform._numerics import promote, round_to, widen
from gradxform._types import Array, Model, Params, Updates
from gradxform.core._holes import is_gap, is_sparse
from gradxform.core._trees import DENSE, Trees


@jax.jit
def add_update(p: Array, u: Array) -> Array:
    wide = promote(widen(p.dtype), u.dtype)
    return round_to(p.astype(wide) + u.astype(wide), p.dtype)


def apply_updates(params: Model, updates: Updates) -> Model:
    """Add updates to parameters.

        p <- p + u

    Args:
      params: the parameters.
      updates: the updates.

    >>> gx.apply_updates(jnp.array([1.0, 2.0]), jnp.array([0.5, -0.5]))
    Array([1.5, 1.5], dtype=float32)

    Shapes   an update must have its parameter's shape; the sum is computed in float32 or wider and rounded once.
    Holes    where the update is `None`, masked or float0, the parameter stays.
    Source   Optax.
    Differs  Optax broadcasts a (3,) parameter with a (3, 1) update to (3, 3); here that is an error. Transformations give a parameter of
             whole numbers the update 0, so that it stays; Optax adds fractions and truncates.
    Raises   StructureError, with the path: structures or shapes differ.
    """
    return add_leaves("apply_updates", params, updates, lambda i, p, u: add_update(p, u))


def add_leaves(owner: str, params: Params, updates: Updates, add: Callable[[int, Array, Array], Array]) -> Params:
    """`params` with add(position, p, u) in place of every leaf p that has an update u."""
    trees = Trees(owner, params, "parameter")
    us = trees.take("`updates`", updates, "Pass the parameters first, and the updates that `update` returned for them.")
    for i, (p, u) in enumerate(zip(trees.leaves, us, strict=True)):
        if is_gap(p) or is_gap(u) or _is_float0(u):
            continue
        if is_sparse(u):
            raise StructureError(
                f"{owner}: at {trees.paths[i]!r} the parameter is dense, but the update is a {type(u).__name__}. {DENSE}"
            )
        if np.shape(p) != np.shape(u):
            raise StructureError(
                f"{owner}: at {trees.paths[i]!r} the parameter has {shape_of(p)}, but the update has {shape_of(u)}. "
                "They must agree; nothing is broadcast."
            )
        trees.leaves[i] = add(i, jnp.asarray(p), jnp.asarray(u))
    return trees.together(trees.leaves)


def _is_float0(x: object) -> bool:
    return getattr(x, "dtype", None) == jax.dtypes.float0
