"""Projections along one direction: spheres, balls, lines and planes."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from gradxform import tree as trees
from gradxform._numerics import power_of_two
from gradxform._types import Array, ArrayLike, Model, Tree
from gradxform.projections._vector import as_wide, like, number, over, radius, times


def projection_l2_sphere(tree: Model, scale: ArrayLike = 1) -> Model:
    """The nearest point at distance `scale` from 0.

        p = scale x / |x|               all elements equal if x = 0

    Args:
      tree: the point, a tree of arrays.
      scale: the distance from 0, a number of at least 0.

    >>> gx.projections.projection_l2_sphere(jnp.array([0.3, 0.4]))
    Array([0.6, 0.8], dtype=float32)

    Source   the nearest point.
    Differs  finite at x = 0, where all points of the sphere are as near, and where |x|^2 overflows or vanishes. No sphere has a
             negative scale; a traced one gives NaN.
    Raises   HyperparameterError: scale < 0. StructureError: scale is not one number.
    """
    size = number("projection_l2_sphere", "scale", radius("projection_l2_sphere", scale))
    shrunk, norm, _ = _in_its_unit(tree)
    length, even = jnp.where(norm == 0, 1, norm), 1 / math.sqrt(max(trees.size(tree), 1))
    project = lambda w, x: like(times(jnp.where(norm == 0, even, over(w, length)), size), x)
    return jax.tree.map(project, shrunk, tree)


def projection_l2_ball(tree: Model, scale: ArrayLike = 1) -> Model:
    """The nearest point at distance at most `scale` from 0.

        p = x if |x| <= scale, else scale x / |x|

    Args:
      tree: the point, a tree of arrays.
      scale: the distance from 0, a number of at least 0.

    >>> gx.projections.projection_l2_ball(jnp.array([3.0, 4.0]))
    Array([0.6, 0.8], dtype=float32)

    Source   the nearest point.
    Differs  a point inside is returned as it is, bit for bit, and |x|^2 may overflow or vanish. No ball has a negative scale; a
             traced one gives NaN.
    Raises   HyperparameterError: scale < 0. StructureError: scale is not one number.
    """
    size = number("projection_l2_ball", "scale", radius("projection_l2_ball", scale))
    shrunk, norm, unit = _in_its_unit(tree)
    inside = norm <= over(size, unit)
    length, end = jnp.where(inside, 1, norm), jnp.where(inside, 1, size)  # neither 0 nor infinity is in a derivative
    project = lambda w, x: like(jnp.where(inside, as_wide(x), times(over(w, length), end)), x)
    return jax.tree.map(project, shrunk, tree)


def projection_vector(x: Model, a: Tree) -> Model:
    """The nearest point to x on the line through 0 and `a`, a tree like x.

        p = a <a, x> / <a, a>

    Args:
      x: the point, a tree.
      a: the direction, a tree like x.

    >>> gx.projections.projection_vector(jnp.array([2.0, 1.0]), jnp.array([1.0, 0.0]))
    Array([2., 0.], dtype=float32)

    Source   the nearest point.
    Differs  0 for a = 0; the inner products may overflow or vanish.
    """
    to_a, to_x = _unit(a), _unit(x)
    direction = _shrunk(a, to_a)
    step = over(jnp.asarray(trees.vdot(direction, _shrunk(x, to_x))), _square(direction))
    return jax.tree.map(lambda x, a: like(times(trees.scale(step, a), to_x), x), x, direction)


def projection_hyperplane(x: Model, a: Tree, b: ArrayLike) -> Model:
    """The nearest point to x on the plane <a, p> = b; `a` is a tree like x.

        p = x + a (b - <a, x>) / <a, a>

    Args:
      x: the point, a tree.
      a: the direction, a tree like x.
      b: the bound of the inner product, one number.

    >>> gx.projections.projection_hyperplane(jnp.array([2.0, 1.0]), jnp.array([1.0, 0.0]), 0.0)
    Array([0., 1.], dtype=float32)

    Source   the nearest point.
    Differs  x for a = 0; the inner products may overflow or vanish.
    Raises   StructureError: b is not one number.
    """
    return _moved(x, a, number("projection_hyperplane", "b", b), lambda missing: missing)


def projection_halfspace(x: Model, a: Tree, b: ArrayLike) -> Model:
    """The nearest point to x in the half-space <a, p> <= b; `a` is a tree like x.

        p = x + a min(b - <a, x>, 0) / <a, a>           complex trees: the real part of <a, x>

    Args:
      x: the point, a tree.
      a: the direction, a tree like x.
      b: the bound of the inner product, one number.

    >>> gx.projections.projection_halfspace(jnp.array([2.0, 1.0]), jnp.array([1.0, 0.0]), 1.0)
    Array([1., 1.], dtype=float32)

    Source   the nearest point.
    Differs  x for a = 0; the inner products may overflow or vanish; complex trees, which Optax refuses.
    Raises   StructureError: b is not one number.
    """
    return _moved(x, a, number("projection_halfspace", "b", b), lambda missing: jnp.minimum(missing.real, 0))


def _in_its_unit(tree: Tree) -> tuple[Tree, Array, Array]:
    """The tree in its unit, the norm of that, with derivative 0 at 0, and the unit."""
    unit = _unit(tree)
    shrunk = _shrunk(tree, unit)
    zero = jax.lax.stop_gradient(trees.norm(shrunk, squared=True)) == 0
    return shrunk, jnp.where(zero, 0, trees.norm(jax.tree.map(lambda x: jnp.where(zero, 1, x), shrunk))), unit


def _unit(tree: Tree) -> Array:
    """What to divide all leaves by, so that their squares neither overflow nor vanish."""
    return power_of_two(trees.norm(tree, ord="inf"))


def _shrunk(tree: Tree, unit: Array) -> Tree:
    return jax.tree.map(lambda x: over(as_wide(x), unit), tree)


def _square(a: Tree) -> Array:
    square = trees.norm(a, squared=True)
    return jnp.where(square > 0, square, 1)


def _moved(x: Tree, a: Tree, b: Array, amount: Callable[[Array], Array]) -> Tree:
    """x + a amount(b - <a, x>) / <a, a>, computed with x and a in units of their own."""
    to_a = _unit(a)
    direction, b = _shrunk(a, to_a), over(b, to_a)
    to_x = jnp.maximum(_unit(x), power_of_two(jnp.abs(b)))
    missing = trees.sub(over(b, to_x), trees.vdot(direction, _shrunk(x, to_x)))
    step = over(amount(missing), _square(direction))
    return jax.tree.map(lambda x, a: like(trees.add(as_wide(x), times(trees.scale(step, a), to_x)), x), x, direction)
