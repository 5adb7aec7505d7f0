"""Clipping: by value, by the norm or root mean square of a leaf, by the norm of the whole tree."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform._numerics import abs_sq, clip_elements, sum_sq
from gradxform._types import Bound
from gradxform.core import elementwise, per_leaf, per_tree
from gradxform.registry import transform


@transform(source="Optax", example={"max_delta": 1.0})
@elementwise()
def clip(g, s, p, c, max_delta: Bound):
    """Clip every element to [-max_delta, max_delta].

        u = min(max(g, -max_delta), max_delta)

    Complex elements keep their phase: u = g min(1, max_delta / |g|).

    Args:
      max_delta: the largest size of an element.

    >>> gx.clip(0.5).update(jnp.array([3.0, -0.2]), gx.EmptyState())[0]
    Array([ 0.5, -0.2], dtype=float32)

    State    EmptyState(). Memory: none.
    Units    those of g.
    Shapes   any.
    Source   Optax.
    Differs  complex updates, which Optax refuses.
    Raises   HyperparameterError: max_delta < 0.
    """
    return clip_elements(g, max_delta), s


@transform(source="Pascanu et al. 2013, arXiv:1211.5063, per leaf", example={"max_norm": 1.0})
@per_leaf()
def clip_by_norm(g, s, p, c, max_norm: Bound):
    """Clip the norm of each leaf's update to max_norm.

        u = g min(1, max_norm / ||g||)

    Args:
      max_norm: the largest norm of each leaf.

    >>> gx.clip_by_norm(1.0).update(jnp.array([3.0, 4.0]), gx.EmptyState())[0]
    Array([0.6, 0.8], dtype=float32)

    State    EmptyState(). Memory: none.
    Units    those of g.
    Shapes   any, complex included; the norm is over the whole leaf.
    Sharded  inside `shard_map` norms and means are over the device's own part of a leaf; under `jit` over the whole leaf.
    Source   Pascanu et al. 2013, arXiv:1211.5063, Algorithm 1, leaf by leaf as Keras's `clipnorm`.
    Differs  Optax has no such transformation.
    Raises   HyperparameterError: max_norm < 0.
    """
    norm = jnp.sqrt(sum_sq(g))
    return g * jnp.where(norm <= max_norm, 1, max_norm / norm), s  # a norm that is no number makes the update none


@transform(source="Shazeer & Stern 2018, arXiv:1804.04235", example={"threshold": 1.0})
@per_leaf()
def clip_by_block_rms(g, s, p, c, threshold: Bound):
    """Clip the root mean square of each leaf's update to a threshold.

        u = g / max(1, rms(g) / threshold)      rms(g) = sqrt(mean |g|^2)

    Args:
      threshold: the largest root mean square of a leaf.

    >>> gx.clip_by_block_rms(1.0).update(jnp.array([3.0, -3.0]), gx.EmptyState())[0]
    Array([ 1., -1.], dtype=float32)

    State    EmptyState(). Memory: none.
    Units    those of g.
    Shapes   any, complex included; the mean is over the whole leaf.
    Sharded  inside `shard_map` norms and means are over the device's own part of a leaf; under `jit` over the whole leaf.
    Source   Shazeer & Stern 2018, arXiv:1804.04235, section 6.
    Differs  no.
    Raises   HyperparameterError: threshold < 0.
    """
    return g / jnp.maximum(1, jnp.sqrt(jnp.mean(abs_sq(g))) / threshold), s


@transform(source="Pascanu et al. 2013, arXiv:1211.5063", example={"max_norm": 1.0})
@per_tree(total=sum_sq)
def clip_by_global_norm(g, s, p, c, max_norm: Bound):
    """Clip the norm of the whole tree of updates to max_norm.

        ||g|| = sqrt(sum over all leaves of |g|^2)
        u     = g min(1, max_norm / ||g||)

    Args:
      max_norm: the largest norm of all leaves together.

    >>> gx.clip_by_global_norm(1.0).update(jnp.array([3.0, 4.0]), gx.EmptyState())[0]
    Array([0.6, 0.8], dtype=float32)

    State    EmptyState(). Memory: none.
    Units    those of g.
    Shapes   any, complex included.
    Sharded  inside `shard_map` sums over the tree are over the device's own parts, and each device goes on with its own; under
             `jit` over all.
    Source   Pascanu et al. 2013, arXiv:1211.5063, Algorithm 1.
    Differs  the norm is summed in float32 or wider: float16 gradients do not overflow to an update of zero.
    Raises   HyperparameterError: max_norm < 0.
    """
    norm = jnp.sqrt(c.total)
    return g * jnp.where(norm <= max_norm, 1, max_norm / norm), s  # a norm that is no number makes the update none
