"""The clip by norm that scales a step, and leaves the gradients as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from gradxform import tree
from gradxform.core import GradientTransformation, GradientTransformationExtraArgs, elementwise
from gradxform.core._chain import check_transformation
from gradxform.core._evaluate import After, evaluated
from gradxform.core._run import Trees
from gradxform.core._transformation import Spec, extra_args_for, transformation


@elementwise(needs=("factor",))
def _multiply(g, s, p, c):
    """Multiply updates by the extra argument `factor`."""
    return c.factor * g, s


class ClipNormOfStep(Spec):
    """The update of `clip_step_by_gradient_norm`."""

    bare_state = True

    def __init__(self, inner: Any, max_norm: Any):
        self.inner, self.max_norm = inner, max_norm
        self.wide_updates = getattr(inner.update, "wide_updates", False)

    def name(self) -> str:
        return "clip_step_by_gradient_norm"

    def arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        return (self.inner, self.max_norm), {}

    def init(self, params: Any) -> Any:
        return self.inner.init(params)

    def __call__(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        trees = Trees("clip_step_by_gradient_norm", updates)
        norm = tree.norm([trees.leaves[i] for i in trees.present])
        factor = self.max_norm / jnp.maximum(norm, self.max_norm)
        updates, state = self.inner.update(updates, state, params, **extra_args_for(self.inner.update, extra))
        multiply = _multiply()
        return multiply.update(updates, multiply.init(None), factor=factor)[0], state

    def eval_params(self, state: Any, params: Any, after: After) -> Any:
        return evaluated(self.inner, state, params, after)


def clip_step_by_gradient_norm(inner: GradientTransformation, max_norm: Any) -> GradientTransformationExtraArgs:
    """Make the step of `inner` smaller where the norm of the gradients exceeds max_norm, by the factor that would bring them down to it.

        u = max_norm / max(||g||, max_norm) inner(g)

    State    that of inner. Memory: that of inner.
    Units    those of inner; max_norm has those of g.
    Shapes   any, complex included; the norm is over all leaves.
    Source   neon, `gradient_clip_norm`.
    Differs  from `clip_by_global_norm`: what inner remembers of the gradients is not clipped.
    Raises   StructureError: inner is not a transformation.
    """
    check_transformation(inner, "clip_step_by_gradient_norm")
    return transformation(ClipNormOfStep(inner, max_norm))
