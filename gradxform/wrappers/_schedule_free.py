"""Schedule-Free: an average of the iterates in the place of a decaying learning rate."""

from __future__ import annotations

from typing import Annotated, NamedTuple, cast

import jax
import jax.numpy as jnp

from gradxform._errors import StructureError
from gradxform._numerics import promote, real_part, round_to, widen
from gradxform._types import (
    Array,
    Clock,
    Decay,
    DType,
    Field,
    Hyper,
    Inner,
    NonNegative,
    Number,
    OptState,
    Params,
    ParamsCopy,
    Range,
    Real,
    Shared,
    Value,
    Whole,
)  # fmt: skip
from gradxform.core import GradientTransformation, chain, elementwise, wrapper
from gradxform.core._holes import dtype_of, is_array, is_gap
from gradxform.core._hyper import at_rank
from gradxform.optimizers import sgd
from gradxform.registry import optimizer, transform
from gradxform.schedules import warmup_constant_schedule
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate, scale_by_rms

Interpolation = Annotated[Value, Range("(0, 1]")]


def _zeros(*numbers: Array | float) -> Array:
    """As many zeros as the numbers, or arrays of them, make."""
    return jnp.zeros(jnp.broadcast_shapes(*map(jnp.shape, numbers)))


class ScheduleFreeState(NamedTuple):
    """The interpolation b1, the sum of the weights, the number of the next update, the largest rate, the inner state, and z."""

    b1: Annotated[Shared, Field(first=lambda b1: b1, dtype="params", constant=True)]
    weight_sum: Annotated[
        Shared, Field(first=lambda learning_rate, weight_lr_power: _zeros(learning_rate, weight_lr_power), dtype="params")
    ]
    step_count: Annotated[Clock, Field(first=1)]
    max_lr: Annotated[Shared, Field(first=lambda learning_rate: _zeros(learning_rate), dtype="params")]
    base_optimizer_state: Inner
    z: Annotated[ParamsCopy, Field(stored="state_dtype")]


def _advance(s, c, learning_rate, b1, weight_lr_power):
    max_lr = jnp.maximum(s.max_lr, jnp.abs(learning_rate))
    weight = max_lr**weight_lr_power
    total = s.weight_sum + weight
    return s._replace(b1=b1 * jnp.ones_like(s.b1), weight_sum=total, max_lr=max_lr), {
        "ck": weight / jnp.where(total == 0, 1, total)
    }


def _average(y, z, b1):
    """The average x behind the point y = b1 x + (1 - b1) z."""
    return (y - (1 - b1) * z) / b1


@elementwise(ScheduleFreeState, needs=("params",), advance=_advance)
def _schedule_free(
    g, s, p, c, learning_rate: Real, b1: Interpolation = 0.9, weight_lr_power: Real = 2.0, state_dtype: DType | None = None
):  # fmt: skip
    """y' - y for y = b1 x + (1 - b1) z, where z moves by g and x by ck of its way to z."""
    x, z = _average(p, s.z, s.b1), s.z + g
    u = c.b1 * c.ck * (z - x) + (1 - c.b1) * g + (c.b1 - s.b1) * (x - s.z)
    return u, s._replace(z=z)


def schedule_free_eval_params(state: OptState, params: Params) -> Params:
    """The parameters to evaluate with, of a `ScheduleFreeState`.

        x = (y - (1 - b1) z) / b1               y the parameters, where gradients are taken

    `eval_params` finds the same inside chains, masks and wrappers.

    Args:
      state: the state of `schedule_free`.
      params: the parameters.

    >>> tx = gx.contrib.schedule_free_sgd(0.1)
    >>> averaged = gx.contrib.schedule_free_eval_params(tx.init(params), params)

    Source   Defazio et al. 2024, arXiv:2405.15682, equation 3.
    Differs  computed in float32 or wider, and rounded once to the dtype of the parameters.
    Raises   StructureError: not the state of `schedule_free`.
    """
    if getattr(state, "b1", None) is None or getattr(state, "z", None) is None:
        raise StructureError(
            f"schedule_free_eval_params: needs the ScheduleFreeState of `schedule_free`, but got {state!r:.200}. "
            "Inside a chain or another wrapper use `eval_params(tx, state, params)`."
        )

    def at(y: Array, z: Array) -> Array:
        if not is_array(y):
            return y
        wide = promote(widen(dtype_of(y)), jnp.result_type(z))
        b1 = at_rank(jnp.asarray(state.b1, real_part(wide)), jnp.ndim(y))
        return round_to(_average(jnp.asarray(y, wide), jnp.asarray(z, wide), b1), dtype_of(y))

    return jax.tree.map(at, params, state.z, is_leaf=is_gap)


@transform(
    source="Defazio et al. 2024, arXiv:2405.15682",
    example={"base_optimizer": sgd(0.1), "learning_rate": 0.1},
    homogeneity=1,
    identities=[("schedule_free(sgd(0.1), 0.1)", "schedule_free_sgd(0.1)")],
)
@wrapper(ScheduleFreeState, scope="elementwise", needs=("params",), evaluate=lambda params, s: schedule_free_eval_params(s, params))
def schedule_free(
    g, s, p, c,
    base_optimizer: GradientTransformation, learning_rate: Real, b1: Interpolation = 0.9, weight_lr_power: Real = 2.0,
    state_dtype: DType | None = None,
):  # fmt: skip
    """Schedule-Free: let an optimizer without momentum move z, average z into x, and take gradients in between, at the parameters y.

        x  = (y - (1 - b1) z) / b1
        z  = z + base_optimizer(g)
        w  = max(|learning_rate| so far)^weight_lr_power
        W  = W + w
        x  = (1 - w/W) x + w/W z
        u  = b1 x + (1 - b1) z - y

    Evaluate with x: `eval_params(tx, state, params)`, or `schedule_free_eval_params(state, params)`. learning_rate is that of the base
    optimizer, warmed up but not decayed; the first update uses its value at 0. The base optimizer should have no momentum of its own.

    Args:
      base_optimizer: the optimizer that moves z, without momentum of its own.
      learning_rate: the rate of base_optimizer, by which the average is weighted: warmed up, not decayed.
      b1: where gradients are taken, between z (0) and the average x (1).
      weight_lr_power: how much more steps of a large rate weigh in the average.
      state_dtype: the dtype of z; None: the parameter's, float32 or wider.

    >>> tx = gx.contrib.schedule_free(gx.sgd(0.1), learning_rate=0.1)
    >>> averaged = gx.eval_params(tx, tx.init(params), params)

    State    ScheduleFreeState(b1, weight_sum W, step_count, max_lr, base_optimizer_state, z). step_count is the number of the next
             update: 1 at first. z is a copy of p in its dtype, or in state_dtype. Memory: 1 x params, and that of base_optimizer.
    Units    those of base_optimizer; learning_rate only weighs.
    Shapes   any, scalars and complex included.
    Source   Defazio et al. 2024, arXiv:2405.15682, equations 3 to 5 and section 3 (weights).
    Differs  a schedule starts with its value at 0, together with that of the base optimizer (Optax: at 1). b1 may be a schedule. b1,
             weight_sum and max_lr of narrow parameters are float32.
    Raises   MissingArgumentError: no params. StructureError: base_optimizer is not a transformation. HyperparameterError: b1 outside
             (0, 1].
    """
    step, inner_state = base_optimizer.update(g, s.base_optimizer_state, p)
    u, s = c.lift(_schedule_free, step, s, p)
    return u, s._replace(base_optimizer_state=inner_state)


def _warmed_up(learning_rate: Hyper, warmup_steps: int | None) -> Hyper:
    return learning_rate if warmup_steps is None else warmup_constant_schedule(0, cast(Number, learning_rate), warmup_steps)


@optimizer(
    source="Defazio et al. 2024, arXiv:2405.15682",
    example={"learning_rate": 0.1},
    homogeneity=1,
    rates={"default": 0.1, "digits": 1.0},
)
def schedule_free_sgd(
    learning_rate: Real[Hyper] = 1.0,
    warmup_steps: Whole | None = None,
    b1: Interpolation[Hyper] = 0.9,
    weight_decay: Real[Hyper] | None = None,
    weight_lr_power: Real[Hyper] = 2.0,
    state_dtype: DType | None = None,
):
    """Schedule-Free gradient descent.

        z  = z - learning_rate (g + weight_decay y)
        x  = (1 - w/W) x + w/W z                        w = max(|learning_rate| so far)^weight_lr_power, W its sum
        u  = b1 x + (1 - b1) z - y                      y the parameters, where gradients are taken

    The learning rate rises from 0 over warmup_steps. Evaluate with x: `eval_params(tx, state, params)`.

    Args:
      learning_rate: the rate once it is warmed up; a number or a schedule.
      warmup_steps: the number of updates in which the rate rises from 0; None: none.
      b1: where gradients are taken, between z (0) and the average x (1).
      weight_decay: the part of the parameters that is added to the gradient; None: none.
      weight_lr_power: how much more steps of a large rate weigh in the average.
      state_dtype: the dtype of z; None: the parameter's, float32 or wider.

    >>> tx = gx.contrib.schedule_free_sgd(0.1, warmup_steps=100)

    State    as `schedule_free`. Memory: 1 x params.
    Units    learning_rate has those of p / g.
    Shapes   any, scalars and complex included.
    Source   Defazio et al. 2024, arXiv:2405.15682, equations 3 to 5.
    Differs  as `schedule_free`. warmup_steps = 0 is no warm-up; in Optax a rate of 0 for ever.
    Raises   MissingArgumentError: no params. HyperparameterError: b1 outside (0, 1], warmup_steps < 0.
    """
    rate = _warmed_up(learning_rate, warmup_steps)
    base = sgd(rate) if weight_decay is None else chain(add_decayed_weights(weight_decay), sgd(rate))
    return schedule_free(base, rate, b1, weight_lr_power, state_dtype)


@optimizer(
    source="Defazio et al. 2024, arXiv:2405.15682",
    example={"learning_rate": 0.0025, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 0.0025, "digits": 0.01},
)
def schedule_free_adamw(
    learning_rate: Real[Hyper] = 0.0025,
    warmup_steps: Whole | None = None,
    b1: Interpolation[Hyper] = 0.9,
    b2: Decay[Hyper] = 0.999,
    eps: NonNegative[Hyper] = 1e-8,
    weight_decay: Real[Hyper] = 0.0,
    weight_lr_power: Real[Hyper] = 2.0,
    state_dtype: DType | None = None,
):
    """Schedule-Free AdamW.

        nu = b2 nu + (1 - b2) |g|^2
        z  = z - learning_rate (g / (sqrt(nu / (1 - b2^t)) + eps) + weight_decay y)
        x  = (1 - w/W) x + w/W z                        w = max(|learning_rate| so far)^weight_lr_power, W its sum
        u  = b1 x + (1 - b1) z - y                      y the parameters, where gradients are taken

    The learning rate rises from 0 over warmup_steps. Evaluate with x: `eval_params(tx, state, params)`.

    Args:
      learning_rate: the rate once it is warmed up; a number or a schedule.
      warmup_steps: the number of updates in which the rate rises from 0; None: none.
      b1: where gradients are taken, between z (0) and the average x (1).
      b2: how much of the running mean of squares stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.
      weight_decay: decoupled decay, taken at the parameters where gradients are.
      weight_lr_power: how much more steps of a large rate weigh in the average.
      state_dtype: the dtype of z; None: the parameter's, float32 or wider.

    >>> tx = gx.contrib.schedule_free_adamw(2.5e-3, warmup_steps=100)

    State    as `schedule_free`, around (ScaleByRmsWithCountState(count, nu), EmptyState(), EmptyState()). Memory: 2 x params.
    Units    learning_rate has those of p, weight_decay those of 1 / p.
    Shapes   any, scalars and complex included.
    Source   Defazio et al. 2024, arXiv:2405.15682, Algorithm 1.
    Differs  as `schedule_free`. warmup_steps = 0 is no warm-up; in Optax a rate of 0 for ever.
    Raises   MissingArgumentError: no params. HyperparameterError: b1 outside (0, 1], warmup_steps < 0, b2 outside [0, 1), eps < 0.
    """
    rate = _warmed_up(learning_rate, warmup_steps)
    direction = scale_by_rms(b2, eps, eps_in_sqrt=False, bias_correction=True)
    base = chain(direction, add_decayed_weights(weight_decay), scale_by_learning_rate(rate))
    return schedule_free(base, rate, b1, weight_lr_power, state_dtype)
