"""Stochastic rounding of the parameters that an update leads to."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from gradxform._numerics import promote, widen
from gradxform._types import Array, Inner, Key, Tree
from gradxform.core import GradientTransformation, wrapper
from gradxform.core._holes import dtype_of, is_array
from gradxform.precision import stochastic_round


class RoundedState(NamedTuple):
    """The inner state, and the random key."""

    inner_state: Inner
    rng_key: Key


def _is_narrow(p: Tree) -> bool:
    return is_array(p) and widen(dtype_of(p)) != dtype_of(p)


def _step(p: Array, u: Array, key: Array) -> Array:
    """The update that takes p to p + u, rounded at random."""
    wide = p.astype(promote(widen(p.dtype), u.dtype))
    return stochastic_round(wide + u, p.dtype, key).astype(wide.dtype) - wide


@wrapper(RoundedState, scope="per_leaf", needs=("params",), widens=True)
def round_stochastically(g, s, p, c, inner: GradientTransformation, key: Array | int = 0):
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
    trees = c.trees
    ps, grads = trees.like("`params`", p), list(trees.leaves)
    narrow = [i for i in trees.present if _is_narrow(ps[i])]
    for i in narrow:  # so that the inner update is wide
        grads[i] = jnp.asarray(grads[i]).astype(widen(dtype_of(grads[i])))
    u, inner_state = inner.update(trees.together(grads), s.inner_state, p)
    us = trees.take("the inner transformation's updates", u)
    carried, sample = jax.random.split(s.rng_key)
    for i in narrow:
        us[i] = _step(jnp.asarray(ps[i]), us[i], jax.random.fold_in(sample, i))
    return trees.together(us), s._replace(inner_state=inner_state, rng_key=carried)
