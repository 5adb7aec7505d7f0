"""Numbers: wide dtypes, honest rounding, and the small pieces of arithmetic that kernels share.

The ground that the library itself stands on. Optax's public functions of this kind are in `gradxform.numerics`.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh

from gradxform._types import Array, ArrayLike, DType, Tree

INT32_MAX = np.iinfo(np.int32).max


@contextlib.contextmanager
def concretely() -> Iterator[None]:
    """What is computed from known numbers inside is known too, also where a function is traced for devices that are not here."""
    with jax.ensure_compile_time_eval(), jax.sharding.use_abstract_mesh(AbstractMesh((), ())):
        yield


@functools.cache
def is_whole(dtype: DType) -> bool:
    """Whether it is of integers or of flags."""
    return bool(jnp.issubdtype(dtype, jnp.integer) or jnp.issubdtype(dtype, np.bool_))


@functools.cache
def is_inexact(dtype: DType) -> bool:
    return bool(jnp.issubdtype(dtype, jnp.inexact))


def promote(*dtypes: DType) -> np.dtype:
    """The dtype of the standard promotion of all of these, which JAX itself finds only where it is set to promote so.

    A dtype that has no promotion, such as float8, float4 and int4, counts beside others as one that holds all of its values.
    """
    return functools.reduce(_promoted, [np.dtype(d) for d in dtypes])


@functools.cache
def _promoted(a: np.dtype, b: np.dtype) -> np.dtype:
    if a == b:
        return a
    with jax.numpy_dtype_promotion("standard"):
        return jnp.promote_types(_promotable(a), _promotable(b))


def _promotable(dtype: np.dtype) -> np.dtype:
    if jnp.issubdtype(dtype, jnp.floating) and jnp.finfo(dtype).bits < 16:
        return np.dtype(jnp.bfloat16)
    if jnp.issubdtype(dtype, jnp.integer) and jnp.iinfo(dtype).bits < 8:
        return np.dtype(jnp.int8 if jnp.issubdtype(dtype, jnp.signedinteger) else jnp.uint8)
    return dtype


def result_dtype(*xs: ArrayLike | DType) -> np.dtype:
    """The dtype that the standard promotion gives to what is computed of these values."""
    strong = {getattr(x, "dtype", None) for x in xs if not getattr(x, "weak_type", False)} - {None}
    held = lambda x: _promotable(jax.dtypes.canonicalize_dtype(x.dtype)) if getattr(x, "dtype", None) in strong else x
    with jax.numpy_dtype_promotion("standard"):
        return jnp.result_type(*(map(held, xs) if len(strong) > 1 else xs))


def mixing(*xs: Tree) -> contextlib.AbstractContextManager[None]:
    """Standard promotion for equations in which arrays of several dtypes meet, once wide: a complex leaf and its real moment, for one.

    Where all are of one real dtype, promotion stays as it is configured.
    """
    dtypes = {
        widen(x.dtype) for x in jax.tree.leaves(xs) if isinstance(x, (jax.Array, np.ndarray, np.generic)) and is_inexact(x.dtype)
    }
    alone = len(dtypes) <= 1 and not any(jnp.issubdtype(d, jnp.complexfloating) for d in dtypes)
    return contextlib.nullcontext() if alone else jax.numpy_dtype_promotion("standard")


@functools.cache
def widen(dtype: np.dtype) -> np.dtype:
    """The dtype to compute in: at least float32, complex if `dtype` is."""
    return promote(dtype, jnp.float32) if is_inexact(dtype) else dtype


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
    """|x|^2, real for complex x.

    Args:
      x: an array.

    >>> gx.abs_sq(jnp.array([3.0 + 4.0j]))
    Array([25.], dtype=float32)
    """
    return (x.conj() * x).real if jnp.iscomplexobj(x) else x * x


def clip_elements(x: Array, most: Array | float) -> Array:
    """Each element in [-most, most]; complex ones keep their phase."""
    if not jnp.iscomplexobj(x):
        return jnp.clip(x, -most, most)
    size = jnp.abs(x)
    factor = jnp.where(size > most, most / jnp.where(size > 0, size, 1), 1)
    return by_parts(lambda part: part * factor, x)


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


def parts(x: Array) -> tuple[Array, ...]:
    """The real and the imaginary part of complex numbers, real ones as they are."""
    return (x.real, x.imag) if jnp.iscomplexobj(x) else (x,)


def by_parts(f: Callable[[Array], Array], x: Array) -> Array:
    """A real f at the real and the imaginary part of complex numbers."""
    return jax.lax.complex(f(x.real), f(x.imag)) if jnp.iscomplexobj(x) else f(x)


def power_of_two(largest: Array) -> Array:
    """A power of two near `largest`, the size of the largest element of an array; 1 if that is 0 or not finite.

    To divide by it rounds nothing, and the sum of the squares neither overflows nor vanishes then.
    """
    largest = jax.lax.stop_gradient(largest)
    info = jnp.finfo(largest.dtype)
    unit = jax.lax.reduce_precision(largest / 4, exponent_bits=info.nexp, mantissa_bits=0)
    return jnp.where((unit > 0) & jnp.isfinite(unit), unit, jnp.ones((), unit.dtype))


def size_along(x: Array, axis: int | Sequence[int] | None = None) -> Array:
    """The Euclidean norm along axes, which stay with length 1: without overflow of the squares, and with derivative 0 at 0."""
    largest = functools.reduce(jnp.maximum, [jnp.max(jnp.abs(part), axis, keepdims=True, initial=0) for part in parts(x)])
    unit = power_of_two(largest)
    square = sum(jnp.sum((part / unit) ** 2, axis, keepdims=True) for part in parts(x))
    return jnp.where(square > 0, unit * jnp.sqrt(jnp.where(square > 0, square, 1)), square)


def in_place(new: Array, old: Array, flag: Array) -> Array:
    """`new`, computed so that a compiler writes it over `old` in the loop that computes the rest; `flag` is known only at run time.

    A state that takes over an argument as it is, or whose new value does not depend on its old one, costs a copy of its own.
    """
    return jnp.where(flag, jnp.where(flag, new, old), new)


def increment(count: Array | int) -> Array:
    """The next count, saturating instead of wrapping around."""
    return jnp.where(count < INT32_MAX, count + 1, INT32_MAX)
