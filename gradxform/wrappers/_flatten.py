"""All leaves in one vector."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from gradxform._errors import StructureError
from gradxform._numerics import round_to
from gradxform.core import GradientTransformation, GradientTransformationExtraArgs
from gradxform.core._chain import Chain, check_transformation
from gradxform.core._holes import as_array, dtype_of, is_array, is_gap
from gradxform.core._holes import flatten as leaves_of
from gradxform.core._lift import Stage
from gradxform.core._masking import Masked, Partition
from gradxform.core._run import Trees
from gradxform.core._transformation import Spec, extra_args_for, transformation
from gradxform.tree._params import is_stand_in


class Flattened(Spec):
    """The update of `flatten`."""

    bare_state = True

    def __init__(self, inner: Any):
        self.inner = inner
        self.wide_updates = getattr(inner.update, "wide_updates", False)

    def name(self) -> str:
        return "flatten"

    def arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        return (self.inner,), {}

    def init(self, params: Any) -> Any:
        return self.inner.init(params if is_stand_in(params) else _joined([x for x in leaves_of(params)[0] if is_array(x)]))

    def __call__(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        trees = Trees("flatten", updates)
        join = lambda what, tree: _joined(trees.pick(trees.like(what, tree)))
        _check_complete(trees, params)
        alike = lambda x: not callable(x) and not is_array(x) and leaves_of(x)[1] == trees.treedef
        extra = {k: join(f"`{k}`", x) if alike(x) else x for k, x in extra_args_for(self.inner.update, extra).items()}
        gs = trees.pick(trees.leaves)
        ps = None if params is None else join("`params`", params)
        u, state = self.inner.update(_joined(gs), state, ps, **extra)
        parts = jnp.split(u, list(itertools.accumulate(jnp.size(g) for g in gs))[:-1]) if gs else []
        dtype_at = lambda g: jnp.promote_types(dtype_of(g), u.dtype) if self.wide_updates else dtype_of(g)
        new = [round_to(part, dtype_at(g)).reshape(jnp.shape(g)) for part, g in zip(parts, gs, strict=True)]
        return trees.together(trees.put(trees.leaves, new)), state


def _check_complete(trees: Trees, params: Any) -> None:
    """A vector cannot do without a leaf from step to step."""
    for i, p in enumerate(trees.take("`params`", params) if params is not None else ()):
        if is_array(p) and is_gap(trees.leaves[i]):
            raise StructureError(
                f"flatten: at {trees.paths[i]!r} there is a parameter, but no update. Mask it: `masked(flatten(...), mask)`, "
                "or give zeros."
            )


def _joined(leaves: list[Any]) -> Any:
    """One vector of the dtype that all are promoted to."""
    dtype = jnp.result_type(*map(dtype_of, leaves)) if leaves else jnp.dtype(jnp.float32)
    if any(isinstance(x, jax.ShapeDtypeStruct) for x in leaves):
        return jax.ShapeDtypeStruct((sum(math.prod(jnp.shape(x)) for x in leaves),), dtype)
    return jnp.concatenate([jnp.zeros(0, dtype), *(as_array(x).astype(dtype).ravel() for x in leaves)])


def _offender(update: Any) -> Any:
    """The first part that is known to look at more than one element, or at which leaf it belongs to."""
    if isinstance(update, Stage):
        named = any(update.args[name] is not None for name in (*update.rule.leaf_data, *update.rule.leaf_args))
        return update if named or update.rule.scope != "elementwise" else None
    if isinstance(update, Chain):
        return next((found for tx in update.transformations if (found := _offender(tx.update)) is not None), None)
    if isinstance(update, (Masked, Partition)):
        return update
    inner = getattr(update, "inner", None) if isinstance(update, Spec) else None
    return None if inner is None else _offender(inner.update)


def flatten(inner: GradientTransformation) -> GradientTransformationExtraArgs:
    """Update one vector of all parameters in place of many arrays.

        u = split(inner(join(g)))

    That saves calls where there are very many small leaves, and costs copies. The vector has one sharding: that of the leaves is lost. A
    compiled step, or the engine "tree", makes it unnecessary for our own transformations. `inner` must treat every element alike, which
    those made with `@elementwise` declare; transformations of other libraries are taken at the caller's word.

    State    that of inner, for one vector.
    Units    those of inner.
    Shapes   any. Leaves of different dtypes are promoted to their common one, and their updates come back in their own.
    Source   Optax.
    Differs  what is known not to be elementwise (a norm, a factored moment, a mask) is refused; in Optax it gives other numbers than
             without `flatten`. Optax returns the updates of narrow leaves promoted. Masked and integer leaves are left out. Extra
             arguments with the structure of the updates are joined as well.
    Raises   StructureError: inner is no transformation, or not elementwise; the update of a parameter is None.
    """
    check_transformation(inner, "flatten")
    offender = _offender(inner.update)
    if offender is not None:
        declared = offender.rule.scope if isinstance(offender, Stage) else "elementwise"
        scope = f"is {declared}" if declared != "elementwise" else "distinguishes leaves"
        raise StructureError(
            f"flatten: {offender!r:.200} {scope}, so that one vector of all parameters would give other updates. Flatten only what is "
            "elementwise: `chain(clip_by_global_norm(1.0), flatten(adam(1e-3)))`."
        )
    return transformation(Flattened(inner))
