"""Nesterov's look-ahead around any optimizer, along a running mean of the way that the parameters go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp

from gradxform._types import Clock, Decay, Field, Inner, OptState, Params, Real, Shared, Updates
from gradxform.core import GradientTransformation, elementwise, wrapper
from gradxform.core._evaluate import After
from gradxform.core._holes import is_array, is_gap
from gradxform.optimizers import sgd
from gradxform.registry import transform
from gradxform.wrappers._copies import as_params


def _kept(decay, scale):
    return decay + (1 - decay) * scale


class EmaNesterovState(NamedTuple):
    """The number of updates, the inner state, how far the parameters are ahead, in velocities, and the velocity."""

    count: Clock
    base_optimizer_state: Inner
    scale: Annotated[
        Shared, Field(first=lambda scale: jnp.zeros(jnp.shape(scale)), advance=lambda value, c, scale: scale, dtype="params")
    ]
    velocity: Annotated[Updates, Field(mean=_kept)]


@elementwise(EmaNesterovState)
def _ema_nesterov(g, s, p, c, decay: Decay = 0.99, scale: Real = 0.3):
    """The base optimizer led from the look-ahead point by g, and so from the iterate by g + scale velocity."""
    velocity = decay * s.velocity + (1 - decay) * (g + s.scale * s.velocity)
    return g + c.scale * velocity, s._replace(velocity=velocity)


def _behind(params: Params, s: OptState, after: After, inside: Callable[[Params], Params]) -> Params:
    """What the base optimizer evaluates with at the iterate w = p - after(scale velocity)."""
    ahead = after(jax.tree.map(lambda v: s.scale.astype(v.real.dtype) * v if is_array(v) else v, s.velocity, is_leaf=is_gap))
    iterate = jax.tree.map(lambda p, x: jnp.asarray(p, x.dtype) - x if is_array(p) else p, params, ahead, is_leaf=is_gap)
    return as_params(params, inside(iterate))


@transform(
    source="arXiv:2605.25395",
    example={"base_optimizer": sgd(0.1)},
    homogeneity=1,
    identities=[("ema_nesterov(adam(0.1), scale=0.0)", "adam(0.1)")],
)
@wrapper(EmaNesterovState, scope="elementwise", evaluate=_behind)
def ema_nesterov(g, s, p, c, base_optimizer: GradientTransformation, decay: Decay = 0.99, scale: Real = 0.3):
    """Look ahead along a running mean of the steps that another optimizer makes, and take the next gradient there.

        w' = w + scale velocity + base_optimizer(g)             p = w + scale velocity, where g is taken
        velocity = decay velocity + (1 - decay) (w' - w)
        u  = w' + scale velocity - p

    Evaluate with w: `eval_params(tx, state, params)`. The source scales by 0.3 to 0.6 times the learning rate over its largest value,
    and looks ahead in the middle of training only: let scale be a schedule, which is 0 at first and at the end.

    Args:
      base_optimizer: the optimizer whose steps are averaged. It is given the look-ahead point as its parameters.
      decay: how much of the velocity stays at each update.
      scale: how far to look ahead, in velocities; a number or a schedule.

    >>> ahead = gx.join_schedules([gx.constant_schedule(x) for x in (0.0, 0.3, 0.0)], [300, 1950])
    >>> tx = gx.ema_nesterov(gx.adamw(1e-3), scale=ahead)

    State    EmaNesterovState(count, base_optimizer_state, scale, velocity). scale: that of the last update; velocity: like p, float32 or
             wider. Memory: 1 x params, and that of base_optimizer.
    Units    those of base_optimizer.
    Shapes   any, scalars and complex included.
    Source   arXiv:2605.25395, its equations; no implementation was run beside them.
    Differs  Optax has none. The velocity begins at 0 and is not debiased.
    Raises   HyperparameterError: decay outside [0, 1), scale is not a finite number. StructureError: base_optimizer is not a
             transformation.
    """
    step, inner_state = base_optimizer.update(g, s.base_optimizer_state, p)
    u, s = c.lift(_ema_nesterov, step, s)
    return u, s._replace(base_optimizer_state=inner_state)
