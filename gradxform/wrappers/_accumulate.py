"""Gradient accumulation: large batches in small pieces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from gradxform._errors import StructureError
from gradxform._numerics import increment, promote, real_part
from gradxform._types import Array, ArrayLike, Count, Field, Inner, OptState, Params, Shared, Tree, Updates
from gradxform.core import GradientTransformation, wrapper
from gradxform.core._hyper import UNTRACEABLE, evaluate
from gradxform.core._update_if import update_if
from gradxform.core._whole import TreeContext
from gradxform.optimizers import adam
from gradxform.registry import transform

Often = Count | Callable[[Array], ArrayLike]
"""How many gradients make an update: a number, or a function of the number of updates so far."""
Begun = Annotated[Shared, Field(first=lambda: jnp.zeros([], jnp.int32), at=lambda: 0)]
Done = Annotated[Shared, Field(first=lambda: jnp.zeros([], jnp.int32), at=lambda inner_step: inner_step)]
Means = Annotated[Updates, Field(at=lambda value: jax.tree.map(jnp.zeros_like, value))]


class AccumulateState(NamedTuple):
    """Gradients in the current mean, inner updates so far, the inner state, and the mean."""

    mini_step: Begun
    gradient_step: Done
    inner_opt_state: Inner
    acc_grads: Means


def gradients_for(owner: str, every_k: Often, gradient_step: Array) -> ArrayLike:
    """How many gradients make the next update."""
    if not callable(every_k):
        return every_k
    return _whole(evaluate(every_k, gradient_step, owner, "every_k"))


def _whole(k: ArrayLike) -> Array:
    return jnp.maximum(jnp.rint(k).astype(jnp.int32), 1)


def repeat(goes_on: Callable[[Tree], ArrayLike], advance: Callable[[Tree], Tree], x: Tree) -> Tree:
    """`advance` as long as `goes_on`: compiled, or in Python where a function asks a number for its value, as `if` does."""
    try:
        return jax.lax.while_loop(goes_on, advance, x)
    except UNTRACEABLE:
        while goes_on(x):
            x = advance(x)
        return x


def updates_after(owner: str, step: Array | int, every_k: Often) -> Array | int:
    """The inner updates that so many gradients make, none of which may be left over."""
    if not callable(every_k):
        inner = step // every_k
        begun = step - inner * every_k
    else:
        is_complete = lambda x: _whole(every_k(x[0])) <= step - x[1]
        inner, ended = repeat(is_complete, lambda x: (x[0] + 1, x[1] + _whole(every_k(x[0]))), (np.int32(0), np.int32(0)))
        begun = step - ended
    check_complete(owner, step, begun)
    return inner


def check_complete(name: str, step: Array | int, begun: Array | int) -> None:
    """Raise if `step` updates end within a round."""
    if not isinstance(begun, jax.core.Tracer) and begun != 0:
        raise StructureError(
            f"resume_at: {step} updates end within a round of {name}, and what it holds then is not known. Give a number of updates after "
            f"which a round is complete, such as {step - int(begun)}: with rounds of k, k times that of the inner updates."
        )


def collect(
    c: TreeContext, g: Updates, s: OptState, p: Params, inner: GradientTransformation, every_k: Often,
    include: Callable[..., Array], skip: Array | None = None, branch_free: bool = False,
) -> tuple[Updates, OptState]:  # fmt: skip
    """Include a gradient, unless it is skipped; hand on what is collected every k-th time, and begin anew."""
    (means,) = c.map(include, g, s.acc_grads, like=(s.acc_grads,), n=s.mini_step, skip=skip)
    emit, step = s.mini_step >= gradients_for(c.stage.name(), every_k, s.gradient_step) - 1, increment(s.mini_step)
    if skip is not None:
        emit, step = emit & ~skip, jnp.where(skip, s.mini_step, step)
    u, inner_state = update_if(emit, inner, c.map(_mean, g, means), s.inner_opt_state, p, branch_free=branch_free)
    (means,) = c.map(_left, g, means, like=(means,), emit=emit)
    return u, s._replace(
        mini_step=jnp.where(emit, 0, step),
        gradient_step=jnp.where(emit, increment(s.gradient_step), s.gradient_step),
        inner_opt_state=inner_state,
        acc_grads=means,
    )


def _mean(g: Array, mean: Array) -> Array:
    return mean


def _left(g: Array, mean: Array, emit: Array) -> Array:
    return jnp.where(emit, 0, mean)


def mean_with(g: Array, mean: Array, n: Array, skip: Array | None) -> Array:
    """The mean of n gradients, and of one more."""
    new = mean + (g - mean) / (n + 1).astype(real_part(promote(g.dtype, mean.dtype)))
    return new if skip is None else jnp.where(skip, mean, new)


@transform(
    source="Goyal et al. 2017, arXiv:1706.02677",
    example={"inner": adam(1e-3), "every_k": 2},
    homogeneity=0,
    identities=[("accumulate(adam(0.1), 1)", "adam(0.1)"), ("accumulate(adam(0.1), 2, True)", "accumulate(adam(0.1), 2)")],
)
@wrapper(AccumulateState, scope="elementwise", inner_steps=lambda step, every_k: updates_after("accumulate", step, every_k))
def accumulate(g, s, p, c, inner: GradientTransformation, every_k: Often, branch_free: bool = False):
    """Collect gradients, and update along their mean every k-th time.

        acc_grads = acc_grads + (g - acc_grads) / (mini_step + 1)
        u, s      = inner(acc_grads, s);  acc_grads = 0             every k-th time
        u         = 0                                               otherwise

    With a loss that is a mean over its batch, k equal pieces of a batch give the update of the whole batch. `inner` is executed only on
    the emitting step (`lax.cond`; both branches run under `vmap`), with the parameters and the extra arguments of that step. It sees the
    mean in the gradients' dtype, as of a large batch. After an update `state.mini_step == 0`.

    Args:
      inner: the transformation that is updated with the mean; its own clock counts its updates.
      every_k: how many gradients make an update: a number, or a function of the number of inner updates so far, which is rounded to the
        nearest whole number and is at least 1.
      branch_free: execute `inner` every time and select. Nothing of the discarded update, NaN or not, reaches the update or the state.

    >>> tx = gx.accumulate(gx.adam(1e-3), 4)  # one update of the mean of four gradients

    State    AccumulateState(mini_step, gradient_step, inner_opt_state, acc_grads): Optax's `MultiStepsState` but for its skip_state, and
             that one will do. acc_grads: like p, float32 or wider. Memory: 1 x params, and that of inner.
    Units    those of inner.
    Shapes   any, scalars and complex included.
    Source   Goyal et al. 2017, arXiv:1706.02677, section 2; the running mean is Welford's 1962.
    Differs  Optax has no such transformation; its class `MultiSteps`, which is here too, is this one with more options.
    Raises   HyperparameterError: every_k is not a whole number >= 1. StructureError: inner is not a transformation.
    """
    return collect(c, g, s, p, inner, every_k, mean_with, branch_free=branch_free)
