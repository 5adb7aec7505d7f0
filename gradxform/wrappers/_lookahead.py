"""Lookahead: fast parameters that explore, slow ones that follow."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp

from gradxform._errors import StructureError
from gradxform._types import Array, Count, Field, Inner, OptState, Params, Real, Shared
from gradxform.core import GradientTransformation, wrapper
from gradxform.core._hyper import at_rank
from gradxform.core._placement import chosen
from gradxform.core._whole import as_before


class LookaheadParams(NamedTuple):
    """Fast parameters, to take gradients at, and slow ones, to evaluate with."""

    fast: Params
    slow: Params

    @classmethod
    def init_synced(cls, params: Params) -> LookaheadParams:
        """Fast and slow parameters that are the same."""
        return cls(fast=params, slow=params)


def _first(fast_optimizer: GradientTransformation, params: Params) -> OptState:
    return fast_optimizer.init(getattr(params, "fast", params))


class LookaheadState(NamedTuple):
    """The state of the fast optimizer, and its updates since the last synchronization."""

    fast_state: Annotated[Inner, Field(first=_first)]
    steps_since_sync: Annotated[
        Shared, Field(first=lambda: jnp.zeros([], jnp.int32), at=lambda step, sync_period: step % sync_period)
    ]


def _inner_steps(step, sync_period, reset_state):
    return step % sync_period if reset_state else step


def _slow(params, s):
    return getattr(params, "slow", params)


def _synced(u: Array, fast: Array, slow: Array, sync: Array, step: Array) -> tuple[Array, Array]:
    """The updates of fast and slow at one leaf."""
    ahead, step = fast + u - slow, at_rank(jnp.asarray(step), fast.ndim)
    return jnp.where(sync, u - (1 - step) * ahead, u), jnp.where(sync, step * ahead, 0)


@wrapper(LookaheadState, scope="elementwise", needs=("params",), evaluate=_slow, inner_steps=_inner_steps)
def lookahead(
    g, s, p, c, fast_optimizer: GradientTransformation, sync_period: Count, slow_step_size: Real, reset_state: bool = False
):  # fmt: skip
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

    >>> tx = gx.lookahead(gx.sgd(0.1), sync_period=5, slow_step_size=0.5)
    >>> state = tx.init(gx.LookaheadParams.init_synced(params))

    State    LookaheadState(fast_state, steps_since_sync). Memory: that of fast_optimizer; the slow parameters are the caller's.
    Units    u has those of the parameters.
    Shapes   any, scalars and complex included.
    Source   Zhang et al. 2019, arXiv:1907.08610, Algorithm 1.
    Differs  extra arguments reach fast_optimizer (Optax drops them in a chain); a state of flags, keys or NaN can be reset; `init` with
             plain parameters is allowed without a warning.
    Raises   HyperparameterError: sync_period < 1, slow_step_size is not a finite number. StructureError: params is no LookaheadParams.
             MissingArgumentError: no params.
    """
    if not (hasattr(p, "fast") and hasattr(p, "slow")):
        raise StructureError(
            f"lookahead: `params` should be LookaheadParams(fast, slow), but is {p!r:.200}. Begin with "
            "`LookaheadParams.init_synced(params)`, and take gradients at `params.fast`."
        )
    u, fast_state = fast_optimizer.update(g, s.fast_state, p.fast)
    sync = s.steps_since_sync >= sync_period - 1
    if reset_state:
        fresh = jax.tree.structure(fast_state).unflatten(jax.tree.leaves(fast_optimizer.init(p.fast)))
        fast_state = chosen(sync, as_before(fresh, fast_state), fast_state)
    fast, slow = c.map(_synced, u, p.fast, p.slow, like=(u, u), sync=sync, step=slow_step_size)
    steps = jnp.where(sync, 0, s.steps_since_sync + 1)
    return p._replace(fast=fast, slow=slow), s._replace(fast_state=fast_state, steps_since_sync=steps)
