"""Running moments, computed in float32 or wider and rounded once to the dtype of the moment.

`decay` is never rounded to a narrow dtype: in bfloat16, 0.999 is 1 and a moment would not decay. Where an update is absent, its
moment stays.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from gradxform._numerics import abs_sq, is_inexact, real_part, round_to
from gradxform.tree._leafwise import leafwise, wide


@leafwise("updates", "moments", keep="moments")
def update_moment(updates: Any, moments: Any, decay: Any, order: Any) -> Any:
    """m <- (1 - decay) g^order + decay m"""
    return _average(wide(updates) ** order, moments, decay)


@leafwise("updates", "moments", keep="moments")
def update_moment_per_elem_norm(updates: Any, moments: Any, decay: Any, order: Any) -> Any:
    """m <- (1 - decay) |g|^order + decay m, where g^order stands for |g|^order if g is real"""
    g = wide(updates)
    if not jnp.iscomplexobj(g):
        return _average(g**order, moments, decay)
    return _average(abs_sq(g) ** (order // 2 if order % 2 == 0 else order / 2), moments, decay)


@leafwise("updates", "moments", keep="moments")
def update_infinity_moment(updates: Any, moments: Any, decay: Any, eps: Any) -> Any:
    """m <- max(|g| + eps, decay m)"""
    return _store(jnp.maximum(jnp.abs(wide(updates)) + eps, _coefficient(decay) * wide(moments)), moments)


@leafwise("moment")
def bias_correction(moment: Any, decay: Any, count: Any) -> Any:
    """m / (1 - decay^count)"""
    m = wide(moment)
    return _store(m / (1 - _coefficient(decay) ** jnp.asarray(count).astype(real_part(m.dtype))), moment)


def _average(x: Any, moment: Any, decay: Any) -> Any:
    decay = _coefficient(decay)
    return _store((1 - decay) * x + decay * wide(moment), moment)


def _coefficient(x: Any) -> Any:
    """A Python number stays one, so that 1 - x is exact in double precision; an array is widened."""
    return wide(x) if hasattr(x, "dtype") else x


def _store(x: Any, like: Any) -> Any:
    """Round to the dtype of `like`, unless that could not hold x: a whole number, or real for complex x."""
    dtype = jnp.result_type(like)
    holds = is_inexact(dtype) and (jnp.issubdtype(dtype, jnp.complexfloating) or not jnp.iscomplexobj(x))
    return round_to(x, dtype) if holds else x
