"""The sign of updates."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform.core import elementwise
from gradxform.registry import transform


@transform(source="Bernstein et al. 2018, arXiv:1802.04434", homogeneity=0)
@elementwise()
def scale_by_sign(g, s, p, c):
    """Keep only the sign of each element.

        u = sign(g)                             complex: g / |g|

    >>> gx.scale_by_sign().update(jnp.array([2.0, 0.0, -3.0]), gx.EmptyState())[0]
    Array([ 1.,  0., -1.], dtype=float32)

    State    EmptyState(). Memory: none.
    Units    u is dimensionless.
    Shapes   any, scalars and complex included.
    Source   Bernstein et al. 2018, arXiv:1802.04434, Algorithm 1.
    Differs  no.
    """
    return jnp.sign(g), s
