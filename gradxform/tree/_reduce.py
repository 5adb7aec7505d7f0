"""From a tree to one number. Inexact leaves are accumulated in float32 or wider, and the result stays so wide."""

# ruff: noqa: A001, A002

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from gradxform._errors import HyperparameterError, StructureError
from gradxform._numerics import is_inexact, parts, power_of_two, promote, widen
from gradxform._types import Array, ArrayLike, Tree
from gradxform.tree._leafwise import alike, is_gap, leafwise, wide

Value = TypeVar("Value")
Empty = TypeVar("Empty")


def size(tree: Tree) -> int:
    """The number of elements.

    Args:
      tree: a tree of arrays.

    >>> gx.tree.size(params)
    6
    """
    return _fold(operator.add, [math.prod(jnp.shape(x)) for x in jax.tree.leaves(tree)], 0)


def sum(tree: Tree, associative_reduction: bool = False) -> Array | int:
    """The sum of all elements. `associative_reduction` adds the leaves pairwise, which compiles faster for large trees.

    Args:
      tree: a tree of arrays.
      associative_reduction: add the leaves pairwise.

    >>> gx.tree.sum({"a": jnp.array([1.0, 2.0]), "b": jnp.array(3.0)})
    Array(6., dtype=float32)
    """
    sums = [_sum(x) for x in jax.tree.leaves(tree)]
    if associative_reduction:
        return jax.tree.reduce_associative(operator.add, alike(*sums) if sums else sums, identity=0)
    return _fold(operator.add, sums, 0)


def max(tree: Tree) -> Array | float:
    """The largest element; -inf if there is none.

    Args:
      tree: a tree of arrays.

    >>> gx.tree.max({"a": jnp.array([1.0, 5.0]), "b": jnp.array(2.0)})
    Array(5., dtype=float32)
    """
    return _fold(jnp.maximum, [jnp.max(x) for x in _nonempty(tree)], -math.inf)


def min(tree: Tree) -> Array | float:
    """The smallest element; inf if there is none.

    Args:
      tree: a tree of arrays.

    >>> gx.tree.min({"a": jnp.array([1.0, 5.0]), "b": jnp.array(2.0)})
    Array(1., dtype=float32)
    """
    return _fold(jnp.minimum, [jnp.min(x) for x in _nonempty(tree)], math.inf)


def vdot(tree_x: Tree, tree_y: Tree) -> Array | int:
    """sum conj(x) y, over the leaves that both trees have.

    Args:
      tree_x: a tree of arrays.
      tree_y: a tree like the first.

    >>> gx.tree.vdot({"a": jnp.array([1.0, 2.0])}, {"a": jnp.array([3.0, 4.0])})
    Array(11., dtype=float32)
    """
    return sum(_inner(tree_x, tree_y))


def norm(tree: Tree, ord: int | str | float | None = None, squared: bool = False) -> Array:
    """The norm of all elements as one vector, or its square.

    ord None or 2    sqrt(sum |x|^2), without overflow of the squares
    ord 1            sum |x|
    ord inf          max |x|

    Args:
      tree: a tree of arrays.
      ord: 1, 2 or infinity; None: 2.
      squared: whether the square of the norm is returned.

    >>> gx.tree.norm({"a": jnp.array(3.0), "b": jnp.array(4.0)})
    Array(5., dtype=float32)
    """
    leaves = [wide(x if is_inexact(jnp.result_type(x)) else jnp.asarray(x, jnp.float32)) for x in _nonempty(tree)]
    if ord is None or ord == 2:
        numbers = [part for x in leaves for part in parts(x)]
        if squared:
            return _joined(jnp.add, [jnp.sum(x * x) for x in numbers])
        unit = power_of_two(_joined(jnp.maximum, [jnp.max(jnp.abs(x)) for x in numbers]))
        return unit * jnp.sqrt(_joined(jnp.add, [jnp.sum((x.astype(unit.dtype) / unit) ** 2) for x in numbers]))
    if ord == 1:
        result = _joined(jnp.add, [jnp.sum(jnp.abs(x)) for x in leaves])
    elif ord in (math.inf, "inf", "infinity"):
        result = _joined(jnp.maximum, [jnp.max(jnp.abs(x)) for x in leaves])
    else:
        raise HyperparameterError(f"tree.norm: `ord` must be None, 1, 2 or inf, but got {ord!r}.")
    return result * result if squared else result


def allclose(a: Tree, b: Tree, rtol: ArrayLike = 1e-5, atol: ArrayLike = 1e-8, equal_nan: bool = False) -> Array | bool:
    """Whether |a - b| <= atol + rtol |b| everywhere; an absent leaf is close to an absent leaf only.

    Args:
      a: a tree of arrays.
      b: a tree like a, which gives the relative tolerance its size.
      rtol: the difference that is allowed, relative to b.
      atol: the difference that is allowed.
      equal_nan: whether NaN is close to NaN.

    >>> bool(gx.tree.allclose({"a": jnp.array(1.0)}, {"a": jnp.array(1.0 + 1e-7)}))
    True
    """

    def close(x: Tree, y: Tree) -> Array | bool:
        if is_gap(x) or is_gap(y):
            return is_gap(x) and is_gap(y)
        return jnp.allclose(*alike(wide(x), wide(y)), rtol=rtol, atol=atol, equal_nan=equal_nan)

    return _fold(operator.and_, jax.tree.leaves(jax.tree.map(close, a, b, is_leaf=is_gap)), True)


def _sum(x: ArrayLike) -> Array:
    dtype = jnp.result_type(x)
    return jnp.sum(x, dtype=widen(dtype) if is_inexact(dtype) else None)


@leafwise("tree_x", "tree_y")
def _inner(tree_x: Tree, tree_y: Tree) -> Tree:
    if jnp.shape(tree_x) != jnp.shape(tree_y):
        raise StructureError(
            f"tree.vdot: leaves of shapes {jnp.shape(tree_x)} and {jnp.shape(tree_y)} meet. They must agree; nothing is broadcast."
        )
    return jnp.vdot(*alike(wide(tree_x), wide(tree_y)), precision="highest")


def _joined(join: Callable[[Array, Array], Array], xs: list[Array]) -> Array:
    """Numbers put together in the widest of their dtypes; 0 if there are none."""
    dtype = promote(jnp.float32, *(x.dtype for x in xs))
    return functools.reduce(join, [x.astype(dtype) for x in xs], jnp.zeros((), dtype))


def _nonempty(tree: Tree) -> list[Any]:
    return [x for x in jax.tree.leaves(tree) if 0 not in jnp.shape(x)]


def _fold(join: Callable[[Value, Value], Value], xs: Sequence[Any], empty: Empty) -> Value | Empty:
    xs = alike(*xs) if any(isinstance(x, jax.Array) for x in xs) else xs
    return functools.reduce(join, xs) if xs else empty
