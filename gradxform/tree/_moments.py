"""Running moments, computed in float32 or wider and rounded once to the dtype of the moment.

`decay` is never rounded to a narrow dtype: in bfloat16, 0.999 is 1 and a moment would not decay. Where an update is absent, its
moment stays.
"""

from __future__ import annotations

import operator

import jax.numpy as jnp

from gradxform._numerics import abs_sq, is_inexact, promote, real_part, round_to
from gradxform._types import Array, ArrayLike, Tree, Updates
from gradxform.tree._leafwise import alike, leafwise, once, wide


@leafwise("updates", "moments", keep="moments")
def update_moment(updates: Updates, moments: Tree, decay: ArrayLike, order: float) -> Tree:
    """m <- (1 - decay) g^order + decay m

    Args:
      updates: the gradients, a tree.
      moments: the running means, a tree.
      decay: how much of the average stays at each update.
      order: the power of the gradient.

    >>> gx.update_moment(jnp.array([2.0]), jnp.array([0.0]), decay=0.5, order=2)
    Array([2.], dtype=float32)
    """
    return _average(wide(updates) ** order, moments, decay)


@leafwise("updates", "moments", keep="moments")
def update_moment_per_elem_norm(updates: Updates, moments: Tree, decay: ArrayLike, order: float) -> Tree:
    """m <- (1 - decay) |g|^order + decay m, where g^order stands for |g|^order if g is real

    Args:
      updates: the gradients, a tree.
      moments: the running means, a tree.
      decay: how much of the average stays at each update.
      order: the power of the gradient.

    >>> gx.update_moment_per_elem_norm(jnp.array([2.0]), jnp.array([0.0]), decay=0.5, order=2)
    Array([2.], dtype=float32)
    """
    g = wide(updates)
    if not jnp.iscomplexobj(g):
        return _average(g**order, moments, decay)
    return _average(abs_sq(g) ** (order // 2 if order % 2 == 0 else order / 2), moments, decay)


@leafwise("updates", "moments", keep="moments")
def update_infinity_moment(updates: Updates, moments: Tree, decay: ArrayLike, eps: ArrayLike) -> Tree:
    """m <- max(|g| + eps, decay m)

    Args:
      updates: the gradients, a tree.
      moments: the running means, a tree.
      decay: how much of the average stays at each update.
      eps: added to the size of the gradient.

    >>> gx.update_infinity_moment(jnp.array([1.0]), jnp.array([4.0]), decay=0.5, eps=0.0)
    Array([2.], dtype=float32)
    """
    size, old = once(operator.add, jnp.abs(wide(updates)), eps), once(operator.mul, wide(moments), _coefficient(decay))
    return _store(jnp.maximum(*alike(size, old)), moments)


@leafwise("moment")
def bias_correction(moment: Tree, decay: ArrayLike, count: ArrayLike) -> Tree:
    """m / (1 - decay^count)

    Args:
      moment: a running mean.
      decay: how much of the average stays at each update.
      count: the number of updates in the average.

    >>> round(float(gx.bias_correction(0.1, decay=0.9, count=1)), 4)
    1.0
    """
    m = wide(moment)
    count = jnp.asarray(count).astype(promote(real_part(m.dtype), jnp.float32))
    return _store(once(operator.truediv, m, 1 - once(operator.pow, _coefficient(decay), count)), moment)


def _average(x: Array, moment: ArrayLike, decay: ArrayLike) -> Array:
    decay = _coefficient(decay)
    x, m, kept, new = alike(x, wide(moment), decay, 1 - decay)
    return _store(x * new + m * kept, moment)


def _coefficient(x: ArrayLike) -> ArrayLike:
    """A Python number stays one, so that 1 - x is exact in double precision; an array is widened."""
    return wide(x) if hasattr(x, "dtype") else x


def _store(x: Array, like: ArrayLike) -> Array:
    """Round to the dtype of `like`, unless that could not hold x: a whole number, or real for complex x."""
    dtype = jnp.result_type(like)
    holds = is_inexact(dtype) and (jnp.issubdtype(dtype, jnp.complexfloating) or not jnp.iscomplexobj(x))
    return round_to(x, dtype) if holds else x
