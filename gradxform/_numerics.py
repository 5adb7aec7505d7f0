"""Numbers: wide dtypes, honest rounding, and the small pieces of arithmetic that kernels share.

The ground that the library itself stands on. Optax's public functions of this kind are in `gradxform.numerics`.
"""

from __future__ import annotations

import functools
from typing import Literal, overload

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._types import Array, DType

INT32_MAX = np.iinfo(np.int32).max


@functools.cache
def is_inexact(dtype: DType) -> bool:
    return bool(jnp.issubdtype(dtype, jnp.inexact))


@functools.cache
def widen(dtype: np.dtype) -> np.dtype:
    """The dtype to compute in: at least float32, complex if `dtype` is."""
    return jnp.promote_types(dtype, jnp.float32) if is_inexact(dtype) else dtype


@functools.cache
def real_part(dtype: np.dtype) -> np.dtype:
    """The dtype of |x|."""
    return jnp.finfo(dtype).dtype if is_inexact(dtype) else dtype


def round_to(x: Array, dtype: np.dtype) -> Array:
    """Round to `dtype`.

    A compiler may keep the excess precision of a conversion to bfloat16 and back; `reduce_precision` forbids it. Not for
    float16, whose subnormal numbers it would flush to zero.
    """
    if x.dtype == dtype:
        return x
    if jnp.iscomplexobj(x) and not jnp.issubdtype(dtype, jnp.complexfloating):
        x = x.real
    if dtype == jnp.bfloat16 and x.dtype == jnp.float32:
        x = jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7)
    return x.astype(dtype)


@overload
def abs_sq(x: Array) -> Array: ...
@overload
def abs_sq(x: np.ndarray) -> np.ndarray: ...
def abs_sq(x):
    """|x|^2, real for complex x."""
    return (x.conj() * x).real if jnp.iscomplexobj(x) else x * x


def clip_elements(x: Array, most: Array | float) -> Array:
    """Each element in [-most, most]; complex ones keep their phase."""
    if not jnp.iscomplexobj(x):
        return jnp.clip(x, -most, most)
    size = jnp.abs(x)
    return x * jnp.where(size > most, most / jnp.where(size > 0, size, 1), 1)


def sum_sq(x: Array) -> Array:
    """The sum of |x|^2 over all elements."""
    return jnp.sum(abs_sq(x))


def inner(x: Array, y: Array) -> Array:
    """The inner product over all elements, the real part of it for complex ones."""
    return jnp.sum((jnp.conj(x) * y).real)


def norm(x: Array) -> Array:
    """The Euclidean norm of all elements."""
    return jnp.sqrt(sum_sq(x))


def root(x: Array, eps: Array | float, eps_in_sqrt: bool | Literal["both"]) -> Array:
    """The root of a mean or sum of squares as a divisor: sqrt(x + eps), sqrt(x) + eps if not `eps_in_sqrt`, eps twice for "both"."""
    r = jnp.sqrt(x + eps if eps_in_sqrt else x)
    return r if eps_in_sqrt is True else r + eps


def increment(count: Array | int) -> Array:
    """The next count, saturating instead of wrapping around."""
    return jnp.where(count < INT32_MAX, count + 1, INT32_MAX)
