"""Projections on the simplex and what is made of it."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from gradxform._types import Array, ArrayLike, Tree
from gradxform.projections._vector import on_vector


def projection_simplex(tree: Tree, scale: ArrayLike = 1) -> Tree:
    """The nearest point with non-negative elements that sum to `scale`.

        p = max(x - a, 0)               a such that sum p = scale

    Source   Held et al. 1974, 'Validation of subgradient optimization'; Michelot 1986.
    Differs  the largest element is subtracted first, so that large elements keep their digits; scale may be 0.
    """
    return on_vector(lambda x: _simplex(x, jnp.asarray(scale, x.dtype)), tree)


def projection_l1_sphere(tree: Tree, scale: ArrayLike = 1) -> Tree:
    """The nearest point whose elements' sizes sum to `scale`.

        p = sign(x) projection_simplex(|x|, scale)              sign(0) = 1

    Source   Duchi et al. 2008, 'Efficient projections onto the l1-ball', section 4.
    Differs  sign(0) = 1 keeps p on the sphere; with Optax's 0 the share of a zero is lost.
    """
    return on_vector(lambda x: _l1_sphere(x, jnp.asarray(scale, x.dtype)), tree)


def projection_l1_ball(tree: Tree, scale: ArrayLike = 1) -> Tree:
    """The nearest point whose elements' sizes sum to at most `scale`.

        p = x if sum |x| <= scale, else projection_l1_sphere(x, scale)

    Source   Duchi et al. 2008, 'Efficient projections onto the l1-ball', section 4.
    Differs  as `projection_l1_sphere`.
    """

    def project(x: Array) -> Array:
        radius = jnp.asarray(scale, x.dtype)
        return jax.lax.cond(jnp.sum(jnp.abs(x)) <= radius, lambda x: x, lambda x: _l1_sphere(x, radius), x)

    return on_vector(project, tree)


def _l1_sphere(x: Array, scale: Array) -> Array:
    return jnp.where(x < 0, -1, 1) * _simplex(jnp.abs(x), scale)


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
    shift = (jnp.sum(inside) - scale_dot) / jnp.maximum(jnp.sum(support, dtype=p.dtype), 1)
    return p, jnp.where(support, x_dot - shift, 0)
