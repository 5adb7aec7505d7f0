"""The elementwise codecs: bfloat16 rounded at random, float8 for numbers that are not negative, int8 relative to a root.

They are written in whole numbers, up to one division and one root, so that they give the same bits wherever and however they are compiled.
"""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._errors import HyperparameterError
from gradxform._numerics import INT32_MAX
from gradxform._types import Array, ArrayLike, DType
from gradxform.precision._codec import codec
from gradxform.precision._counter import advanced, counter_bits
from gradxform.precision._narrow import narrow

MANTISSA = 2  # bits of float8
LOWEST = -56
TOP = 127  # of int8
FRACTION = 18  # bits below the point of a fixed-point number of at most TOP^2


def _is_apt(like: Array) -> bool:
    """Real, and more than one number, for which the seed alone would take as much memory."""
    return bool(jnp.issubdtype(like.dtype, jnp.floating)) and len(like.shape) > 0


def _seed(seed: ArrayLike) -> Array:
    return jnp.asarray(seed, jnp.uint32)


def _noise(h: Array, dtype: np.dtype, dropped: int) -> Array:
    """As many random bits as are dropped, of 32; below a number of 64 bits the rest repeats them."""
    if dtype == jnp.uint32:
        return h >> dtype.type(32 - dropped)
    h = h.astype(dtype)
    return (h << dtype.type(32) | h) >> dtype.type(64 - dropped)


def _small(k: Array) -> Array:
    """Whole numbers below 2^23 as float32, by their bits: from there, a TPU makes 8 bits of them in the pass that computes them."""
    return jax.lax.bitcast_convert_type(k.astype(jnp.uint32) | jnp.uint32(0x4B000000), jnp.float32) - jnp.float32(2**23)


def _uint(dtype: DType) -> np.dtype:
    return np.dtype(f"uint{jnp.finfo(dtype).bits}")


@codec("bfloat16")
class Bfloat16(NamedTuple):
    """Numbers rounded to bfloat16 at random, up or down, so that the mean is exact.

        P(up) = (x - down) / (up - down)

    2 bytes per number, with the sign and the range of float32.
    """

    rounded: Array
    seed: Array

    @classmethod
    def zeros(cls, like: Array, seed: ArrayLike) -> Bfloat16 | None:
        return cls(jnp.zeros_like(like, dtype=jnp.bfloat16), _seed(seed)) if _is_apt(like) else None

    def decode(self, partner: Array | None = None) -> Array:
        return self.rounded.astype(jnp.float32)

    def encode(self, x: Array, partner: Array | None = None) -> Bfloat16:
        noise = _noise(counter_bits(x.shape, self.seed), _uint(x.dtype), jnp.finfo(x.dtype).nmant - 7)
        return Bfloat16(narrow(x, jnp.bfloat16, noise), advanced(self.seed))


@codec("float8")
class Float8(NamedTuple):
    """Numbers that are not negative in 8 bits, 6 of exponent and 2 of mantissa, rounded at random so that the mean is exact.

        code   0 is 0; code k from 1 is 2^low (1 + (k - 1) % 4 / 4) 2^((k - 1) // 4)

    From 2^low to 1.5 2^(low + 63), with low = -56 to 192: no positive number becomes 0, and what lies beyond the ends goes to the ends.
    Neighbours are a quarter to a seventh of their size apart, which a running mean averages out.
    """

    codes: Array
    seed: Array
    low: Array

    nonnegative = True

    @classmethod
    def zeros(cls, like: Array, seed: ArrayLike, low: int = LOWEST) -> Float8 | None:
        return cls(jnp.zeros_like(like, dtype=jnp.uint8), _seed(seed), jnp.int32(low)) if _is_apt(like) else None

    def decode(self, partner: Array | None = None) -> Array:
        bits = (self.codes.astype(jnp.int32) + _base(self.low, jnp.float32)) << (23 - MANTISSA)
        return jnp.where(self.codes > 0, jax.lax.bitcast_convert_type(bits, jnp.float32), 0)

    def encode(self, x: Array, partner: Array | None = None) -> Float8:
        info, uint = jnp.finfo(x.dtype), _uint(x.dtype)
        dropped = info.nmant - MANTISSA
        noise = _noise(counter_bits(x.shape, self.seed), uint, dropped)
        # The sign is cut off first: of a negative number nothing is kept, and the sum cannot overflow.
        bits = jax.lax.bitcast_convert_type(x, uint) & uint.type(2 ** (info.bits - 1) - 1)
        k = ((bits + noise) >> uint.type(dropped)).astype(jnp.int32) - _base(self.low, x.dtype)
        codes = jnp.where((x > 0) | jnp.isnan(x), jnp.clip(k, 1, 255), 0)
        return Float8(_small(codes).astype(jnp.uint8), advanced(self.seed), self.low)

    def saturated(self) -> Array:
        """How many numbers have the largest code, and may have been larger."""
        return jnp.sum(self.codes == 255)


def _base(low: Array, dtype: DType) -> Array:
    """What the upper bits of 2^low, read as an integer, are less 1."""
    bias = 1 - int(jnp.finfo(dtype).minexp)
    return ((low + bias) << MANTISSA) - 1


@codec("int8:relative")
class Int8(NamedTuple):
    """A running mean of x in 8 bits, relative to the root of the running mean of |x|^2, rounded at random so that the mean is exact.

        x = sign(code) (code / 127)^2 limit sqrt(partner)

    The partner is taken as it is stored. Where it is 0, so is x.
    """

    codes: Array
    seed: Array
    limit: Array

    partner = True

    @classmethod
    def zeros(cls, like: Array, seed: ArrayLike, limit: float = 1.0) -> Int8 | None:
        return cls(jnp.zeros_like(like, dtype=jnp.int8), _seed(seed), jnp.float32(limit)) if _is_apt(like) else None

    def _unit(self, partner: Array) -> Array:
        return self.limit * jnp.sqrt(partner.astype(jnp.float32))

    def decode(self, partner: Array | None = None) -> Array:
        assert partner is not None
        code = self.codes.astype(jnp.int32)
        return (code * jnp.abs(code)).astype(jnp.float32) * jnp.float32(TOP**-2) * self._unit(partner)

    def encode(self, x: Array, partner: Array | None = None) -> Int8:
        assert partner is not None
        unit, of = self._unit(partner).astype(x.dtype), jnp.uint32
        y = jnp.minimum(jnp.abs(x) / jnp.where(unit > 0, unit, 1), 1)
        y = jnp.where(unit > 0, jnp.where(jnp.isnan(y), 1, y), 0)
        t = (y * (TOP**2 * 2.0**FRACTION)).astype(jnp.uint32)  # y 127^2, in fixed point
        whole = t >> of(FRACTION)
        k = jnp.sqrt(whole.astype(jnp.float32)).astype(jnp.uint32)
        h = counter_bits(x.shape, self.seed) >> of(8)
        above = ((h * (2 * k + 1)) < ((t - ((k * k) << of(FRACTION))) << of(24 - FRACTION))).astype(of)
        size = _small(jnp.minimum(k + above, TOP))
        return Int8(jnp.where(x < 0, -size, size).astype(jnp.int8), advanced(self.seed), self.limit)

    def saturated(self) -> Array:
        """How many numbers are at the limit, and may have been beyond."""
        return jnp.sum(jnp.abs(self.codes) == TOP)


@dataclasses.dataclass(frozen=True)
class float8:
    """The storage `"float8"` with another range.

        float8(low=-48)         from 2^-48 = 3.6e-15 to 4.9e4, for losses that are sums and not means

    Args:
      low: the smallest number is 2^low; the largest 1.5 2^(low + 63).

    Raises   HyperparameterError: low is not in [-126, 64].
    """

    low: int = LOWEST

    def __post_init__(self) -> None:
        if not -126 <= self.low <= 64:
            raise HyperparameterError(f"float8: `low` must be a whole number in [-126, 64], but got {self.low!r}.")

    codec = Float8

    def zeros(self, like: Array, seed: ArrayLike) -> Float8 | None:
        return Float8.zeros(like, seed, self.low)


@dataclasses.dataclass(frozen=True)
class int8:
    """The storage `"int8"` with a given limit, for decays that are scheduled or traced.

        |mean of x| <= limit sqrt(mean of |x|^2)

    Args:
      limit: what the mean is at most, relative to the root of its partner; `bound(b1, b2)` with some margin.

    Raises   HyperparameterError: limit is not a positive number.
    """

    limit: float

    def __post_init__(self) -> None:
        if not 0 < self.limit < INT32_MAX:
            raise HyperparameterError(f"int8: `limit` must be a positive number, but got {self.limit!r}.")

    codec = Int8

    def zeros(self, like: Array, seed: ArrayLike) -> Int8 | None:
        return Int8.zeros(like, seed, self.limit)


class Nearest(NamedTuple):
    """The storage `"bfloat16:nearest"`: plain arrays of bfloat16, which the lift rounds to nearest."""

    @staticmethod
    def zeros(like: Array, seed: ArrayLike) -> Array | None:
        del seed
        return jnp.zeros_like(like, dtype=jnp.bfloat16) if _is_apt(like) else None


def bound(b1: float, b2: float) -> float:
    """L with |mu| <= L sqrt(nu) for running means mu of x and nu of |x|^2 that began at 0, by the inequality of Cauchy and Schwarz.

    L^2 = (1 - b1)^2 / ((1 - b2) (1 - b1^2 / b2))           b1^2 < b2
    """
    return math.sqrt((1 - b1) ** 2 / ((1 - b2) * (1 - b1**2 / b2)))
