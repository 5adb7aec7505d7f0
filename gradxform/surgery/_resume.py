"""`resume_at`: every clock in a state, set at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from gradxform._errors import HyperparameterError
from gradxform._numerics import INT32_MAX
from gradxform._parameters import check_arguments, parameters_of
from gradxform._types import Array, ArrayLike, OptState
from gradxform.core import GradientTransformation
from gradxform.core._parts import Known, Part, joined, parts_of
from gradxform.core._transformation import check_transformation

CLOCKS = ("count", "step")
SCHEDULED = ("ScaleByScheduleState", "WrappedScheduleState")


def _at_step(state: OptState, names: Iterable[str], step: Array | int) -> OptState:
    """The state with these fields at a step, in the dtype and on the devices where they are."""
    return state._replace(**{name: jnp.full_like(getattr(state, name), step) for name in names})


def _resumed_by_name(state: OptState, step: Array | int, only_schedules: bool) -> tuple[OptState, Array | int]:
    """The state of a transformation that says nothing of itself, one of another library, by the names of its fields and classes."""
    schedules = getattr(state, "hyperparams_states", None)
    if schedules is not None:  # Optax's `inject_hyperparams`
        counted = {
            n: _at_step(x, ["count"], step) if getattr(x, "_fields", None) == ("count",) else x for n, x in schedules.items()
        }
        return _at_step(state, ["count"], step)._replace(hyperparams_states=counted), step
    fields = getattr(state, "_fields", ())
    judging = "plateau_count" in fields  # Optax's `reduce_on_plateau`: its count is that of the values in a mean
    if judging or (only_schedules and type(state).__name__ not in SCHEDULED):
        return state, step
    found = [f for f in CLOCKS if f in fields and hasattr(getattr(state, f), "dtype")]
    return (_at_step(state, found, step) if found else state), step


def _resumed(tx: Known, state: OptState, step: Array | int, only_schedules: bool) -> OptState:
    own = getattr(getattr(tx, "update", None), "resumed", _resumed_by_name)
    state, inner_step = own(state, step, only_schedules)
    parts = parts_of(tx, state)
    steps = inner_step if isinstance(inner_step, tuple) else [inner_step] * len(parts)
    new = [Part(p.label, p.tx, _resumed(p.tx, p.state, n, only_schedules)) for p, n in zip(parts, steps, strict=True)]
    return joined(tx, state, new)[1] if parts else state


def _as_step(step: ArrayLike) -> Array | int:
    """A number of updates, checked to be one that a clock can show. One that is traced is taken at its word."""
    if isinstance(step, jax.core.Tracer):
        return step.astype(jnp.int32)
    x = np.asarray(step, np.float64 if jnp.issubdtype(getattr(step, "dtype", int), jnp.floating) else None)
    whole = x.dtype.kind in "iuf" and bool(np.all((x == np.rint(x)) & (x >= 0) & (x <= INT32_MAX)))
    if not whole:
        raise HyperparameterError(
            f"resume_at: `step` must be a whole number in [0, {INT32_MAX}], the updates that are complete, but got {step!r:.100}."
        )
    return int(x) if x.ndim == 0 else jnp.asarray(x, jnp.int32)


def resume_at(
    tx: GradientTransformation, state: OptState, step: int | jax.Array, *, clocks: Literal["all", "schedules"] = "all"
) -> OptState:
    """The state with every clock as it is after `step` updates; nothing else is changed.

        state = resume_at(tx, state, 1000)                                      # the next update is the 1001st
        state = resume_at(tx, tx.init(params), 1000, clocks="schedules")        # nothing but the parameters was saved

    A schedule's value at step n is schedule(n): the value that the update after n completed ones uses, the first schedule(0). After
    `resume_at(tx, state, n)` the next update uses schedule(n), and `get_hyperparams` reads schedule(n - 1), as after n updates.

    `step` counts the calls of `update`. Under `accumulate(inner, k)` the inner clocks count every k-th: give k times the inner updates.

    Args:
      tx: the transformation; of one of another library the state's fields named `count` and `step` are set.
      state: its state, from `init` or a checkpoint.
      step: the number of completed updates, which may be traced.
      clocks: "all", or "schedules": only those that a schedule reads. The debiasing of fresh moments (Adam's `count`) must begin
        at 0: where the moments are lost, choose "schedules". A clock that serves both is set.

    >>> tx = gx.adam(gx.cosine_decay_schedule(1e-3, 1000))
    >>> state = gx.resume_at(tx, tx.init(params), 500)
    >>> int(state[0].count)
    500

    Returns:
      The state, of the same structure, shapes and dtypes.

    Source   optax #1036.
    Raises   HyperparameterError: step is not a whole number in [0, 2^31 - 1] (2.0 is one), or `clocks` is something else. StructureError:
             state is not one of tx, the step ends within a round of `accumulate` or `sam`, or clocks depend on more than the step.
    """
    check_transformation(tx, "resume_at")
    check_arguments("resume_at", parameters_of(resume_at), {"clocks": clocks})
    return _resumed(tx, state, _as_step(step), clocks == "schedules")
