"""Skipping updates that are not finite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp

from gradxform._numerics import increment
from gradxform._types import Shared
from gradxform.core import GradientTransformation, GradientTransformationExtraArgs
from gradxform.core._chain import check_transformation
from gradxform.core._evaluate import After, evaluated
from gradxform.core._holes import flatten, is_array, on_the_mesh_of
from gradxform.core._transformation import Spec, transformation
from gradxform.registry import transform
from gradxform.transforms import scale
from gradxform.wrappers._conditional import update_if


class ApplyIfFiniteState(NamedTuple):
    """Counts of non-finite updates, in a row and in all, whether the last was finite, and the inner state."""

    notfinite_count: Shared
    last_finite: Shared
    total_notfinite: Shared
    inner_state: Any


class ApplyIfFinite(Spec):
    """The update of `apply_if_finite`."""

    def __init__(self, inner: Any, max_consecutive_errors: int):
        self.inner, self.max_consecutive_errors = inner, max_consecutive_errors
        self.wide_updates = getattr(inner.update, "wide_updates", False)

    def name(self) -> str:
        return "apply_if_finite"

    def arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        return (self.inner, self.max_consecutive_errors), {}

    def init(self, params: Any) -> ApplyIfFiniteState:
        zero = lambda: jnp.zeros([], jnp.int32)
        return on_the_mesh_of(params, ApplyIfFiniteState(zero(), jnp.ones([], bool), zero(), self.inner.init(params)))

    def __call__(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        finite = jnp.asarray(True)
        for x in filter(is_array, flatten(updates)[0]):
            finite &= jnp.all(jnp.isfinite(x))
        errors = jnp.where(finite, 0, increment(state.notfinite_count))
        accepted = finite | (errors > self.max_consecutive_errors)
        u, inner_state = update_if(accepted, self.inner, updates, state.inner_state, params, extra)
        return u, state._replace(
            notfinite_count=errors,
            last_finite=finite,
            total_notfinite=jnp.where(finite, state.total_notfinite, increment(state.total_notfinite)),
            inner_state=inner_state,
        )

    def eval_params(self, state: Any, params: Any, after: After) -> Any:
        return evaluated(self.inner, state.inner_state, params, after)


@transform(source="Optax", example={"inner": scale(-1.0), "max_consecutive_errors": 2})
def apply_if_finite(inner: GradientTransformation, max_consecutive_errors: int) -> GradientTransformationExtraArgs:
    """Update only if every element of the updates is finite; otherwise do nothing, and count.

        u, s = inner(g, s)                      if all of g is finite, or notfinite_count > max_consecutive_errors
        u, s = 0, s                             otherwise

    notfinite_count is the number of updates in a row that were not finite, this one included. Once it exceeds the limit the wrapper has
    given up: it lets every update through, and goes on counting, until a finite one sets the count back.

    State    ApplyIfFiniteState(notfinite_count, last_finite, total_notfinite, inner_state). Memory: that of inner.
    Units    those of inner.
    Shapes   any.
    Source   Optax.
    Differs  masked and absent leaves are allowed. The count after giving up is that of Optax 0.2.8; a proposal there (#1746) would begin
             again at 0, and reject the next updates though the parameters are lost.
    Raises   StructureError: inner is not a transformation.
    """
    check_transformation(inner, "apply_if_finite")
    return transformation(ApplyIfFinite(inner, max_consecutive_errors))
