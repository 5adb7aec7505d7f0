"""Projections that treat each element alone."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from gradxform import tree as trees
from gradxform._errors import StructureError
from gradxform._types import ArrayLike, Tree


def projection_non_negative(tree: Tree) -> Tree:
    """The nearest point without negative elements.

        p = max(x, 0)

    Source   the nearest point.
    Differs  no.
    """
    return jax.tree.map(jax.nn.relu, tree)


def projection_box(tree: Tree, lower: Tree, upper: Tree) -> Tree:
    """The nearest point between two bounds, each a number, an array or a tree like `tree`.

        p = min(max(x, lower), upper)

    Source   the nearest point.
    Differs  one number bounds all leaves of a tree; in Optax it fits a single leaf only.
    Raises   StructureError: the trees have different structures.
    """
    lower, upper = (_spread(name, bound, tree) for name, bound in (("lower", lower), ("upper", upper)))
    return jax.tree.map(trees.clip, tree, lower, upper)


def projection_hypercube(tree: Tree, scale: Tree = 1) -> Tree:
    """The nearest point in the cube from 0 to `scale`, a number, an array or a tree like `tree`.

        p = min(max(x, 0), scale)

    Source   the nearest point.
    Differs  as `projection_box`.
    Raises   StructureError: the trees have different structures.
    """
    return projection_box(tree, 0, scale)


def projection_linf_ball(tree: Tree, scale: ArrayLike = 1) -> Tree:
    """The nearest point whose elements are at most `scale` in size.

        p = min(max(x, -scale), scale)

    Source   the nearest point.
    Differs  no.
    """
    bound = lambda x: jnp.asarray(scale, jnp.result_type(x))
    return jax.tree.map(lambda x: jnp.clip(x, -bound(x), bound(x)), tree)


def _spread(name: str, bound: Tree, tree: Tree) -> Tree:
    """One leaf for all leaves, or a tree of the same structure."""
    structure = jax.tree.structure(tree)
    if jax.tree.structure(bound) == structure:
        return bound
    if jax.tree_util.treedef_is_leaf(jax.tree.structure(bound)):
        return jax.tree.unflatten(structure, [bound] * structure.num_leaves)
    raise StructureError(
        f"projection_box: `{name}` has structure {jax.tree.structure(bound)}, but the tree has {structure}. Give one number or a "
        "tree of the same structure."
    )
