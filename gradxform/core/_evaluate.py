"""The parameters to evaluate with, where those that are stored stand elsewhere: ahead of the iterate, or beside an average.

A rule (`evaluate=`) or a `Spec` (`eval_params`) declares them. Both get `after`, a function of trees: what the later members of the
chain made of an update in the last step. A trace with Nesterov's look-ahead moved the parameters by after(decay * trace) beyond
the iterate. That is known only if the later members are linear in the update; asked of others, `after` raises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradxform._errors import GradxformError, StructureError
from gradxform.core._holes import flatten, is_array

After = Callable[[Any], Any]


def evaluated(tx: Any, state: Any, params: Any, after: After) -> Any:
    """The parameters to evaluate with by what `tx` declares; `params` themselves where it declares nothing."""
    declared = getattr(tx.update, "eval_params", None)
    return params if declared is None else declared(state, params, after)


def preceded(tx: Any, state: Any, after: After) -> After:
    """`after` for what comes before `tx`: first tx, and then what came after it."""
    return lambda updates: after(_scaled(tx, state, updates))


def _scaled(tx: Any, state: Any, updates: Any) -> Any:
    """What `tx`, which must be linear and without a memory but for clocks, made of these updates in its last step."""
    leaves, treedef = flatten(updates)
    present = [i for i, x in enumerate(leaves) if is_array(x)]

    def at(xs: list[Any]) -> list[Any]:
        full = list(leaves)
        for i, x in zip(present, xs, strict=True):
            full[i] = x
        scaled = treedef.flatten_up_to(tx.update(treedef.unflatten(full), before)[0])
        return [scaled[i] for i in present]

    xs = [jnp.asarray(leaves[i]) for i in present]
    before = jax.tree_util.tree_map_with_path(lambda path, x: _last(tx, path, x), state)
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


def _last(tx: Any, path: Any, x: Any) -> Any:
    """A clock as it stood before the last update."""
    if getattr(path[-1] if path else None, "name", None) != "count":
        raise _unknown(tx, f"its state keeps {jax.tree_util.keystr(path)}")
    return jnp.maximum(x - 1, 0)


def _unknown(tx: Any, reason: str) -> StructureError:
    return StructureError(
        f"eval_params: {tx!r:.200} comes after a look-ahead such as Nesterov's, but does more than scale the updates ({reason}). The "
        "parameters to evaluate with do not follow from the state. Put it before the momentum, or evaluate with the parameters as they are."
    )
