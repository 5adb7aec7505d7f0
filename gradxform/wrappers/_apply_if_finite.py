"""Skipping updates that are not finite."""

from __future__ import annotations

import functools
from typing import Annotated, NamedTuple

import jax.numpy as jnp

from gradxform._numerics import result_dtype
from gradxform._types import Field, Inner, Shared
from gradxform.core import GradientTransformation, wrapper
from gradxform.core._update_if import update_if
from gradxform.numerics import safe_increment
from gradxform.registry import transform
from gradxform.transforms import scale

Number = Annotated[Shared, Field(first=lambda: jnp.zeros([], jnp.int32), constant=True)]


class ApplyIfFiniteState(NamedTuple):
    """Counts of non-finite updates, in a row and in all, whether the last was finite, and the inner state."""

    notfinite_count: Number
    last_finite: Annotated[Shared, Field(first=lambda: True, constant=True)]
    total_notfinite: Number
    inner_state: Inner


@transform(source="Optax", example={"inner": scale(-1.0), "max_consecutive_errors": 2})
@wrapper(ApplyIfFiniteState)
def apply_if_finite(g, s, p, c, inner: GradientTransformation, max_consecutive_errors: int):
    """Update only if every element of the updates is finite; otherwise do nothing, and count.

        u, s = inner(g, s)                      if all of g is finite, or notfinite_count > max_consecutive_errors
        u, s = 0, s                             otherwise

    notfinite_count is the number of updates in a row that were not finite, this one included. Once it exceeds the limit the wrapper has
    given up: it lets every update through, and goes on counting, until a finite one sets the count back.

    Args:
      inner: the transformation that updates where all is finite.
      max_consecutive_errors: the number of updates in a row that are refused before all are let through.

    >>> tx = gx.apply_if_finite(gx.adam(1e-3), max_consecutive_errors=5)

    State    ApplyIfFiniteState(notfinite_count, last_finite, total_notfinite, inner_state). Memory: that of inner.
    Units    those of inner.
    Shapes   any.
    Sharded  inside `shard_map` a device looks at its own parts only, and may skip an update that others take; under `jit` at all.
    Source   Optax.
    Differs  masked and absent leaves are allowed. The count after giving up is that of Optax 0.2.8; a proposal there (#1746) would begin
             again at 0, and reject the next updates though the parameters are lost.
    Raises   StructureError: inner is not a transformation.
    """
    finite = functools.reduce(jnp.logical_and, [jnp.all(jnp.isfinite(x)) for x in c.trees.arrays], jnp.asarray(True))
    errors = jnp.where(finite, 0, safe_increment(s.notfinite_count))
    total = jnp.where(finite, s.total_notfinite, safe_increment(s.total_notfinite))
    dtype = result_dtype(errors, max_consecutive_errors)  # infinity is a limit too
    accepted = finite | (errors.astype(dtype) > jnp.asarray(max_consecutive_errors, dtype))
    u, inner_state = update_if(accepted, inner, g, s.inner_state, p)
    return u, s._replace(notfinite_count=errors, last_finite=finite, total_notfinite=total, inner_state=inner_state)
