"""An objective for the registry: what `value`, `grad` and `value_fn` may be, for any parameters and gradients."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from gradxform._numerics import abs_sq, widen
from gradxform._types import Array, Params, Updates
from gradxform.core._holes import flatten, is_array
from gradxform.tree._leafwise import once


def bowl(sign: float) -> Mapping[str, Callable[[Any, Any], Any]]:
    """Makers of the extra arguments, from (params, grads): a parabola with the gradient sign g at p, and the value 0."""
    signed = lambda grads: jax.tree.map(lambda g: sign * g if is_array(g) else g, grads)
    return {
        "value": lambda params, grads: jnp.zeros(()),
        "grad": lambda params, grads: signed(grads),
        "value_fn": lambda params, grads: jax.tree_util.Partial(_bowl, *_present(signed(grads), params)),
    }


def _present(grads: Updates, params: Params) -> tuple[list[Any], list[Any]]:
    pairs = zip(flatten(grads)[0], flatten(params)[0], strict=True)
    kept = [(g, p) if is_array(g) else (None, None) for g, p in pairs]
    return [g for g, _ in kept], [p for _, p in kept]


def _bowl(gs: list[Any], ps: list[Any], x: Params) -> Array:
    """sum Re(conj(g) (x - p)) + |x - p|^2 / 2"""
    value = jnp.zeros(())
    for g, p, y in zip(gs, ps, flatten(x)[0], strict=True):
        if g is not None:
            g, d = (z.astype(widen(z.dtype)) for z in (g, y - p))
            value = once(operator.add, value, jnp.sum((g.conj() * d).real + abs_sq(d) / 2))
    return value
