"""All leaves in one vector."""

from __future__ import annotations

import itertools
import math

import jax
import jax.numpy as jnp

from gradxform._errors import StructureError
from gradxform._numerics import promote, round_to
from gradxform._types import Array, Inner, Tree
from gradxform.core import GradientTransformation, GradientTransformationExtraArgs, wrapper
from gradxform.core._holes import as_array, dtype_of, is_array, is_gap
from gradxform.core._transformation import Spec
from gradxform.core._trees import Trees
from gradxform.core._views import View


class Vector(View):
    """One vector of all arrays, of the dtype that they are promoted to."""

    def see(self, tree: Tree) -> Array | jax.ShapeDtypeStruct:
        leaves = [x for x in Trees("flatten", tree).leaves if is_array(x)]
        dtype = promote(*map(dtype_of, leaves)) if leaves else jnp.dtype(jnp.float32)
        if any(isinstance(x, jax.ShapeDtypeStruct) for x in leaves):
            return jax.ShapeDtypeStruct((sum(math.prod(x.shape) for x in leaves),), dtype)
        return jnp.concatenate([jnp.zeros(0, dtype), *(as_array(x).astype(dtype).ravel() for x in leaves)])

    def put(self, tree: Tree, seen: Array) -> Tree:
        trees = Trees("flatten", tree)
        leaves = trees.arrays
        own = promote(*map(dtype_of, leaves)) if leaves else seen.dtype
        parts = jnp.split(seen, list(itertools.accumulate(x.size for x in leaves))[:-1]) if leaves else []
        dtype_at = lambda x: x.dtype if seen.dtype == own else promote(x.dtype, seen.dtype)  # wider updates stay so
        return trees.together(
            trees.put(trees.leaves, [round_to(u, dtype_at(x)).reshape(x.shape) for x, u in zip(leaves, parts, strict=True)])
        )


@wrapper(Inner, scope="elementwise", view=lambda tree: Vector())
def _flatten(g, s, p, c, inner: GradientTransformation):
    _check(c.stage.args["inner"])  # its hyperparameters may have been changed
    for i, x in enumerate(c.trees.like("`params`", p) if p is not None else ()):
        if is_array(x) and is_gap(c.trees.leaves[i]):  # a vector cannot do without a leaf from step to step
            raise StructureError(
                f"flatten: at {c.trees.paths[i]!r} there is a parameter, but no update. Mask it: `masked(flatten(...), mask)`, "
                "or give zeros."
            )
    return inner.update(g, s, p)


def _check(inner: GradientTransformation) -> None:
    cause = _cause(inner)
    if cause is not None:
        raise StructureError(
            f"flatten: {cause!r:.200} is {cause.own_scope}, so that one vector of all parameters would give other updates. Flatten only "
            "what is elementwise: `chain(clip_by_global_norm(1.0), flatten(adam(1e-3)))`."
        )


def _cause(tx: GradientTransformation) -> Spec | None:
    """The innermost part that is not elementwise, if there is one. Parts of other libraries are taken at the caller's word."""
    if not isinstance(tx.update, Spec):
        return None
    inside = filter(None, map(_cause, tx.update.members))
    return next(inside, None if tx.update.own_scope == "elementwise" else tx.update)


def flatten(inner: GradientTransformation) -> GradientTransformationExtraArgs:
    """Update one vector of all parameters in place of many arrays.

        u = split(inner(join(g)))

    That saves calls where there are very many small leaves, and costs copies. The vector has one sharding: that of the leaves is lost. A
    compiled step, or the engine "tree", makes it unnecessary for our own transformations. `inner` must treat every element alike, which
    those made with `@elementwise` declare; transformations of other libraries are taken at the caller's word.

    Args:
      inner: the transformation of the one vector; it must treat every element alike.

    >>> tx = gx.flatten(gx.adam(1e-3))

    State    that of inner, for one vector.
    Units    those of inner.
    Shapes   any. Leaves of different dtypes are promoted to their common one, and their updates come back in their own.
    Source   Optax.
    Differs  what is known not to be elementwise (a norm, a factored moment, a mask, a hyperparameter that is an array) is refused; in
             Optax it gives other numbers than without `flatten`. Optax returns the updates of narrow leaves promoted. Masked and integer
             leaves are left out. Extra arguments with the structure of the updates are joined as well.
    Raises   StructureError: inner is no transformation, or not elementwise; the update of a parameter is None.
    """
    tx = _flatten(inner)
    _check(inner)
    return tx
