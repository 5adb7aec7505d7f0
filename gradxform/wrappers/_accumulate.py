"""Gradient accumulation: large batches in small pieces."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradxform._numerics import increment, real_part, round_to, widen
from gradxform._types import Count, Parameter, Range, Shared, Updates
from gradxform.core import GradientTransformation, GradientTransformationExtraArgs
from gradxform.core._chain import check_transformation
from gradxform.core._clocks import at_step, check_complete
from gradxform.core._evaluate import After, evaluated
from gradxform.core._holes import dtype_of, flatten, is_array, on_the_mesh_of
from gradxform.core._run import Trees
from gradxform.core._transformation import Spec, transformation
from gradxform.optimizers import adam
from gradxform.registry import transform
from gradxform.wrappers._conditional import update_if


def check_every_k(owner: str, name: str, every_k: Any) -> None:
    if not callable(every_k):
        Parameter(name, inspect.Parameter.empty, Range("[1, inf)"), is_data=False, keyword_only=False).check(owner, every_k)


class AccumulateState(NamedTuple):
    """Gradients in the current mean, inner updates so far, the inner state, and the mean."""

    mini_step: Shared
    gradient_step: Shared
    inner_opt_state: Any
    acc_grads: Updates


class Accumulate(Spec):
    """The update of `accumulate`."""

    def __init__(self, inner: Any, every_k: Any, branch_free: bool):
        self.inner, self.every_k, self.branch_free = inner, every_k, branch_free
        self.wide_updates = getattr(inner.update, "wide_updates", False)

    def name(self) -> str:
        return "accumulate"

    def arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        return (self.inner, self.every_k), {"branch_free": True} if self.branch_free else {}

    def init(self, params: Any) -> Any:
        leaves, treedef = flatten(params)
        means = treedef.unflatten([self.zero_mean(p) for p in leaves])
        zero = lambda: jnp.zeros([], jnp.int32)
        return on_the_mesh_of(params, AccumulateState(zero(), zero(), self.inner.init(params), means))

    def zero_mean(self, p: Any) -> Any:
        if is_array(p):
            return jnp.zeros_like(p, dtype=widen(dtype_of(p)))
        return jnp.zeros_like(p) if hasattr(p, "shape") else p

    def _k(self, gradient_step: Any) -> Any:
        if not callable(self.every_k):
            return self.every_k
        k: Any = self.every_k(gradient_step)
        return jnp.maximum(jnp.rint(k).astype(jnp.int32), 1)

    def skip(self, updates: Any, state: Any, params: Any) -> tuple[Any, Mapping[str, Any]]:
        """Whether to leave this gradient out, None if never, and fields of the state that say why."""
        return None, {}

    def include(self, mean: Any, g: Any, n: Any, skip: Any) -> Any:
        return _mean(mean, g, n, skip)

    def __call__(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        trees = Trees(self.name(), updates)
        means = trees.like("the state's `acc_grads`", state.acc_grads)
        skip, told = self.skip(updates, state, params)
        grads = list(trees.leaves)
        for i in trees.present:
            means[i] = self.include(means[i], jnp.asarray(grads[i]), state.mini_step, skip)
            grads[i] = round_to(means[i], dtype_of(grads[i]))
        emit, step = state.mini_step >= self._k(state.gradient_step) - 1, increment(state.mini_step)
        if skip is not None:
            emit, step = emit & ~skip, jnp.where(skip, state.mini_step, step)
        u, inner = update_if(emit, self.inner, trees.together(grads), state.inner_opt_state, params, extra, self.branch_free)
        for i in trees.present:
            means[i] = jnp.where(emit, jnp.zeros_like(means[i]), means[i])
        return u, state._replace(
            mini_step=jnp.where(emit, 0, step),
            gradient_step=jnp.where(emit, increment(state.gradient_step), state.gradient_step),
            inner_opt_state=inner,
            acc_grads=trees.together(means),
            **told,
        )

    def resumed(self, state: Any, step: Any, only_schedules: bool) -> tuple[Any, Any]:
        if not callable(self.every_k):
            inner = step // self.every_k
            begun = step - inner * self.every_k
        else:
            ends = jnp.cumsum(jax.vmap(self._k)(jnp.arange(int(step) + 1)))  # inner update i is complete after ends[i] gradients
            inner = jnp.sum(ends <= step)
            begun = step - jnp.where(inner > 0, ends[jnp.maximum(inner - 1, 0)], 0)
        check_complete(self.name(), step, begun)
        if not only_schedules:
            state = at_step(state, mini_step=0)._replace(acc_grads=jax.tree.map(jnp.zeros_like, state.acc_grads))
        return at_step(state, gradient_step=inner), inner

    def eval_params(self, state: Any, params: Any, after: After) -> Any:
        return evaluated(self.inner, state.inner_opt_state, params, after)


@jax.jit
def _mean(mean: Any, g: Any, n: Any, skip: Any) -> Any:
    """The mean of n gradients, and of one more."""
    wide = jnp.promote_types(mean.dtype, g.dtype)
    step = (g.astype(wide) - mean) / (n + 1).astype(real_part(wide))
    new = round_to(mean + step, mean.dtype)
    return new if skip is None else jnp.where(skip, mean, new)


@transform(
    source="Goyal et al. 2017, arXiv:1706.02677",
    seeds="MXNet",
    example={"inner": adam(1e-3), "every_k": 2},
    homogeneity=0,
    identities=[("accumulate(adam(0.1), 1)", "adam(0.1)"), ("accumulate(adam(0.1), 2, True)", "accumulate(adam(0.1), 2)")],
)
def accumulate(
    inner: GradientTransformation, every_k: Count | Callable[[Any], Any], branch_free: bool = False
) -> GradientTransformationExtraArgs:
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

    State    AccumulateState(mini_step, gradient_step, inner_opt_state, acc_grads): Optax's `MultiStepsState` but for its skip_state, and
             that one will do. acc_grads: like p, float32 or wider. Memory: 1 x params, and that of inner.
    Units    those of inner.
    Shapes   any, scalars and complex included.
    Source   Goyal et al. 2017, arXiv:1706.02677, section 2; the running mean is Welford's 1962.
    Differs  Optax has no such transformation; its class `MultiSteps`, which is here too, is this one with more options.
    Raises   HyperparameterError: every_k is not a whole number >= 1. StructureError: inner is not a transformation.
    """
    check_transformation(inner, "accumulate")
    check_every_k("accumulate", "every_k", every_k)
    return transformation(Accumulate(inner, every_k, branch_free))
