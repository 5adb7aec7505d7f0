"""The parameters to evaluate with, where those that are stored stand elsewhere: ahead of the iterate, or beside an average.

A kernel (`evaluate=`) or a `Spec` (`eval_params`) declares them. Both get `after`, a function of trees: what the later members of the
chain made of an update in the last step. A trace with Nesterov's look-ahead moved the parameters by after(decay * trace) beyond
the iterate. That is known only if the later members are linear in the update; asked of others, `after` raises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from gradxform._errors import GradxformError, StructureError
from gradxform._types import Array, OptState, Params, Updates
from gradxform.core._holes import flatten, is_array
from gradxform.core._parts import Known, inner_fields, parts_of, walk
from gradxform.core._transformation import Spec

if TYPE_CHECKING:
    from gradxform.core._transformation import GradientTransformation

After = Callable[[Updates], Updates]


def evaluated(tx: GradientTransformation, state: OptState, params: Params, after: After) -> Params:
    """The parameters to evaluate with by what `tx` declares; `params` themselves where it declares nothing."""
    declared = getattr(tx.update, "eval_params", None)
    return params if declared is None else declared(state, params, after)


def preceded(tx: GradientTransformation, state: OptState, after: After) -> After:
    """`after` for what comes before `tx`: first tx, and then what came after it."""
    return lambda updates: after(_scaled(tx, state, updates))


def _scaled(tx: GradientTransformation, state: OptState, updates: Updates) -> Updates:
    """What `tx`, which must be linear and without a memory but for clocks, made of these updates in its last step."""
    if _passes_on(tx, state, updates):
        return updates
    leaves, treedef = flatten(updates)
    present = [i for i, x in enumerate(leaves) if is_array(x)]

    def at(xs: list[Array]) -> list[Array]:
        full = list(leaves)
        for i, x in zip(present, xs, strict=True):
            full[i] = x
        scaled = treedef.flatten_up_to(tx.update(treedef.unflatten(full), before)[0])
        return [scaled[i] for i in present]

    xs = [jnp.asarray(leaves[i]) for i in present]
    before = walk(lambda labels, part, s: (part, _earlier(tx, part, s), True), tx, state)[1]
    try:
        jax.eval_shape(jax.linear_transpose(at, xs), jax.eval_shape(at, xs))  # raises where `at` is not linear
    except GradxformError as e:
        raise _unknown(tx, str(e)) from e
    except Exception as e:
        raise _unknown(tx, "it is not linear in the updates") from e
    _, slope = jax.jvp(at, ([jnp.zeros_like(x) for x in xs],), (xs,))
    for i, x in zip(present, slope, strict=True):
        leaves[i] = x
    return treedef.unflatten(leaves)


def _passes_on(tx: GradientTransformation, state: OptState, updates: Updates) -> bool:
    """Whether `tx` gives back the very arrays that it got, as what only looks at the updates does, whatever it keeps in its state."""
    same = []

    def look(updates: Updates) -> None:
        pairs = zip(jax.tree.leaves(updates), jax.tree.leaves(tx.update(updates, state)[0]), strict=True)
        same.extend(x is y for x, y in pairs)

    try:
        jax.eval_shape(look, updates)
    except Exception:  # it needs more than the updates: what it makes of them is asked by derivatives, which say what is missing
        return False
    return all(same)


def _earlier(whole: GradientTransformation, tx: Known, state: OptState) -> OptState:
    """A state whose clock stands as before the last update; there must be nothing else of its own in it."""
    layout = getattr(getattr(tx, "update", None), "layout", None)
    if layout is None and isinstance(getattr(tx, "update", None), Spec):  # all that it holds is of its parts
        return state
    if layout is not None:
        record, clock, start = layout.unbox(state), layout.clock, layout.start
        own = [f for f in layout.fields if f not in layout.inner]
    else:  # a transformation of another library
        record, clock, start = state, "count", 0
        own = [f for f in getattr(state, "_fields", ()) if f not in (*inner_fields(state), "inner_states")]
        if not own and not parts_of(tx, state) and jax.tree.leaves(state):
            raise _unknown(whole, f"it keeps {state!r:.200}")
    kept = [f for f in own if f != clock and jax.tree.leaves(getattr(record, f))]
    if kept:
        raise _unknown(whole, f"its state keeps {', '.join(kept)}")
    if clock not in getattr(state, "_fields", ()):
        return state
    return state._replace(**{clock: jnp.maximum(getattr(state, clock) - 1, start)})


def _unknown(tx: GradientTransformation, reason: str) -> StructureError:
    return StructureError(
        f"eval_params: {tx!r:.200} comes after a look-ahead such as Nesterov's, but does more than scale the updates ({reason}). The "
        "parameters to evaluate with do not follow from the state. Put it before the momentum, or evaluate with the parameters as they are."
    )
