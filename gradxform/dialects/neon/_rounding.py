"""Stochastic rounding of the parameters that an update leads to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradxform._errors import MissingArgumentError
from gradxform._numerics import widen
from gradxform._types import Key
from gradxform.core import GradientTransformation, GradientTransformationExtraArgs
from gradxform.core._chain import check_transformation
from gradxform.core._evaluate import After, evaluated
from gradxform.core._holes import dtype_of, is_array, on_the_mesh_of
from gradxform.core._lift import as_key
from gradxform.core._run import Trees
from gradxform.core._transformation import Spec, extra_args_for, transformation
from gradxform.precision import stochastic_round


class RoundedState(NamedTuple):
    """The inner state, and the random key."""

    inner_state: Any
    rng_key: Key


def _is_narrow(p: Any) -> bool:
    return is_array(p) and widen(dtype_of(p)) != dtype_of(p)


def _step(p: Any, u: Any, key: Any) -> Any:
    """The update that takes p to p + u, rounded at random."""
    wide = p.astype(jnp.promote_types(widen(p.dtype), u.dtype))
    return stochastic_round(wide + u, p.dtype, key).astype(wide.dtype) - wide


class Rounded(Spec):
    """The update of `round_stochastically`."""

    wide_updates = True

    def __init__(self, inner: Any, key: Any):
        self.inner, self.rng = inner, key

    def name(self) -> str:
        return "round_stochastically"

    def arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        return (self.inner, self.rng), {}

    def init(self, params: Any) -> RoundedState:
        return on_the_mesh_of(params, RoundedState(self.inner.init(params), as_key(self.rng)))

    def __call__(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        if params is None:
            raise MissingArgumentError(
                "round_stochastically: needs the parameters, but `params` is None. Call `update(updates, state, params)`."
            )
        trees = Trees("round_stochastically", updates)
        ps, grads = trees.like("`params`", params), list(trees.leaves)
        narrow = [i for i in trees.present if _is_narrow(ps[i])]
        for i in narrow:  # so that the inner update is wide
            grads[i] = jnp.asarray(grads[i]).astype(widen(dtype_of(grads[i])))
        u, inner = self.inner.update(trees.together(grads), state.inner_state, params, **extra_args_for(self.inner.update, extra))
        us = trees.take("the inner transformation's updates", u)
        carried, sample = jax.random.split(state.rng_key)
        for i in narrow:
            us[i] = _step(jnp.asarray(ps[i]), us[i], jax.random.fold_in(sample, i))
        return trees.together(us), state._replace(inner_state=inner, rng_key=carried)

    def eval_params(self, state: Any, params: Any, after: After) -> Any:
        return evaluated(self.inner, state.inner_state, params, after)


def round_stochastically(inner: GradientTransformation, key: Any = 0) -> GradientTransformationExtraArgs:
    """Round the parameters that `inner` leads to at random, so that no update is too small to be felt in the mean.

        u = round(p + inner(g)) - p             narrow leaves; elsewhere inner(g)

    The last of a chain; add its updates, which are float32, with `apply_updates`.

    State    RoundedState(inner_state, rng_key). Memory: that of inner.
    Units    those of inner, which are those of p.
    Shapes   any, scalars and complex included.
    Source   neon, `stochastic_round`; Gupta et al. 2015, arXiv:1502.02551.
    Differs  from `apply_updates_stochastically`, which needs a key at every step: the key is in the state.
    Raises   MissingArgumentError: no params. StructureError: inner is not a transformation.
    """
    check_transformation(inner, "round_stochastically")
    return transformation(Rounded(inner, key))
