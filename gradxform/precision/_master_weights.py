"""Master weights: narrow parameters with a wide copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradxform._errors import HyperparameterError, MissingArgumentError
from gradxform._types import Array, DType, Key, OptState, Updates
from gradxform.core import GradientTransformation, GradientTransformationExtraArgs, MaskedNode, chain
from gradxform.core._chain import check_transformation
from gradxform.core._evaluate import After, evaluated
from gradxform.core._holes import dtype_of, flatten, is_array, is_gap, on_the_mesh_of
from gradxform.core._lift import as_key
from gradxform.core._run import Trees
from gradxform.core._transformation import Spec, extra_args_for, transformation
from gradxform.precision._narrow import narrow, narrow_at_random
from gradxform.registry import transform


class MasterWeightsState(NamedTuple):
    """The wide copy, with a `MaskedNode` for each leaf that is wide itself; the inner state; the key, if rounding is stochastic."""

    master: Updates
    inner_state: OptState
    rng_key: Key = None


def _either(params: Sequence[Any], masters: Sequence[Any]) -> list[Any]:
    """The master copies, and the parameters where there is none."""
    return [p if is_gap(m) else m for p, m in zip(params, masters, strict=True)]


@jax.jit
def _step(p: Array, m: Array, u: Array, key: Array | None) -> tuple[Array, Array]:
    """The update that takes p to the rounded new master copy, and the new master copy."""
    m = (m + u).astype(m.dtype)
    target = narrow(m, p.dtype) if key is None else narrow_at_random(m, p.dtype, key)
    old = p.astype(m.dtype)
    w = target.astype(m.dtype) - old
    reached = narrow(old + w, p.dtype)
    return w, jnp.where(reached == target, m, reached.astype(m.dtype))


class MasterWeights(Spec):
    """The update of `master_weights`."""

    wide_updates = True

    def __init__(self, inner: Any, dtype: Any, key: Any):
        self.inner, self.dtype, self.rng = inner, jnp.dtype(dtype), key

    def name(self) -> str:
        return "master_weights"

    def arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        named = {} if self.dtype == jnp.float32 else {"dtype": self.dtype.name}
        return (self.inner,), named if self.rng is None else {**named, "key": self.rng}

    def _is_narrow(self, p: Any) -> bool:
        return is_array(p) and jnp.promote_types(dtype_of(p), self.dtype) != dtype_of(p)

    def init(self, params: Any) -> MasterWeightsState:
        leaves, treedef = flatten(params)
        masters = [self._widen(p) if self._is_narrow(p) else p if is_gap(p) else MaskedNode() for p in leaves]
        key = None if self.rng is None else as_key(self.rng)
        inner = self.inner.init(treedef.unflatten(_either(leaves, masters)))
        return on_the_mesh_of(params, MasterWeightsState(treedef.unflatten(masters), inner, key))

    def _widen(self, x: Any) -> Any:
        x = jnp.asarray(x)
        return x.astype(jnp.promote_types(x.dtype, self.dtype))

    def __call__(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        if params is None:
            raise MissingArgumentError(
                "master_weights: needs the parameters, but `params` is None. Call `update(updates, state, params)`."
            )
        trees = Trees("master_weights", updates)
        ps, masters = trees.like("`params`", params), trees.take("the state's `master`", state.master)
        wide = trees.together(_either(ps, masters))
        narrow_ones = [i for i in trees.present if not is_gap(masters[i])]
        grads = list(trees.leaves)
        for i in narrow_ones:
            grads[i] = self._widen(grads[i])
        u, inner = self.inner.update(trees.together(grads), state.inner_state, wide, **extra_args_for(self.inner.update, extra))
        us = trees.take("the inner transformation's updates", u)
        carried, sample = (None, None) if state.rng_key is None else jax.random.split(state.rng_key)
        for i in narrow_ones:
            key = None if sample is None else jax.random.fold_in(sample, i)
            us[i], masters[i] = _step(jnp.asarray(ps[i]), masters[i], us[i], key)
        return trees.together(us), state._replace(master=trees.together(masters), inner_state=inner, rng_key=carried)

    def eval_params(self, state: Any, params: Any, after: After) -> Any:
        leaves, treedef = flatten(params)
        wide = treedef.unflatten(_either(leaves, treedef.flatten_up_to(state.master)))
        found = evaluated(self.inner, state.inner_state, wide, after)
        if found is wide:
            return params
        return treedef.unflatten(
            [narrow(x, dtype_of(p)) if is_array(p) else p for p, x in zip(leaves, flatten(found)[0], strict=True)]
        )


@transform(
    source="Micikevicius et al. 2018, arXiv:1710.03740",
    seeds="MXNet",
    example={"inner": chain()},
    homogeneity=1,
    identities=[("master_weights(adam(0.1))", "adam(0.1)")],
)
def master_weights(
    inner: GradientTransformation, dtype: DType = jnp.float32, key: Array | int | None = None
) -> GradientTransformationExtraArgs:
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

    Args:
      inner: the complete optimizer. It sees gradients and parameters in the copy's dtype.
      dtype: of the copy.
      key: a random key or an integer seed; with it, parameters are rounded stochastically (the copy is not). The rounding does not
        depend on how leaves are sharded.

    State    MasterWeightsState(master, inner_state, rng_key). master: like p, in `dtype`. Memory: 1 x narrow params (2 x their bytes in
             float32), and that of inner. The copy decides: a change to the parameters from elsewhere is undone by the next update.
    Units    those of inner.
    Shapes   any, scalars and complex included.
    Source   Micikevicius et al. 2018, arXiv:1710.03740, section 3.1; MXNet's `multi_precision`.
    Differs  Optax has none. The updates of narrow leaves are wide: add them with `apply_updates`, which adds in float32 and rounds once.
    Raises   MissingArgumentError: no params. HyperparameterError: dtype is not float32 or wider. StructureError: inner is not a
             transformation.
    """
    check_transformation(inner, "master_weights")
    if not (jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits >= 32):
        raise HyperparameterError(f"master_weights: `dtype` must be float32 or wider, but got {dtype!r}.")
    return transformation(MasterWeights(inner, dtype, key))
