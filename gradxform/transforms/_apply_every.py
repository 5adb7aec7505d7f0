"""Summing updates, and handing out the sum every k-th time."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp

from gradxform._numerics import increment, round_to, widen
from gradxform._types import Array, Count, Parameter, Range, Shared, Tree, Updates
from gradxform.core import GradientTransformationExtraArgs
from gradxform.core._clocks import at_step
from gradxform.core._holes import as_array, dtype_of, flatten, is_array, on_the_mesh_of
from gradxform.core._run import Trees
from gradxform.core._transformation import Spec, transformation
from gradxform.registry import transform

_K = Parameter("k", inspect.Parameter.empty, Range("[1, inf)"), is_data=False, keyword_only=False)


class ApplyEvery(NamedTuple):
    """Updates since the last sum was handed out, and the sum; that of the last round until the next one begins."""

    count: Shared
    grad_acc: Updates


class ApplyEverySpec(Spec):
    """The update of `apply_every`."""

    def __init__(self, k: Any):
        self.k = k

    def name(self) -> str:
        return "apply_every"

    def arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        return (self.k,), {}

    def init(self, params: Any) -> ApplyEvery:
        leaves, treedef = flatten(params)
        return on_the_mesh_of(params, ApplyEvery(jnp.zeros([], jnp.int32), treedef.unflatten(map(_zero, leaves))))

    def resumed(self, state: Any, step: Any, only_schedules: bool) -> tuple[Any, Any]:
        return (state if only_schedules else at_step(state, count=step % self.k)), step

    def __call__(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        del params, extra
        trees = Trees("apply_every", updates)
        sums, us = trees.like("the state's `grad_acc`", state.grad_acc), list(trees.leaves)
        first, last = state.count % self.k == 0, state.count % self.k == self.k - 1
        present = set(trees.present)
        for i, total in enumerate(sums):
            if i in present:
                us[i], sums[i] = _add(as_array(us[i]), total, first, last)
            elif is_array(total):
                sums[i] = jnp.where(first, jnp.zeros_like(total), total)
        count = increment(state.count) % self.k
        return trees.together(us), state._replace(count=count, grad_acc=trees.together(sums))


def _zero(p: Tree) -> Tree:
    if is_array(p):
        return jnp.zeros_like(p, dtype=widen(dtype_of(p)))
    return jnp.zeros_like(p) if hasattr(p, "shape") else p


@jax.jit
def _add(g: Array, total: Array, first: Array, last: Array) -> tuple[Array, Array]:
    wide = jnp.promote_types(widen(g.dtype), total.dtype)
    new = round_to(jnp.where(first, 0, total.astype(wide)) + g.astype(wide), total.dtype)
    return jnp.where(last, round_to(new, g.dtype), jnp.zeros_like(g)), new


@transform(source="Optax", example={"k": 2}, identities=[("apply_every(1)", "identity()")])
def apply_every(k: Count = 1) -> GradientTransformationExtraArgs:
    """Sum k updates, hand out the sum, and begin again; zero in between.

        grad_acc = grad_acc + g                 g at the first of k updates
        u        = grad_acc                     at the last of k updates, else 0

    After an optimizer it makes larger steps; to make one update of several gradients use `accumulate`.

    State    ApplyEvery(count, grad_acc), count < k; grad_acc: like p, float32 or wider. Memory: 1 x params.
    Units    those of g.
    Shapes   any, scalars and complex included.
    Source   Optax.
    Differs  a NaN of one round does not reach the next. The sum of narrow updates is float32.
    Raises   HyperparameterError: k is not a whole number >= 1.
    """
    if isinstance(k, jax.Array) and not isinstance(k, jax.core.Tracer):
        k = operator.index(k)
    _K.check("apply_every", k)
    return transformation(ApplyEverySpec(k))
