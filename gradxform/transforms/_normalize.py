"""Normalizing the whole tree of updates."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform._numerics import sum_sq
from gradxform._types import NonNegative, Real
from gradxform.core import EmptyState, per_tree
from gradxform.registry import transform


@transform(source="Optax", homogeneity=0, example={"eps": 1e-30})
@per_tree(total=sum_sq)
def normalize_by_update_norm(g, s, p, c, scale_factor: Real = 1.0, eps: NonNegative = 1e-6):
    """Give the whole tree of updates one norm.

        ||g|| = sqrt(sum over all leaves of |g|^2)
        u     = scale_factor g / (||g|| + eps)

    Args:
      scale_factor: the norm of the result; a number or a schedule.
      eps: added to the divisor, in its units, so that it is never 0.

    >>> u, state = gx.normalize_by_update_norm().update(jnp.array([3.0, 4.0]), gx.EmptyState())
    >>> jnp.round(u, 3)
    Array([0.6, 0.8], dtype=float32)

    State    EmptyState(); with a schedule ScaleByScheduleState(count). Memory: none.
    Units    those of scale_factor: scaling every gradient by k > 0 leaves u unchanged (eps -> 0).
    Shapes   any, scalars and complex included.
    Sharded  inside `shard_map` sums over the tree are over the device's own parts, and each device goes on with its own; under
             `jit` over all.
    Source   normalized gradient descent, Nesterov 1984.
    Differs  from Optax: the norm is summed in float32 or wider, so that float16 gradients do not overflow to an update of zero.
    Raises   HyperparameterError: eps < 0, scale_factor is not a finite number.
    """
    return scale_factor * g / (jnp.sqrt(c.total) + eps), s


NormalizeState = EmptyState


@transform(source="Foret et al. 2021, arXiv:2010.01412, equation 2", homogeneity=0)
@per_tree(total=sum_sq)
def normalize(g, s, p, c):
    """Give the whole tree of updates the norm 1.

        u = g / ||g||                           over all leaves; 0 where g is

    >>> tx = gx.chain(gx.contrib.normalize(), gx.sgd(0.1))

    State    EmptyState(). Memory: none.
    Units    u is dimensionless: scaling every gradient by k > 0 leaves u unchanged.
    Shapes   any, scalars and complex included.
    Sharded  inside `shard_map` sums over the tree are over the device's own parts, and each device goes on with its own; under
             `jit` over all.
    Source   Foret et al. 2021, arXiv:2010.01412, equation 2.
    Differs  zero stays zero, where Optax divides 0 by 0; the norm is summed in float32 or wider.
    """
    norm = jnp.sqrt(c.total)
    return g / jnp.where(norm > 0, norm, 1), s
