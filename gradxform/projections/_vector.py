"""A tree as one vector, in float32 or wider."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from gradxform._numerics import is_inexact, promote, round_to
from gradxform._types import Array, ArrayLike, Tree


def as_wide(x: ArrayLike) -> Array:
    return jnp.asarray(x, promote(jnp.result_type(x), jnp.float32))


def like(x: Array, leaf: ArrayLike) -> Array:
    """x in the dtype of the leaf; a leaf of whole numbers becomes a float's."""
    return round_to(x, jnp.result_type(leaf)) if is_inexact(jnp.result_type(leaf)) else x


def on_vector(f: Callable[[Array], Array], tree: Tree) -> Tree:
    """Apply f to all leaves as one vector; they keep their shapes and dtypes."""
    vector, unravel = ravel_pytree(jax.tree.map(as_wide, tree))
    return jax.tree.map(like, unravel(f(vector)), tree)
