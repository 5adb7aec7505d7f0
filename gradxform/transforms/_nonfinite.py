"""Updates that are not numbers."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import jax.numpy as jnp

from gradxform._types import Axes, Field, Updates
from gradxform.core import per_leaf
from gradxform.registry import transform


class ZeroNansState(NamedTuple):
    """For each leaf, whether its last update had a NaN."""

    found_nan: Annotated[Updates, Field(first=lambda: jnp.zeros([], bool), axes=Axes(), constant=True)]


@transform(source="Optax", homogeneity=1)
@per_leaf(ZeroNansState)
def zero_nans(g, s, p, c):
    """Replace NaN by zero.

        u = 0 where g is NaN, g elsewhere

    >>> tx = gx.chain(gx.zero_nans(), gx.adam(1e-3))

    State    found_nan: one flag per leaf. Memory: none.
    Units    those of g.
    Shapes   any, scalars and complex included.
    Sharded  inside `shard_map` as unsharded; what the state says of a leaf, it says of the device's own part.
    Source   Optax.
    Differs  no.
    """
    nan = jnp.isnan(g)
    return jnp.where(nan, 0, g), s._replace(found_nan=jnp.any(nan))
