"""Updates that are transformed, or let through, only where a condition holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.core
import jax.numpy as jnp
import numpy as np

from gradxform._errors import StructureError
from gradxform._numerics import increment
from gradxform._types import ConditionFn, Shared
from gradxform.core import GradientTransformation, GradientTransformationExtraArgs
from gradxform.core._chain import check_transformation
from gradxform.core._clocks import at_step
from gradxform.core._evaluate import After, evaluated
from gradxform.core._holes import on_the_mesh_of
from gradxform.core._transformation import Spec, transformation
from gradxform.optimizers import adam
from gradxform.registry import transform
from gradxform.schedules import piecewise_constant_schedule
from gradxform.wrappers._conditional import update_if


class ConditionallyTransformState(NamedTuple):
    """The inner state, and how often `update` was called."""

    inner_state: Any
    step: Shared


class ConditionallyMaskState(NamedTuple):
    """How often `update` was called, and the inner state."""

    step: Shared
    inner_state: Any


class Conditionally(Spec):
    """The update of `conditionally_transform` and `conditionally_mask`."""

    def __init__(self, state: type, inner: Any, should_transform_fn: ConditionFn, forward_extra_args: bool):
        self.state, self.inner = state, inner
        self.should_transform_fn, self.forward_extra_args = should_transform_fn, forward_extra_args
        self.wide_updates = getattr(inner.update, "wide_updates", False)

    def name(self) -> str:
        return "conditionally_mask" if self.state is ConditionallyMaskState else "conditionally_transform"

    def arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        return (self.inner, self.should_transform_fn), {"forward_extra_args": True} if self.forward_extra_args else {}

    def init(self, params: Any) -> Any:
        return on_the_mesh_of(params, self.state(step=jnp.zeros([], jnp.int32), inner_state=self.inner.init(params)))

    def __call__(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        wanted = self.should_transform_fn(state.step, **(extra if self.forward_extra_args else {}))
        wanted = as_condition(wanted, f"{self.name()}: `should_transform_fn`")
        unchanged = self.state is ConditionallyTransformState
        u, inner = update_if(wanted, self.inner, updates, state.inner_state, params, extra, unchanged=unchanged)
        return u, state._replace(step=increment(state.step), inner_state=inner)

    def resumed(self, state: Any, step: Any, only_schedules: bool) -> tuple[Any, Any]:
        if self.forward_extra_args or isinstance(step, jax.core.Tracer):
            raise StructureError(
                f"resume_at: how often the condition of {self.name()} has held by step {step} is not known. Carry the state."
            )
        held = sum(bool(self.should_transform_fn(jnp.asarray(i, jnp.int32))) for i in range(int(step)))
        return at_step(state, step=step), held

    def eval_params(self, state: Any, params: Any, after: After) -> Any:
        return evaluated(self.inner, state.inner_state, params, after)


def as_condition(x: Any, owner: str) -> Any:
    """A scalar flag or number as a boolean."""
    if np.shape(x) != () or (not hasattr(x, "dtype") and not isinstance(x, (bool, int, float))):
        raise StructureError(f"{owner} must return a boolean scalar, but returned {x!r:.200}.")
    return x.astype(bool) if isinstance(x, jax.core.Tracer) else bool(x)


_EXAMPLE = {"inner": adam(1e-3), "should_transform_fn": piecewise_constant_schedule(1.0, {1: 0.0})}


@transform(source="Optax", example=_EXAMPLE)
def conditionally_transform(
    inner: GradientTransformation, should_transform_fn: ConditionFn, forward_extra_args: bool = False
) -> GradientTransformationExtraArgs:
    """Transform the updates if a condition holds; otherwise pass them on as they are.

        u, s = inner(g, s)        if should_transform_fn(step)
        u, s = g, s               otherwise

    Args:
      inner: the transformation; executed only where the condition holds.
      should_transform_fn: (number of updates before this one) -> whether to transform: a scalar flag, or a number that is 0 where not.
      forward_extra_args: whether the condition gets the extra arguments as well. `inner` always does.

    State    ConditionallyTransformState(inner_state, step). Memory: that of inner.
    Units    those of inner, or of g.
    Shapes   any.
    Source   Optax.
    Differs  without jit nothing is compiled for the choice.
    Raises   StructureError: inner is not a transformation, or the condition is not a scalar.
    """
    check_transformation(inner, "conditionally_transform")
    return transformation(Conditionally(ConditionallyTransformState, inner, should_transform_fn, forward_extra_args))


@transform(source="Optax", example=_EXAMPLE)
def conditionally_mask(
    inner: GradientTransformation, should_transform_fn: ConditionFn, forward_extra_args: bool = False
) -> GradientTransformationExtraArgs:
    """Transform the updates if a condition holds; otherwise set them to zero.

        u, s = inner(g, s)        if should_transform_fn(step)
        u, s = 0, s               otherwise

    Args:
      inner: the transformation; executed only where the condition holds.
      should_transform_fn: (number of updates before this one) -> whether to transform: a scalar flag, or a number that is 0 where not.
      forward_extra_args: whether the condition gets the extra arguments as well. `inner` always does.

    State    ConditionallyMaskState(step, inner_state). Memory: that of inner.
    Units    those of inner.
    Shapes   any.
    Source   Optax.
    Differs  without jit nothing is compiled for the choice.
    Raises   StructureError: inner is not a transformation, or the condition is not a scalar.
    """
    check_transformation(inner, "conditionally_mask")
    return transformation(Conditionally(ConditionallyMaskState, inner, should_transform_fn, forward_extra_args))
