"""Gradient centralization."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform.core import per_leaf
from gradxform.registry import transform


@transform(source="Yong et al. 2020, arXiv:2004.01461", homogeneity=1)
@per_leaf()
def centralize(g, s, p, c):
    """Take from each row of an update its mean.

        u = g - mean(g)                         over all axes but the first; leaves with fewer than two axes pass

    >>> tx = gx.chain(gx.centralize(), gx.sgd(0.1))

    State    EmptyState(). Memory: none.
    Units    those of g.
    Shapes   any; the first axis counts what is kept apart, as output features do in weights of shape (outputs, inputs).
    Sharded  inside `shard_map` what is taken along an axis is taken along the device's own part of it; under `jit` along the whole
             axis.
    Source   Yong et al. 2020, arXiv:2004.01461, equation 1.
    Differs  no, from Optax. For weights of shape (inputs, outputs) the paper's mean runs over the other axis: transpose around it.
    """
    if g.ndim < 2:
        return g, s
    return g - jnp.mean(g, axis=tuple(range(1, g.ndim)), keepdims=True), s
