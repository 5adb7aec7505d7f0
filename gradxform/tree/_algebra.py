"""Arithmetic, leaf by leaf. In each body the trees are leaves."""

from __future__ import annotations

import operator
from collections.abc import Callable

import jax
import jax.numpy as jnp

from gradxform._numerics import result_dtype
from gradxform._types import ArrayLike, DType, Shape, Tree
from gradxform.tree._leafwise import alike, is_gap, leafwise, once


def add(tree_x: Tree, tree_y: Tree, *other_trees: Tree) -> Tree:
    """x + y + ...; an absent y adds nothing.

    Args:
      tree_x: a tree of arrays.
      tree_y: a tree like the first.
      other_trees: more of them.

    >>> gx.tree.add({"a": 1.0}, {"a": 2.0}, {"a": 3.0})
    {'a': 6.0}
    """

    def at(x: Tree, *ys: Tree) -> Tree:
        return x if is_gap(x) else once(_total, x, *(y for y in ys if not is_gap(y)))

    return jax.tree.map(at, tree_x, tree_y, *other_trees, is_leaf=is_gap)


def _total(x: Tree, *ys: Tree) -> Tree:
    for y in ys:
        x = x + y
    return x


def _of_two(f: Callable[..., Tree], x: Tree, y: Tree) -> Tree:
    """f of two leaves; what NumPy holds alone stays NumPy's, with its precision."""
    return once(f, x, y) if isinstance(x, jax.Array) or isinstance(y, jax.Array) else f(x, y)


@leafwise("tree_x", "tree_y", keep="tree_x")
def sub(tree_x: Tree, tree_y: Tree) -> Tree:
    """x - y; an absent y takes nothing away.

    Args:
      tree_x: a tree of arrays.
      tree_y: a tree like the first.

    >>> gx.tree.sub({"a": 3.0}, {"a": 1.0})
    {'a': 2.0}
    """
    return _of_two(operator.sub, tree_x, tree_y)


@leafwise("tree_x", "tree_y")
def mul(tree_x: Tree, tree_y: Tree) -> Tree:
    """x y

    Args:
      tree_x: a tree of arrays.
      tree_y: a tree like the first.

    >>> gx.tree.mul({"a": 2.0}, {"a": 3.0})
    {'a': 6.0}
    """
    return _of_two(operator.mul, tree_x, tree_y)


@leafwise("tree_x", "tree_y")
def div(tree_x: Tree, tree_y: Tree) -> Tree:
    """x / y

    Args:
      tree_x: a tree of arrays.
      tree_y: a tree like the first.

    >>> gx.tree.div({"a": 1.0}, {"a": 2.0})
    {'a': 0.5}
    """
    return _of_two(operator.truediv, tree_x, tree_y)


@leafwise("tree")
def scale(scalar: ArrayLike, tree: Tree) -> Tree:
    """a x; a is not rounded to the dtype of x.

    Args:
      scalar: a number.
      tree: a tree of arrays.

    >>> gx.tree.scale(0.5, {"a": 4.0})
    {'a': 2.0}
    """
    return once(lambda a, x: a * x, scalar, tree)


@leafwise("tree_x", "tree_y", keep="tree_x")
def add_scale(tree_x: Tree, scalar: ArrayLike, tree_y: Tree) -> Tree:
    """x + a y, rounded once; an absent y adds nothing.

    Args:
      tree_x: a tree of arrays.
      scalar: a number.
      tree_y: a tree like the first.

    >>> gx.tree.add_scale(jnp.array([1.0]), 0.5, jnp.array([4.0]))
    Array([3.], dtype=float32)
    """
    return once(lambda x, a, y: x + a * y, tree_x, scalar, tree_y)


@leafwise("tree")
def conj(tree: Tree) -> Tree:
    """The complex conjugate.

    Args:
      tree: a tree of arrays.

    >>> gx.tree.conj(jnp.array([1.0 + 2.0j]))
    Array([1.-2.j], dtype=complex64)
    """
    return jnp.conj(tree)


@leafwise("tree")
def real(tree: Tree) -> Tree:
    """The real part.

    Args:
      tree: a tree of arrays.

    >>> gx.tree.real(jnp.array([1.0 + 2.0j]))
    Array([1.], dtype=float32)
    """
    return jnp.real(tree)


@leafwise("tree")
def clip(tree: Tree, min_value: ArrayLike | None = None, max_value: ArrayLike | None = None) -> Tree:
    """min(max(x, min_value), max_value); a bound that is `None` does not bind.

    Args:
      tree: a tree of arrays.
      min_value: the lower bound; None: none.
      max_value: the upper bound; None: none.

    >>> gx.tree.clip(jnp.array([-2.0, 0.5, 2.0]), -1.0, 1.0)
    Array([-1. ,  0.5,  1. ], dtype=float32)
    """
    dtype = result_dtype(*(x for x in (tree, min_value, max_value) if x is not None))
    bound = lambda x: x if x is None else jnp.asarray(x, dtype)
    return jnp.clip(jnp.asarray(tree, dtype), bound(min_value), bound(max_value))


@leafwise("tree_x", "tree_y")
def where(condition: ArrayLike, tree_x: Tree, tree_y: Tree) -> Tree:
    """x where the condition (one array for all leaves) holds, y elsewhere.

    Args:
      condition: a flag, or an array of flags for all leaves.
      tree_x: a tree of arrays.
      tree_y: a tree like the first.

    >>> gx.tree.where(True, jnp.array([1.0]), jnp.array([2.0]))
    Array([1.], dtype=float32)
    """
    return jnp.where(condition, *alike(tree_x, tree_y))


@leafwise("tree")
def full_like(tree: Tree, fill_value: ArrayLike, dtype: DType | None = None) -> Tree:
    """Arrays of these shapes, and dtypes unless `dtype` is given, filled with one value.

    Args:
      tree: a tree of arrays.
      fill_value: the value of all elements.
      dtype: the dtype of all leaves; None: each its own.

    >>> gx.tree.full_like(jnp.zeros(2), 7.0)
    Array([7., 7.], dtype=float32)
    """
    return jnp.full_like(tree, fill_value, dtype=dtype)


@leafwise("tree")
def zeros_like(tree: Tree, dtype: DType | None = None) -> Tree:
    """Zeros of these shapes, and dtypes unless `dtype` is given.

    Args:
      tree: a tree of arrays.
      dtype: the dtype of all leaves; None: each its own.

    >>> gx.tree.zeros_like(jnp.ones(2))
    Array([0., 0.], dtype=float32)
    """
    return jnp.zeros_like(tree, dtype=dtype)


@leafwise("tree")
def ones_like(tree: Tree, dtype: DType | None = None) -> Tree:
    """Ones of these shapes, and dtypes unless `dtype` is given.

    Args:
      tree: a tree of arrays.
      dtype: the dtype of all leaves; None: each its own.

    >>> gx.tree.ones_like(jnp.zeros(2))
    Array([1., 1.], dtype=float32)
    """
    return jnp.ones_like(tree, dtype=dtype)


@leafwise("tree")
def batch_shape(tree: Tree, shape: Shape = ()) -> Tree:
    """Every leaf repeated along new leading axes of this shape.

    Args:
      tree: a tree of arrays.
      shape: the lengths of the new leading axes.

    >>> gx.tree.batch_shape(jnp.array([1.0, 2.0]), (2,))
    Array([[1., 2.],
           [1., 2.]], dtype=float32)
    """
    return jnp.broadcast_to(tree, (*shape, *jnp.shape(tree)))
