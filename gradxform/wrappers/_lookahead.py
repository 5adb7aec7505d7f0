"""Lookahead: fast parameters that explore, slow ones that follow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradxform._errors import MissingArgumentError, StructureError
from gradxform._numerics import round_to, widen
from gradxform._types import Count, Params, Shared, Unit, check_arguments, parameters_of
from gradxform.core import GradientTransformation, GradientTransformationExtraArgs
from gradxform.core._chain import check_transformation
from gradxform.core._clocks import at_step
from gradxform.core._evaluate import After
from gradxform.core._holes import on_the_mesh_of
from gradxform.core._run import Trees
from gradxform.core._transformation import Spec, extra_args_for, transformation
from gradxform.tree._params import is_stand_in
from gradxform.wrappers._conditional import as_before


class LookaheadState(NamedTuple):
    """The state of the fast optimizer, and its updates since the last synchronization."""

    fast_state: Any
    steps_since_sync: Shared


class LookaheadParams(NamedTuple):
    """Fast parameters, to take gradients at, and slow ones, to evaluate with."""

    fast: Params
    slow: Params

    @classmethod
    def init_synced(cls, params: Params) -> LookaheadParams:
        """Fast and slow parameters that are the same."""
        return cls(fast=params, slow=params)


class Lookahead(Spec):
    """The update of `lookahead`."""

    def __init__(self, fast_optimizer: Any, sync_period: int, slow_step_size: Any, reset_state: bool):
        self.fast_optimizer, self.sync_period = fast_optimizer, sync_period
        self.slow_step_size, self.reset_state = slow_step_size, reset_state

    def name(self) -> str:
        return "lookahead"

    def arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        args = (self.fast_optimizer, self.sync_period, self.slow_step_size)
        return args, {"reset_state": True} if self.reset_state else {}

    def init(self, params: Any) -> LookaheadState:
        fast = params if is_stand_in(params) else getattr(params, "fast", params)
        return on_the_mesh_of(fast, LookaheadState(self.fast_optimizer.init(fast), jnp.zeros([], jnp.int32)))

    def __call__(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        if params is None:
            raise MissingArgumentError(
                "lookahead: needs the parameters, but `params` is None. Call `update(updates, state, params)` with `LookaheadParams`."
            )
        if not (hasattr(params, "fast") and hasattr(params, "slow")):
            raise StructureError(
                f"lookahead: `params` should be LookaheadParams(fast, slow), but is {params!r:.200}. Begin with "
                "`LookaheadParams.init_synced(params)`, and take gradients at `params.fast`."
            )
        tx = self.fast_optimizer
        u, fast_state = tx.update(updates, state.fast_state, params.fast, **extra_args_for(tx.update, extra))
        sync = state.steps_since_sync >= self.sync_period - 1
        if self.reset_state:
            xs, treedef = jax.tree.flatten(fast_state)
            fresh = zip(xs, jax.tree.leaves(tx.init(params.fast)), strict=True)
            fast_state = treedef.unflatten([jnp.where(sync, as_before(new, x), x) for x, new in fresh])
        steps = jnp.where(sync, 0, state.steps_since_sync + 1)
        return self._both(u, params, sync), state._replace(fast_state=fast_state, steps_since_sync=steps)

    def _both(self, updates: Any, params: Any, sync: Any) -> Any:
        trees = Trees("lookahead", updates)
        fast, slow = list(trees.leaves), list(trees.leaves)
        fs, ss = trees.like("`params.fast`", params.fast), trees.like("`params.slow`", params.slow)
        for i in trees.present:
            fast[i], slow[i] = _synced(trees.leaves[i], fs[i], ss[i], sync, self.slow_step_size)
        return params._replace(fast=trees.together(fast), slow=trees.together(slow))

    def resumed(self, state: Any, step: Any, only_schedules: bool) -> tuple[Any, Any]:
        since = step % self.sync_period
        return (state if only_schedules else at_step(state, steps_since_sync=since)), since if self.reset_state else step

    def eval_params(self, state: Any, params: Any, after: After) -> Any:
        del state, after
        return getattr(params, "slow", params)


@jax.jit
def _synced(u: Any, fast: Any, slow: Any, sync: Any, step: Any) -> tuple[Any, Any]:
    """The updates of fast and slow at one leaf."""
    u, fast, slow = map(jnp.asarray, (u, fast, slow))
    wide = widen(jnp.result_type(u, fast, slow))
    ahead = fast.astype(wide) + u.astype(wide) - slow.astype(wide)
    back = u - (1 - step) * ahead
    return jnp.where(sync, round_to(back.astype(wide), u.dtype), u), jnp.where(sync, round_to(step * ahead, u.dtype), 0)


def lookahead(
    fast_optimizer: GradientTransformation, sync_period: Count, slow_step_size: Unit, reset_state: bool = False
) -> GradientTransformationExtraArgs:
    """Let fast parameters go k steps ahead, move the slow ones a part of the way, and begin again from there.

        fast = fast + u                                    every step, u from fast_optimizer
        slow = slow + slow_step_size (fast - slow)         then, at every sync_period-th
        fast = slow

    The parameters are `LookaheadParams(fast, slow)`, and so are the updates. Gradients belong to `params.fast`, evaluation to
    `params.slow`, which `eval_params` returns. Apply the updates as they are.

    Args:
      fast_optimizer: makes the fast steps. It gets the fast parameters, and the extra arguments.
      sync_period: fast steps from one synchronization to the next.
      slow_step_size: how far the slow parameters move towards the fast ones.
      reset_state: begin each time with a fresh state of fast_optimizer.

    State    LookaheadState(fast_state, steps_since_sync). Memory: that of fast_optimizer; the slow parameters are the caller's.
    Units    u has those of the parameters.
    Shapes   any, scalars and complex included.
    Source   Zhang et al. 2019, arXiv:1907.08610, Algorithm 1.
    Differs  extra arguments reach fast_optimizer (Optax drops them in a chain); a state of flags, keys or NaN can be reset; `init` with
             plain parameters is allowed without a warning.
    Raises   HyperparameterError: sync_period < 1, slow_step_size outside [0, 1]. StructureError: params is no LookaheadParams.
             MissingArgumentError: no params.
    """
    check_transformation(fast_optimizer, "lookahead")
    given = {"sync_period": sync_period, "slow_step_size": slow_step_size}
    check_arguments("lookahead", parameters_of(lookahead), given)
    return transformation(Lookahead(fast_optimizer, sync_period, slow_step_size, reset_state))
