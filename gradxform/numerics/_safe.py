"""What could overflow, or have no derivative at 0."""

# ruff: noqa: A002

from __future__ import annotations

import jax
import jax.numpy as jnp

from gradxform._errors import StructureError
from gradxform._numerics import abs_sq, by_parts, is_inexact, power_of_two, real_part, result_dtype, round_to, widen
from gradxform._types import Array, ArrayLike


def safe_norm(
    x: ArrayLike,
    min_norm: ArrayLike,
    ord: int | float | str | None = None,
    axis: int | tuple[int, ...] | None = None,
    keepdims: bool = False,
) -> Array:
    """max(|x|, min_norm), with derivative 0 where min_norm wins.

    `ord`, `axis` and `keepdims` are those of `jnp.linalg.norm`.

    Args:
      x: an array.
      min_norm: the least result.
      ord: which norm, as in `jnp.linalg.norm`.
      axis: as in `jnp.linalg.norm`.
      keepdims: whether the axes of the norm stay, with length 1.

    >>> jax.grad(lambda x: gx.safe_norm(x, 1e-6))(jnp.zeros(2))
    Array([0., 0.], dtype=float32)

    Source   the double `where`: the norm that is differentiated never sees 0.
    Differs  narrow dtypes are summed in float32, and squares neither overflow nor vanish.
    """
    given, x = jnp.asarray(x), _wide(x)
    unit = power_of_two(jnp.max(jnp.abs(x), axis, keepdims=True, initial=0)) if ord != 0 else jnp.ones((), real_part(x.dtype))
    x, least = by_parts(lambda part: part / unit, x), jnp.asarray(min_norm, unit.dtype) / unit
    norm = jnp.linalg.norm(jax.lax.stop_gradient(x), ord=ord, axis=axis, keepdims=True)
    small = norm <= least
    result = jnp.linalg.norm(jnp.where(small, 1, x), ord=ord, axis=axis, keepdims=True)
    result = jnp.where(small, jnp.asarray(min_norm, unit.dtype), unit * result)
    return _narrow(result if keepdims else jnp.squeeze(result, axis), given, min_norm)


def safe_root_mean_squares(x: ArrayLike, min_rms: ArrayLike) -> Array:
    """max(sqrt(mean |x|^2), min_rms), with derivative 0 where min_rms wins.

    Args:
      x: an array.
      min_rms: the least result.

    >>> gx.safe_root_mean_squares(jnp.array([3.0, -3.0]), 1e-3)
    Array(3., dtype=float32)

    Source   the double `where`: the root that is differentiated never sees 0.
    Differs  narrow dtypes are summed in float32, and squares neither overflow nor vanish.
    """
    given, x = jnp.asarray(x), _wide(x)
    unit = power_of_two(jnp.max(jnp.abs(x), initial=0))
    x, least = by_parts(lambda part: part / unit, x), jnp.asarray(min_rms, unit.dtype)
    small = jnp.sqrt(jnp.mean(abs_sq(jax.lax.stop_gradient(x)))) <= least / unit
    result = jnp.where(small, least, unit * jnp.sqrt(jnp.mean(abs_sq(jnp.where(small, 1, x)))))
    return _narrow(result, given, min_rms)


def safe_increment(count: ArrayLike) -> Array:
    """count + 1, or the largest number of the dtype if that is reached.

    Args:
      count: a number, whole or of floating point.

    >>> gx.safe_increment(jnp.array(2**31 - 1, jnp.int32))
    Array(2147483647, dtype=int32)

    Source   saturating arithmetic.
    Differs  no.
    Raises   StructureError: count is neither whole nor floating-point.
    """
    count = jnp.asarray(count)
    if not any(jnp.issubdtype(count.dtype, kind) for kind in (jnp.integer, jnp.floating)):
        raise StructureError(f"safe_increment: `count` must be an integer or a floating-point number, but has dtype {count.dtype}.")
    largest = (jnp.finfo if is_inexact(count.dtype) else jnp.iinfo)(count.dtype).max
    largest = jnp.asarray(largest, count.dtype)
    return jnp.where(count < largest, count + jnp.ones([], count.dtype), largest)


safe_int32_increment = safe_increment  # its first name in Optax, which programs still call


def _wide(x: ArrayLike) -> Array:
    x = jnp.asarray(x)
    return x.astype(widen(x.dtype)) if is_inexact(x.dtype) else x.astype(jnp.float32)


def _narrow(result: Array, x: Array, least: ArrayLike) -> Array:
    """The result in the dtype that x and the bound promote to."""
    return round_to(result, result_dtype(real_part(x.dtype), least)) if is_inexact(x.dtype) else result
