"""Projections that treat each element alone."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._errors import HyperparameterError, StructureError
from gradxform._numerics import clip_elements, is_inexact, promote, result_dtype, widen
from gradxform._types import Array, ArrayLike, Model, Tree
from gradxform.projections._vector import as_wide, known, like, radius, real_tree


def projection_non_negative(tree: Model) -> Model:
    """The nearest point without negative elements.

        p = max(x, 0)

    Args:
      tree: the point, a tree of arrays.

    >>> gx.projections.projection_non_negative(jnp.array([-1.0, 2.0]))
    Array([0., 2.], dtype=float32)

    Source   the nearest point.
    Differs  no.
    Raises   StructureError: a leaf is complex.
    """
    numbers = lambda x: jnp.asarray(x, jnp.int32) if jnp.result_type(x) == jnp.bool_ else x
    return jax.tree.map(lambda x: jax.nn.relu(numbers(x)), real_tree("projection_non_negative", tree))


def projection_box(tree: Model, lower: Tree, upper: Tree) -> Model:
    """The nearest point between two bounds, each a number, an array or a tree like `tree`.

        p = min(max(x, lower), upper)

    Args:
      tree: the point, a tree of arrays.
      lower: the least elements: a number, an array, or a tree like `tree`.
      upper: the largest elements: a number, an array, or a tree like `tree`.

    >>> gx.projections.projection_box(jnp.array([-1.0, 0.5, 3.0]), 0.0, 1.0)
    Array([0. , 0.5, 1. ], dtype=float32)

    Shapes   a bound broadcasts to its leaf. Leaves keep their dtypes; a leaf of whole numbers becomes a float's if a bound is one.
    Source   the nearest point.
    Differs  one number bounds all leaves of a tree; in Optax it fits a single leaf only. Bounds never change a leaf's shape or
             dtype. Between bounds in the wrong order there is no point; if they are traced, it is NaN.
    Raises   StructureError: the trees have different structures, a bound does not broadcast to its leaf, or a leaf is complex.
             HyperparameterError: lower > upper.
    """
    return _box("projection_box", tree, lower, upper)


def projection_hypercube(tree: Model, scale: Tree = 1) -> Model:
    """The nearest point in the cube from 0 to `scale`, a number, an array or a tree like `tree`.

        p = min(max(x, 0), scale)

    Args:
      tree: the point, a tree of arrays.
      scale: the largest element: a number, an array, or a tree like `tree`.

    >>> gx.projections.projection_hypercube(jnp.array([-1.0, 0.5, 3.0]))
    Array([0. , 0.5, 1. ], dtype=float32)

    Source   the nearest point.
    Differs  as `projection_box`.
    Raises   StructureError: the trees have different structures, the scale does not broadcast to its leaf, or a leaf is complex.
             HyperparameterError: scale < 0.
    """
    return _box("projection_hypercube", tree, 0, scale)


def projection_linf_ball(tree: Model, scale: ArrayLike = 1) -> Model:
    """The nearest point whose elements are at most `scale` in size; complex ones keep their phase.

        p = x min(1, scale / |x|)               min(max(x, -scale), scale) if x is real

    Args:
      tree: the point, a tree of arrays.
      scale: the largest size of an element: a number of at least 0, or an array that broadcasts to each leaf.

    >>> gx.projections.projection_linf_ball(jnp.array([-3.0, 0.5]))
    Array([-1. ,  0.5], dtype=float32)

    Shapes   scale is a number, or an array that broadcasts to each leaf.
    Source   the nearest point.
    Differs  whole numbers become floats if the scale is one, and so does not become 0. No ball has a negative scale; a traced one
             gives NaN.
    Raises   HyperparameterError: scale < 0. StructureError: the scale does not broadcast to a leaf.
    """
    owner = "projection_linf_ball"
    most = radius(owner, scale)
    signed = scale if isinstance(scale, int | float) else jnp.asarray(scale, promote(jnp.result_type(scale), jnp.int32))

    def project(x: ArrayLike) -> Array:
        if not jnp.iscomplexobj(x):
            return _between(owner, x, -signed, signed)
        wide = as_wide(x)
        return like(clip_elements(wide, _spread(owner, most, wide).astype(wide.real.dtype)), x)

    return jax.tree.map(project, tree)


def _box(owner: str, tree: Tree, lower: Tree, upper: Tree) -> Tree:
    bounds = (_per_leaf(owner, name, bound, tree) for name, bound in (("lower", lower), ("upper", upper)))
    return jax.tree.map(functools.partial(_between, owner), real_tree(owner, tree), *bounds)


def _between(owner: str, x: ArrayLike, lower: ArrayLike, upper: ArrayLike) -> Array:
    """One leaf between its bounds."""
    if known(lower, upper) and not np.all(np.asarray(lower) <= np.asarray(upper)):
        raise HyperparameterError(f"{owner}: there is no point between {lower!r} and {upper!r}; the lower bound must not be above.")
    common = result_dtype(x, lower, upper)
    if not is_inexact(common):
        fits = lambda bound: np.clip(bound, jnp.iinfo(common).min, jnp.iinfo(common).max) if isinstance(bound, int) else bound
        lower, upper = (_spread(owner, jnp.asarray(fits(bound), common), x) for bound in (lower, upper))
        return jnp.clip(jnp.asarray(x, common), lower, upper)
    wide = widen(common)
    lower, upper = (_spread(owner, jnp.asarray(bound, wide), x) for bound in (lower, upper))
    p = jnp.clip(jnp.asarray(x, wide), lower, upper)
    return like(jnp.where(lower > upper, jnp.nan, p), x)


def _spread(owner: str, bound: Array, x: ArrayLike) -> Array:
    """The bound in the shape of its leaf; one of a single element may have any shape."""
    shape = jnp.shape(x)
    if bound.size == 1:
        bound = bound.reshape(())
    try:
        return jnp.broadcast_to(bound, shape)
    except ValueError:
        raise StructureError(f"{owner}: a bound has shape {bound.shape}, which does not broadcast to its leaf's {shape}.") from None


def _per_leaf(owner: str, name: str, bound: Tree, tree: Tree) -> Tree:
    """One leaf for all leaves, or a tree of the same structure."""
    structure = jax.tree.structure(tree)
    if jax.tree.structure(bound) == structure:
        return bound
    if jax.tree_util.treedef_is_leaf(jax.tree.structure(bound)):
        return jax.tree.unflatten(structure, [bound] * structure.num_leaves)
    raise StructureError(
        f"{owner}: `{name}` has structure {jax.tree.structure(bound)}, but the tree has {structure}. Give one number or a tree of the "
        "same structure."
    )
