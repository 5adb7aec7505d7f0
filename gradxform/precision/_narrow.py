"""Rounding to a narrower dtype in integer arithmetic: the same on every device, and out of reach of a compiler's excess precision.

The bits of a positive number, read as an integer, grow with it, so rounding is: add something below the last bit that is kept, and
cut. A carry runs into the exponent as it should. For numbers that are subnormal only in the narrower dtype (float16: below 2^-14), the
significand with its leading bit, shifted to the fixed spacing of the subnormal numbers (2^-24), takes the place of the bits.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._errors import StructureError
from gradxform._numerics import widen
from gradxform._types import Array, DType
from gradxform.precision._randomness import halves, noise_like

_UNSIGNED = {16: jnp.uint16, 32: jnp.uint32, 64: jnp.uint64}


def loses_bits(x: Array, dtype: DType) -> bool:
    """Whether numbers like x, once widened, do not all fit in `dtype`."""
    return jnp.finfo(dtype).nmant < jnp.finfo(widen(x.dtype)).nmant


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 3))
def narrow_at_random(x: Array, dtype: DType, key: Array, axis_name: Hashable | None = None) -> Array:
    """x in a narrower dtype, rounded up or down so that the average is x, by a random key or a seed.

    The random bits do not depend on how x is sharded; those of a device's own part are of its index along `axis_name`. The derivative is
    that of x: rounding passes it through.
    """
    if not loses_bits(x, dtype):
        return x.astype(dtype)
    if jnp.finfo(dtype).bits < 16:
        raise StructureError(f"Rounding at random is for dtypes of at least 16 bits, but got {jnp.dtype(dtype)}. Round to nearest.")
    if jnp.iscomplexobj(x):
        part, keys = jnp.finfo(dtype).dtype, halves(key)
        return jax.lax.complex(*(narrow_at_random(y, part, k, axis_name) for y, k in zip((x.real, x.imag), keys, strict=True)))
    return narrow(x, dtype, noise_like(x, _UNSIGNED[jnp.finfo(widen(x.dtype)).bits], key, axis_name))


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def narrow(x: Array, dtype: DType, noise: Array | None = None) -> Array:
    """x in a narrower dtype: rounded to nearest, ties to even; or up or down by random bits, to x on average.

    What lies beyond the largest finite number, infinities and NaN are converted as `astype` does. The derivative is that of x: rounding
    passes it through.
    """
    x = x.astype(widen(x.dtype))
    if jnp.iscomplexobj(x):
        part = jnp.finfo(dtype).dtype
        return jax.lax.complex(narrow(x.real, part), narrow(x.imag, part))
    if not loses_bits(x, dtype) or jnp.finfo(dtype).bits < 16:
        return x.astype(dtype)
    wide, small = jnp.finfo(x.dtype), jnp.finfo(dtype)
    bits = jax.lax.bitcast_convert_type(x, _UNSIGNED[wide.bits])
    of = bits.dtype.type
    magnitude = bits & of(2 ** (wide.bits - 1) - 1)
    rounded = _rounded(magnitude, wide, small, noise)
    signed = rounded | (bits >> of(wide.bits - 1) << of(small.bits - 1))
    if small.minexp == wide.minexp:  # a prefix of the wide format; from float32, a TPU narrows it in the pass that computes x
        result = jax.lax.bitcast_convert_type(signed << of(wide.bits - small.bits), x.dtype)
        return jnp.where(jnp.abs(x) <= small.max.astype(x.dtype), result, x).astype(dtype)
    result = jax.lax.bitcast_convert_type(signed.astype(_UNSIGNED[small.bits]), dtype)
    return jnp.where(jnp.abs(x) <= small.max.astype(x.dtype), result, x.astype(dtype))


def _passed_through(f: Callable[..., Array]) -> Callable[..., tuple[Array, Array]]:
    """The rule: f(x, static, by what to round, further static ones), and the derivative of x."""

    def rule(dtype: DType, *rest: Any) -> tuple[Array, Array]:
        *static, primals, tangents = rest
        return f(primals[0], dtype, primals[1], *static), tangents[0].astype(dtype)

    return rule


narrow_at_random.defjvp(_passed_through(narrow_at_random))
narrow.defjvp(_passed_through(narrow))


def _rounded(magnitude: Array, wide: np.finfo, small: np.finfo, noise: Array | None) -> Array:
    """The bits of a finite positive number in the narrower format."""
    of, bits, mantissa = magnitude.dtype.type, wide.bits, wide.nmant
    rebias = int(small.minexp - wide.minexp)  # how many of the exponents lie below the narrower format's
    drop, kept, below = of(mantissa - small.nmant), magnitude, np.bool_(False)
    if rebias:
        exponent = magnitude >> of(mantissa)
        below = exponent <= of(rebias)
        drop = jnp.where(below, of(rebias + 1) + drop - jnp.minimum(exponent, of(rebias)), drop)
        kept = jnp.where(below, magnitude & of(2**mantissa - 1) | of(2**mantissa), magnitude)
    near = jnp.minimum(drop, of(bits - 1))  # a shift by all bits is undefined
    if noise is None:
        raised = kept + (of(1) << (near - of(1))) - of(1) + (kept >> near & of(1))
        tiny = of(0)
    else:
        raised = kept + (noise & ((of(1) << near) - of(1)))
        far = jnp.minimum(jnp.maximum(drop, of(bits)) - of(bits), of(bits - 1))
        tiny = (noise < kept >> far).astype(magnitude.dtype)  # kept / 2^drop is the chance of the smallest subnormal number
    cut = jnp.where(drop < of(bits), raised >> near, tiny)
    return jnp.where(below, cut, cut - of(rebias << small.nmant))
