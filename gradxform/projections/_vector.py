"""A tree as one vector, in float32 or wider."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from gradxform._numerics import is_inexact, round_to


def as_wide(x: Any) -> jax.Array:
    return jnp.asarray(x, jnp.promote_types(jnp.result_type(x), jnp.float32))


def like(x: Any, leaf: Any) -> jax.Array:
    """x in the dtype of the leaf; a leaf of whole numbers becomes a float's."""
    return round_to(x, jnp.result_type(leaf)) if is_inexact(jnp.result_type(leaf)) else x


def on_vector(f: Callable[[jax.Array], jax.Array], tree: Any) -> Any:
    """Apply f to all leaves as one vector; they keep their shapes and dtypes."""
    vector, unravel = ravel_pytree(jax.tree.map(as_wide, tree))
    return jax.tree.map(like, unravel(f(vector)), tree)
