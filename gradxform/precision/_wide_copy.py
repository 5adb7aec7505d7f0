"""What is done with wide copies of narrow parameters, however they are kept."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable

import jax
import jax.numpy as jnp

from gradxform._numerics import promote
from gradxform._types import Array, DType, OptState, Params, Tree
from gradxform.core import GradientTransformation, MaskedNode
from gradxform.core._holes import dtype_of, flatten, fresh, is_array, is_gap
from gradxform.core._whole import TreeContext
from gradxform.precision._narrow import narrow, narrow_at_random


def is_narrow(p: Tree, dtype: DType) -> bool:
    return is_array(p) and promote(dtype_of(p), dtype) != dtype_of(p)


def widened(leaf: Tree, dtype: DType) -> Tree:
    """A wide copy of a narrow leaf; another as it is."""
    return fresh(leaf, promote(dtype_of(leaf), dtype)) if is_narrow(leaf, dtype) else leaf


def copy_of(leaf: Tree, dtype: DType) -> Tree:
    """A wide copy of a narrow leaf; beside another nothing is kept."""
    return widened(leaf, dtype) if is_narrow(leaf, dtype) else MaskedNode()


def first_inside(inner: GradientTransformation, params: Params, dtype: DType) -> OptState:
    """The first state of what is inside, which sees the copies."""
    return inner.init(jax.tree.map(lambda p: widened(p, dtype), params, is_leaf=is_gap))


@functools.partial(jax.jit, static_argnums=4)
def step(p: Array, m: Array, u: Array, key: Array | None, axis_name: Hashable | None = None) -> tuple[Array, Array]:
    """The update that takes p to the rounded new master copy, and the new master copy."""
    m = (m + u).astype(m.dtype)
    target = narrow(m, p.dtype) if key is None else narrow_at_random(m, p.dtype, key, axis_name)
    old = p.astype(m.dtype)
    w = target.astype(m.dtype) - old
    reached = narrow(old + w, p.dtype)
    return w, jnp.where(reached == target, m, reached.astype(m.dtype))


def updated_inside(
    c: TreeContext, inner: GradientTransformation, state: OptState, ps: list[Tree], copies: list[Tree], dtype: DType
) -> tuple[list[Tree], OptState]:
    """The updates, leaf by leaf, and the state of what is inside, at the copies, or the parameters where there is none."""
    trees, grads = c.trees, list(c.trees.leaves)
    for i in trees.present:
        if not is_gap(copies[i]):
            x = jnp.asarray(grads[i])
            grads[i] = x.astype(promote(x.dtype, dtype))
    wide = trees.together([p if is_gap(copy) else copy for p, copy in zip(ps, copies, strict=True)])
    u, state = inner.update(trees.together(grads), state, wide)
    return trees.take("the inner transformation's updates", u), state


def evaluated(params: Params, copies: Tree, inside: Callable[[Params], Params]) -> Params:
    """The parameters to evaluate with, in their dtypes; `copies` has gaps where a parameter has no wide copy."""
    leaves, treedef = flatten(params)
    wide = treedef.unflatten([p if is_gap(x) else x for p, x in zip(leaves, treedef.flatten_up_to(copies), strict=True)])
    found = inside(wide)
    if found is wide:
        return params
    return jax.tree.map(lambda p, x: narrow(x, dtype_of(p)) if is_array(p) else p, params, found, is_leaf=is_gap)
