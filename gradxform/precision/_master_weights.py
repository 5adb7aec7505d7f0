"""Master weights: narrow parameters with a wide copy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from gradxform._errors import HyperparameterError
from gradxform._numerics import promote
from gradxform._types import Array, DType, Field, Inner, Key, OptState, Params, Tree, Updates
from gradxform.core import GradientTransformation, MaskedNode, chain, wrapper
from gradxform.core._holes import dtype_of, flatten, fresh, is_array, is_gap
from gradxform.precision._narrow import narrow, narrow_at_random
from gradxform.precision._randomness import at, begun, halves
from gradxform.registry import transform


def _is_narrow(p: Tree, dtype: DType) -> bool:
    return is_array(p) and promote(dtype_of(p), dtype) != dtype_of(p)


def _widened(leaf, dtype):
    """A wide copy of a narrow leaf; another as it is."""
    return fresh(leaf, promote(dtype_of(leaf), dtype)) if _is_narrow(leaf, dtype) else leaf


def _master(leaf, dtype):
    return _widened(leaf, dtype) if _is_narrow(leaf, dtype) else MaskedNode()


def _either(params: Params, masters: Params) -> Params:
    """The master copies, and the parameters where there is none."""
    leaves, treedef = flatten(params)
    return treedef.unflatten([p if is_gap(m) else m for p, m in zip(leaves, treedef.flatten_up_to(masters), strict=True)])


def _first(inner: GradientTransformation, params: Params, dtype: DType) -> OptState:
    return inner.init(jax.tree.map(lambda p: _widened(p, dtype), params, is_leaf=is_gap))


class MasterWeightsState(NamedTuple):
    """The wide copy, with a `MaskedNode` for each leaf that is wide itself; the inner state; the key, if rounding is stochastic."""

    master: Annotated[Updates, Field(first=_master, stored="dtype")]
    inner_state: Annotated[Inner, Field(first=_first)]
    rng_key: Annotated[Key, Field(first=begun, when=lambda key: key is not None)] = None


@jax.jit
def _step(p: Array, m: Array, u: Array, key: Array | None) -> tuple[Array, Array]:
    """The update that takes p to the rounded new master copy, and the new master copy."""
    m = (m + u).astype(m.dtype)
    target = narrow(m, p.dtype) if key is None else narrow_at_random(m, p.dtype, key)
    old = p.astype(m.dtype)
    w = target.astype(m.dtype) - old
    reached = narrow(old + w, p.dtype)
    return w, jnp.where(reached == target, m, reached.astype(m.dtype))


def _evaluated(params, s, inside):
    wide = _either(params, s.master)
    found = inside(wide)
    if found is wide:
        return params
    return jax.tree.map(lambda p, x: narrow(x, dtype_of(p)) if is_array(p) else p, params, found, is_leaf=is_gap)


def _check(owner: str, given: Mapping[str, Any]) -> None:
    dtype = given["dtype"]
    if not (jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits >= 32):
        raise HyperparameterError(f"{owner}: `dtype` must be float32 or wider, but got {dtype!r}.")


@transform(
    source="Micikevicius et al. 2018, arXiv:1710.03740",
    seeds="MXNet",
    example={"inner": chain()},
    homogeneity=1,
    identities=[("master_weights(adam(0.1))", "adam(0.1)")],
)
@wrapper(MasterWeightsState, scope="elementwise", needs=("params",), evaluate=_evaluated, check=_check, widens=True)
def master_weights(
    g, s, p, c, inner: GradientTransformation, dtype: DType = jnp.float32, key: Array | int | None = None
):  # fmt: skip
    """Update a wide copy of narrow parameters, and make the parameters that copy, rounded.

        v, s   = inner(g, s, master)
        master = master + v
        u      = round(master) - p              apply_updates(p, u) = round(master)

    So no update is too small for the parameters to feel. It must be the last of a chain. Leaves that are `dtype` or wider have no copy;
    inner updates them as if it stood alone.

    The updates of narrow leaves have the copy's dtype: a difference of two bfloat16 or float16 numbers does not fit in their own.
    `apply_updates` adds in float32 and rounds once, and so does Optax's, and that gives round(master), unless a parameter all but
    vanishes beside its old value in this one step, or was changed from elsewhere: then it may be that no float32 update leads there.
    In that case the copy gives way, and becomes what p + u does reach, nearer than 2^-23 |p|: as far as the inner update itself is
    rounded. So `apply_updates(p, u)` equals round(master) after every step. (Not so for numbers below 1e-38 on
    a device that flushes them to zero, nor for a parameter that has overflowed: from infinity no update leads back.)

    Rounding passes derivatives through: the derivative of u, by a rate for example, is that of master - p.

    Args:
      inner: the complete optimizer. It sees gradients and parameters in the copy's dtype.
      dtype: of the copy.
      key: a random key or an integer seed; with it, parameters are rounded stochastically (the copy is not). The rounding does not
        depend on how leaves are sharded.

    >>> tx = gx.precision.master_weights(gx.adamw(1e-3))  # for bfloat16 parameters

    State    MasterWeightsState(master, inner_state, rng_key). master: like p, in `dtype`. Memory: 1 x narrow params (2 x their bytes in
             float32), and that of inner. The copy decides: a change to the parameters from elsewhere is undone by the next update.
    Units    those of inner.
    Shapes   any, scalars and complex included.
    Source   Micikevicius et al. 2018, arXiv:1710.03740, section 3.1; MXNet's `multi_precision`.
    Differs  Optax has none. The updates of narrow leaves are wide: add them with `apply_updates`, which adds in float32 and rounds once.
    Raises   MissingArgumentError: no params. HyperparameterError: dtype is not float32 or wider. StructureError: inner is not a
             transformation.
    """
    trees = c.trees
    ps, masters = trees.like("`params`", p), trees.take("the state's `master`", s.master)
    narrow_ones, grads = [i for i in trees.present if not is_gap(masters[i])], list(trees.leaves)
    for i in narrow_ones:
        x = jnp.asarray(grads[i])
        grads[i] = x.astype(promote(x.dtype, dtype))
    wide = trees.together([x if is_gap(m) else m for x, m in zip(ps, masters, strict=True)])
    u, inner_state = inner.update(trees.together(grads), s.inner_state, wide)
    us = trees.take("the inner transformation's updates", u)
    carried, sample = (None, None) if s.rng_key is None else halves(s.rng_key)
    for i in narrow_ones:
        k = None if sample is None else at(sample, i)
        us[i], masters[i] = _step(jnp.asarray(ps[i]), masters[i], us[i], k)
    return trees.together(us), s._replace(master=trees.together(masters), inner_state=inner_state, rng_key=carried)
