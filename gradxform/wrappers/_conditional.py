"""An inner update that is made or left out, as a traced condition says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.core
import jax.numpy as jnp

from gradxform._numerics import round_to
from gradxform.core._holes import flatten, is_array
from gradxform.core._transformation import extra_args_for


def update_if(
    wanted: Any,
    inner: Any,
    updates: Any,
    state: Any,
    params: Any,
    extra: Mapping[str, Any],
    branch_free: bool = False,
    unchanged: bool = False,
) -> tuple[Any, Any]:
    """The update and the state of `inner` if `wanted`, else zeros, or the updates `unchanged`, and the state as it was.

    The inner update is executed only if wanted; `branch_free`: always, and then selected. Where `wanted` is known, as it is without
    jit, nothing is compiled for the choice. The new state has the dtypes of the old one.
    """
    leaves, treedef = flatten(updates)
    present = [i for i, x in enumerate(leaves) if is_array(x)]

    def make(state: Any) -> tuple[list[Any], Any]:
        u, new = inner.update(updates, state, params, **extra_args_for(inner.update, extra))
        us = treedef.flatten_up_to(u)
        return [jnp.asarray(us[i]) for i in present], jax.tree.map(as_before, new, state)

    def leave(state: Any) -> tuple[list[Any], Any]:
        made = jax.eval_shape(make, state)[0]  # the dtypes; those of the gradients unless `inner` has wide updates
        keep = lambda x, u: round_to(jnp.asarray(x), u.dtype) if unchanged else jnp.zeros_like(x, dtype=u.dtype)
        return [keep(leaves[i], u) for i, u in zip(present, made, strict=True)], state

    if branch_free:
        us, new = make(state)
        us = [jnp.where(wanted, u, jnp.zeros_like(u)) for u in us]
        state = jax.tree.map(lambda n, o: jnp.where(wanted, n, o), new, state)
    elif isinstance(wanted, jax.core.Tracer):
        us, state = jax.lax.cond(wanted, make, leave, state)
    else:
        us, state = (make if wanted else leave)(state)
    for i, u in zip(present, us, strict=True):
        leaves[i] = u
    return treedef.unflatten(leaves), state


def as_before(new: Any, old: Any) -> Any:
    """A part of a new state in the dtype that it had, for an inner transformation that would let it drift."""
    if getattr(new, "dtype", None) == getattr(old, "dtype", None):
        return new
    return round_to(jnp.asarray(new), jnp.result_type(old))
