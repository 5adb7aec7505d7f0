"""Projections along one direction: spheres, balls, lines and planes."""

from __future__ import annotations

import math
import operator

import jax
import jax.numpy as jnp

from gradxform import tree as trees
from gradxform._types import Array, ArrayLike, Tree
from gradxform.projections._vector import as_wide, like, on_vector
from gradxform.tree._leafwise import once


def projection_l2_sphere(tree: Tree, scale: ArrayLike = 1) -> Tree:
    """The nearest point at distance `scale` from 0.

        p = scale x / |x|               all elements equal if x = 0

    Source   the nearest point.
    Differs  finite at x = 0, where all points of the sphere are as near.
    """

    def project(x: Array) -> Array:
        square = jnp.sum(x * x)
        size = jnp.sqrt(jnp.where(square > 0, square, 1))
        return jnp.where(square > 0, x / size, 1 / math.sqrt(max(x.size, 1))) * scale

    return on_vector(project, tree)


def projection_l2_ball(tree: Tree, scale: ArrayLike = 1) -> Tree:
    """The nearest point at distance at most `scale` from 0.

        p = x if |x| <= scale, else scale x / |x|

    Source   the nearest point.
    Differs  a point inside is returned as it is, bit for bit.
    """

    def project(x: Array) -> Array:
        square = jnp.sum(x * x)
        outside = square > jnp.square(jnp.asarray(scale, x.dtype))
        return jnp.where(outside, x * (scale / jnp.sqrt(jnp.where(outside, square, 1))), x)

    return on_vector(project, tree)


def projection_vector(x: Tree, a: Tree) -> Tree:
    """The nearest point to x on the line through 0 and `a`, a tree like x.

        p = a <a, x> / <a, a>

    Source   the nearest point.
    Differs  0 for a = 0.
    """
    step = _quotient(trees.vdot(a, x), a)
    return jax.tree.map(lambda x, a: like(step * as_wide(a), x), x, a)


def projection_hyperplane(x: Tree, a: Tree, b: ArrayLike) -> Tree:
    """The nearest point to x on the plane <a, p> = b; `a` is a tree like x.

        p = x + a (b - <a, x>) / <a, a>

    Source   the nearest point.
    Differs  x for a = 0.
    """
    return _moved(x, _quotient(b - trees.vdot(a, x), a), a)


def projection_halfspace(x: Tree, a: Tree, b: ArrayLike) -> Tree:
    """The nearest point to x in the half-space <a, p> <= b; `a` is a tree like x.

        p = x + a min(b - <a, x>, 0) / <a, a>

    Source   the nearest point.
    Differs  x for a = 0.
    """
    return _moved(x, _quotient(jnp.minimum(b - trees.vdot(a, x), 0), a), a)


def _quotient(numerator: ArrayLike, a: Tree) -> Array:
    square = trees.norm(a, squared=True)
    return once(operator.truediv, numerator, jnp.where(square > 0, square, 1))


def _moved(x: Tree, step: Array, a: Tree) -> Tree:
    return jax.tree.map(lambda x, a: like(trees.add_scale(as_wide(x), step, as_wide(a)), x), x, a)
