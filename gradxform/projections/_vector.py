"""A tree as one vector, in float32 or wider, and the numbers that a set is given by."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from gradxform._errors import HyperparameterError, StructureError
from gradxform._numerics import by_parts, is_inexact, promote, round_to
from gradxform._types import Array, ArrayLike, Tree


def as_wide(x: ArrayLike) -> Array:
    return jnp.asarray(x, promote(jnp.result_type(x), jnp.float32))


def like(x: Array, leaf: ArrayLike) -> Array:
    """x in the dtype of the leaf, but neither a fraction as a whole number nor a complex number as a real one."""
    dtype = jnp.result_type(leaf)
    keeps = is_inexact(dtype) and (jnp.issubdtype(dtype, jnp.complexfloating) or not jnp.iscomplexobj(x))
    return round_to(x, dtype) if keeps else x


def times(x: Array, a: Array) -> Array:
    """x a, for real numbers a."""
    return by_parts(lambda part: part * a.astype(part.dtype), x)


def over(x: Array, a: Array) -> Array:
    """x / a, for real numbers a."""
    return by_parts(lambda part: part / a.astype(part.dtype), x)


def on_vector(f: Callable[[Array], Array], tree: Tree) -> Tree:
    """Apply f to all leaves as one vector of real numbers; they keep their shapes."""
    vector, unravel = ravel_pytree(jax.tree.map(as_wide, tree))
    return tree if vector.size == 0 else unravel(f(vector))


def real_tree(owner: str, tree: Tree) -> Tree:
    """The tree. Raise if it has complex leaves, which are neither smaller nor larger than others."""
    for path, x in jax.tree_util.tree_leaves_with_path(tree):
        if jnp.issubdtype(jnp.result_type(x), jnp.complexfloating):
            raise StructureError(
                f"{owner}: at {jax.tree_util.keystr(path) or '(root)'} the elements are complex ({jnp.result_type(x)}), and complex "
                "numbers have no order. Project their real and imaginary parts, as trees of real numbers."
            )
    return tree


def number(owner: str, name: str, value: ArrayLike) -> Array:
    """One number, which may come as an array of one element, in float32 or wider."""
    if jnp.size(value) != 1:
        raise StructureError(f"{owner}: `{name}` must be one number, but has shape {jnp.shape(value)}.")
    return as_wide(value).reshape(())


def radius(owner: str, value: ArrayLike) -> Array:
    """The size of a set, in float32 or wider. No set has a negative one: that raises, or gives NaN if it is traced."""
    if jnp.issubdtype(jnp.result_type(value), jnp.complexfloating) or (known(value) and not np.all(np.asarray(value) >= 0)):
        raise HyperparameterError(f"{owner}: `scale` must be a number in [0, inf], but got {value!r}: there is no such point.")
    scale = as_wide(value)
    return jnp.where(scale >= 0, scale, jnp.nan)


def known(*xs: ArrayLike) -> bool:
    return not any(isinstance(x, jax.core.Tracer) for x in xs)
