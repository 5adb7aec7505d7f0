"""The clocks in a state, set to a step: what `resume_at` asks of every transformation.

A `Spec` answers by `resumed(state, step, only_schedules)`: the state with its own clocks as after `step` updates (of those, only what a
schedule reads, if so asked), and how many updates its parts have made by then: one number, or one for each part.
"""

from __future__ import annotations

from collections.abc import Iterable

import jax
import jax.core
import jax.numpy as jnp

from gradxform._errors import StructureError
from gradxform._types import Array, OptState, Tree
from gradxform.core._hyper import is_schedule

Step = Array | int
InnerStep = Step | tuple[Step, ...]
"""The updates of what is inside, where they differ those of each part."""
CLOCKS = ("count", "step")
SCHEDULED = ("ScaleByScheduleState", "WrappedScheduleState")


def like_before(new: Tree, old: Tree) -> Tree:
    """A number in the dtype and on the devices of the one that it replaces; a tree as it is."""
    if hasattr(new, "_fields"):
        return type(old)(*map(like_before, new, old))
    return jnp.full_like(old, new) if hasattr(old, "dtype") and jnp.shape(new) == () else new


def at_step(state: OptState, **fields: Array | int) -> OptState:
    """The state with these fields, in the dtype and on the devices where they are."""
    return state._replace(**{name: jnp.full_like(getattr(state, name), value) for name, value in fields.items()})


def check_complete(name: str, step: Array | int, begun: Array | int) -> None:
    """Raise if `step` updates end within a round."""
    if not isinstance(begun, jax.core.Tracer) and begun != 0:
        raise StructureError(
            f"resume_at: {step} updates end within a round of {name}, and what it holds then is not known. Give a number of updates after "
            f"which a round is complete, such as {step - int(begun)}: with rounds of k, k times that of the inner updates."
        )


def resumed_by_name(
    state: OptState, step: Array | int, only_schedules: bool, arguments: Iterable[object] = ()
) -> tuple[OptState, Array | int]:
    """The fields that are named as clocks are; also of a transformation of another library."""
    schedules = getattr(state, "hyperparams_states", None)
    if schedules is not None:  # Optax's `inject_hyperparams`
        counted = {
            name: at_step(x, count=step) if getattr(x, "_fields", None) == ("count",) else x for name, x in schedules.items()
        }
        return at_step(state, count=step)._replace(hyperparams_states=counted), step
    if only_schedules and type(state).__name__ not in SCHEDULED and not any(is_schedule(x) for x in arguments):
        return state, step
    fields = getattr(state, "_fields", ())
    judging = "plateau_count" in fields  # Optax's `reduce_on_plateau`: its count is that of the values in a mean
    found = [f for f in CLOCKS if f in fields and hasattr(getattr(state, f), "dtype") and not judging]
    return (at_step(state, **dict.fromkeys(found, step)) if found else state), step
