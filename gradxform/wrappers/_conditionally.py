"""Updates that are transformed, or let through, only where a condition holds."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from gradxform._errors import StructureError
from gradxform._types import Array, ArrayLike, Clock, ConditionFn, Inner
from gradxform.core import GradientTransformation, wrapper
from gradxform.core._hyper import called
from gradxform.core._update_if import update_if
from gradxform.core._whole import TreeContext
from gradxform.optimizers import adam
from gradxform.registry import transform
from gradxform.schedules import constant_schedule, join_schedules
from gradxform.wrappers._accumulate import repeat


class ConditionallyTransformState(NamedTuple):
    """The inner state, and how often `update` was called."""

    inner_state: Inner
    step: Clock


class ConditionallyMaskState(NamedTuple):
    """How often `update` was called, and the inner state."""

    step: Clock
    inner_state: Inner


def _holds(c: TreeContext, step: Array, should_transform_fn: ConditionFn, forward_extra_args: bool) -> ArrayLike:
    wanted = called(c.stage.name(), "should_transform_fn", should_transform_fn, step, **(c.extra if forward_extra_args else {}))
    return as_condition(wanted, f"{c.stage.name()}: `should_transform_fn`")


def _held(step, should_transform_fn, forward_extra_args):
    """The inner updates after `step` of ours."""
    if forward_extra_args:
        raise StructureError(f"resume_at: how often the condition has held by step {step} is not known. Carry the state.")

    def held(i: ArrayLike) -> ArrayLike:
        wanted = as_condition(should_transform_fn(i), "resume_at: `should_transform_fn`")
        return wanted.astype(jnp.int32) if isinstance(wanted, jax.core.Tracer) else int(bool(wanted))

    return repeat(lambda x: x[0] < step, lambda x: (x[0] + 1, x[1] + held(x[0])), (np.int32(0), np.int32(0)))[1]


def as_condition(x: ArrayLike, owner: str) -> ArrayLike:
    """A scalar flag or number as a boolean."""
    if np.shape(x) != () or (not hasattr(x, "dtype") and not isinstance(x, (bool, int, float))):
        raise StructureError(f"{owner} must return a boolean scalar, but returned {x!r:.200}.")
    return x.astype(bool) if isinstance(x, jax.core.Tracer) else bool(jax.device_get(x))


_ON_OFF_ON = join_schedules([constant_schedule(1.0), constant_schedule(0.0), constant_schedule(1.0)], [1, 3])
_EXAMPLE = {"inner": adam(1e-3), "should_transform_fn": _ON_OFF_ON}


@transform(source="Optax", example=_EXAMPLE)
@wrapper(ConditionallyTransformState, scope="elementwise", inner_steps=_held)
def conditionally_transform(
    g, s, p, c, inner: GradientTransformation, should_transform_fn: ConditionFn, forward_extra_args: bool = False
):  # fmt: skip
    """Transform the updates if a condition holds; otherwise pass them on as they are.

        u, s = inner(g, s)        if should_transform_fn(step)
        u, s = g, s               otherwise

    Args:
      inner: the transformation; executed only where the condition holds.
      should_transform_fn: (number of updates before this one) -> whether to transform: a scalar flag, or a number that is 0 where not.
      forward_extra_args: whether the condition gets the extra arguments as well. `inner` always does.

    >>> tx = gx.conditionally_transform(gx.clip(1.0), lambda step: step < 100)  # clip at first

    State    ConditionallyTransformState(inner_state, step). Memory: that of inner.
    Units    those of inner, or of g.
    Shapes   any.
    Source   Optax.
    Differs  without jit nothing is compiled for the choice.
    Raises   StructureError: inner is not a transformation, or the condition is not a scalar.
    """
    wanted = _holds(c, s.step, should_transform_fn, forward_extra_args)
    u, inner_state = update_if(wanted, inner, g, s.inner_state, p, unchanged=True)
    return u, s._replace(inner_state=inner_state)


@transform(source="Optax", example=_EXAMPLE)
@wrapper(ConditionallyMaskState, scope="elementwise", inner_steps=_held)
def conditionally_mask(
    g, s, p, c, inner: GradientTransformation, should_transform_fn: ConditionFn, forward_extra_args: bool = False
):  # fmt: skip
    """Transform the updates if a condition holds; otherwise set them to zero.

        u, s = inner(g, s)        if should_transform_fn(step)
        u, s = 0, s               otherwise

    Args:
      inner: the transformation; executed only where the condition holds.
      should_transform_fn: (number of updates before this one) -> whether to transform: a scalar flag, or a number that is 0 where not.
      forward_extra_args: whether the condition gets the extra arguments as well. `inner` always does.

    >>> tx = gx.conditionally_mask(gx.adam(1e-3), lambda step: step >= 100)  # zeros at first

    State    ConditionallyMaskState(step, inner_state). Memory: that of inner.
    Units    those of inner.
    Shapes   any.
    Source   Optax.
    Differs  without jit nothing is compiled for the choice.
    Raises   StructureError: inner is not a transformation, or the condition is not a scalar.
    """
    wanted = _holds(c, s.step, should_transform_fn, forward_extra_args)
    u, inner_state = update_if(wanted, inner, g, s.inner_state, p)
    return u, s._replace(inner_state=inner_state)
