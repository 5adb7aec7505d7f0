"""A least size of a leaf's update."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform._numerics import size_along
from gradxform._types import NonNegative
from gradxform.core import per_leaf
from gradxform.registry import transform


@transform(source="modded-nanogpt, optimization track")
@per_leaf(needs=("params",))
def floor_by_param_norm(g, s, p, c, ratio: NonNegative = 0.35):
    """Let no leaf's update be smaller than a part of its parameter.

        u = max(1, ratio ||p|| / ||g||) g       0 where g = 0

    Between the direction and the rate it has weights that have grown move as far as they have grown, in the place of weight decay.

    Args:
      ratio: the least norm of an update, as a part of its parameter's.

    >>> tx = gx.chain(gx.scale_by_adam(), gx.floor_by_param_norm(), gx.scale_by_learning_rate(1e-3))

    State    EmptyState(). Memory: none.
    Units    those of g, and of ratio p, which are to be the same.
    Shapes   any, scalars and complex included; the norms are over the whole leaf.
    Sharded  inside `shard_map` norms and means are over the device's own part of a leaf; under `jit` over the whole leaf.
    Source   modded-nanogpt, optimization track: the floor of update over weight, there 0.35 to 0.3825.
    Differs  Optax has none.
    Raises   MissingArgumentError: no params. HyperparameterError: ratio < 0.
    """
    size, least = size_along(g).reshape(()), ratio * size_along(p).reshape(())
    return jnp.where(size < least, g / jnp.where(size > 0, size, 1) * least, g), s
