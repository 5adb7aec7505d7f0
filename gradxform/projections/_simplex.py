"""Projections on the simplex and what is made of it."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from gradxform import tree as trees
from gradxform._types import Array, ArrayLike, Model, Tree
from gradxform.projections._vector import as_wide, like, number, on_vector, over, radius, real_tree, times


def projection_simplex(tree: Model, scale: ArrayLike = 1) -> Model:
    """The nearest point with non-negative elements that sum to `scale`.

        p = max(x - a, 0)               a such that sum p = scale

    Args:
      tree: the point, a tree of arrays.
      scale: the sum of the elements, a number of at least 0.

    >>> gx.projections.projection_simplex(jnp.array([1.0, 1.0]))
    Array([0.5, 0.5], dtype=float32)

    Source   Held et al. 1974, 'Validation of subgradient optimization'; Michelot 1986.
    Differs  the largest element is subtracted first, so that large elements keep their digits; scale may be 0. Non-negative elements
             have no negative sum: a traced one gives NaN.
    Raises   HyperparameterError: scale < 0. StructureError: scale is not one number, or a leaf is complex.
    """
    size = number("projection_simplex", "scale", radius("projection_simplex", scale))
    p = on_vector(lambda x: _simplex(x, size.astype(x.dtype)), real_tree("projection_simplex", tree))
    return jax.tree.map(like, p, tree)


def projection_l1_sphere(tree: Model, scale: ArrayLike = 1) -> Model:
    """The nearest point whose elements' sizes sum to `scale`.

        p = sign(x) projection_simplex(|x|, scale)              sign(0) = 1; x / |x| if x is complex

    Args:
      tree: the point, a tree of arrays.
      scale: the sum of the elements' sizes, a number of at least 0.

    >>> gx.projections.projection_l1_sphere(jnp.array([0.25, -0.25]))
    Array([ 0.5, -0.5], dtype=float32)

    Source   Duchi et al. 2008, 'Efficient projections onto the l1-ball', section 4.
    Differs  sign(0) = 1 keeps p on the sphere; with Optax's 0 the share of a zero is lost. No sphere has a negative scale; a traced
             one gives NaN.
    Raises   HyperparameterError: scale < 0. StructureError: scale is not one number.
    """
    size = number("projection_l1_sphere", "scale", radius("projection_l1_sphere", scale))
    return _l1_sphere(tree, size)


def projection_l1_ball(tree: Model, scale: ArrayLike = 1) -> Model:
    """The nearest point whose elements' sizes sum to at most `scale`.

        p = x if sum |x| <= scale, else projection_l1_sphere(x, scale)

    Args:
      tree: the point, a tree of arrays.
      scale: the sum of the elements' sizes, a number of at least 0.

    >>> gx.projections.projection_l1_ball(jnp.array([3.0, 0.0]))
    Array([1., 0.], dtype=float32)

    Source   Duchi et al. 2008, 'Efficient projections onto the l1-ball', section 4.
    Differs  as `projection_l1_sphere`.
    Raises   HyperparameterError: scale < 0. StructureError: scale is not one number.
    """
    size = number("projection_l1_ball", "scale", radius("projection_l1_ball", scale))
    inside = lambda tree: jax.tree.map(lambda x: like(as_wide(x), x), tree)
    return jax.lax.cond(trees.norm(tree, ord=1) <= size, inside, lambda tree: _l1_sphere(tree, size), tree)


def _l1_sphere(tree: Tree, size: Array) -> Tree:
    wide = jax.tree.map(as_wide, tree)
    sizes = on_vector(lambda x: _simplex(x, size.astype(x.dtype)), jax.tree.map(jnp.abs, wide))
    return jax.tree.map(lambda w, q, x: like(times(_phase(w), q), x), wide, sizes, tree)


def _phase(x: Array) -> Array:
    """x / |x|; 1 if x = 0."""
    if not jnp.iscomplexobj(x):
        return jnp.where(x < 0, -jnp.ones_like(x), 1)
    x = jnp.where(x == 0, 1, x)
    return over(x, jnp.abs(x))


@jax.custom_jvp
def _simplex(x: Array, scale: Array) -> Array:
    x = x - jnp.max(x)
    k = jnp.arange(1, x.size + 1, dtype=x.dtype)
    u = jnp.flip(jnp.sort(x))
    excess = jnp.cumsum(u) - scale
    count = jnp.maximum(jnp.count_nonzero(k * u > excess), 1)
    return jax.nn.relu(x - excess[count - 1] / count.astype(x.dtype))


@_simplex.defjvp
def _(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    x_dot, scale_dot = tangents
    p = _simplex(*primals)
    support = p > 0
    inside = jnp.where(support, x_dot, 0)
    shift = (jnp.sum(inside) - scale_dot) / jnp.maximum(jnp.count_nonzero(support), 1).astype(p.dtype)
    return p, jnp.where(support, x_dot - shift, 0)
