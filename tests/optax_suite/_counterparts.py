"""Private functions of Optax that its tests call, in terms of ours of the same meaning."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax

from gradxform.core._roles import role_for
from gradxform.optimizers._lbfgs import _two_loop


def _precondition_by_lbfgs(
    updates: Any, diff_params_memory: Any, diff_updates_memory: Any, weights_memory: Any, identity_scale: Any, memory_idx: Any
) -> Any:
    """The product of L-BFGS's inverse Hessian and the updates."""
    leaves, treedef = jax.tree.flatten(updates)
    rings = jax.tree.leaves(diff_params_memory), jax.tree.leaves(diff_updates_memory)
    return treedef.unflatten(_two_loop(leaves, *rings, weights_memory, identity_scale, memory_idx))


def _compute_muon_reshape(x: jax.Array, dim_nums: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Functions from an array to (batch, rows, columns), and back."""
    axes = role_for("muon", x.shape, dim_nums)
    batch = tuple(x.shape[a] for a in axes.batch)
    whole = (math.prod(batch), *axes.sizes(x.shape))
    return lambda x: axes.matrix(x).reshape(whole), lambda m: axes.array(m.reshape(*batch, *axes.sizes(x.shape)), x.shape)


COUNTERPARTS = {f.__name__: f for f in (_precondition_by_lbfgs, _compute_muon_reshape)}
