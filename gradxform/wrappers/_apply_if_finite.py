"""Skipping updates that are not finite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradxform._numerics import increment
from gradxform._types import Shared
from gradxform.core import GradientTransformation, GradientTransformationExtraArgs
from gradxform.core._chain import check_transformation
from gradxform.core._holes import flatten, is_array, on_the_mesh_of
from gradxform.core._transformation import Spec, extra_args_for, transformation
from gradxform.registry import transform
from gradxform.transforms import scale


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

    def name(self) -> str:
        return "apply_if_finite"

    def arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        return (self.inner, self.max_consecutive_errors), {}

    def init(self, params: Any) -> ApplyIfFiniteState:
        zero = lambda: jnp.zeros([], jnp.int32)
        return on_the_mesh_of(params, ApplyIfFiniteState(zero(), jnp.ones([], bool), zero(), self.inner.init(params)))

    def __call__(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        leaves, treedef = flatten(updates)
        present = [i for i, x in enumerate(leaves) if is_array(x)]
        finite = jnp.asarray(True)
        for i in present:
            finite &= jnp.all(jnp.isfinite(leaves[i]))
        errors = jnp.where(finite, 0, increment(state.notfinite_count))

        def accept(inner_state: Any) -> Any:
            u, inner_state = self.inner.update(updates, inner_state, params, **extra_args_for(self.inner.update, extra))
            us = treedef.flatten_up_to(u)
            return [us[i] for i in present], inner_state

        def reject(inner_state: Any) -> Any:
            return [jnp.zeros_like(leaves[i]) for i in present], inner_state

        us, inner_state = jax.lax.cond(finite | (errors > self.max_consecutive_errors), accept, reject, state.inner_state)
        for i, u in zip(present, us, strict=True):
            leaves[i] = u
        return treedef.unflatten(leaves), state._replace(
            notfinite_count=errors,
            last_finite=finite,
            total_notfinite=jnp.where(finite, state.total_notfinite, increment(state.total_notfinite)),
            inner_state=inner_state,
        )


@transform(source="Optax", example={"inner": scale(-1.0), "max_consecutive_errors": 2})
def apply_if_finite(inner: GradientTransformation, max_consecutive_errors: int) -> GradientTransformationExtraArgs:
    """Update only if every element of the updates is finite; otherwise do nothing, and count.

        u, s = inner(g, s)                      if all of g is finite, or the last max_consecutive_errors updates were rejected
        u, s = 0, s                             otherwise

    State    ApplyIfFiniteState(notfinite_count, last_finite, total_notfinite, inner_state). Memory: that of inner.
    Units    those of inner.
    Shapes   any.
    Source   Optax.
    Differs  masked and absent leaves are allowed.
    Raises   StructureError: inner is not a transformation.
    """
    check_transformation(inner, "apply_if_finite")
    return transformation(ApplyIfFinite(inner, max_consecutive_errors))
