"""torchao's float8 state: e4m3 in blocks of 256. For states that it saved; not recommended for new ones."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from gradxform._types import Array, ArrayLike
from gradxform.precision._codec import codec
from gradxform.precision.formats import _blocks

BLOCK = 256
TOP = 448  # the largest number of e4m3
FLOOR = 1e-12


def _e4m3(y: Array) -> Array:
    """The bits of y in [-448, 448] in the format e4m3, rounded to nearest, ties to even; in whole numbers, the same on every device."""
    bits, of = jax.lax.bitcast_convert_type(y, jnp.uint32), jnp.uint32
    size = bits & of(0x7FFFFFFF)
    normal = ((size + of(0x7FFFF) + (size >> of(20) & of(1))) >> of(20)) - of((127 - 7) << 3)
    subnormal = jnp.round(jnp.abs(y) * 2**9).astype(of)  # below 2^-6 the spacing is 2^-9
    code = jnp.where(jnp.isnan(y), of(0x7F), jnp.where(size < of((127 - 6) << 23), subnormal, normal))
    return (code | bits >> of(31) << of(7)).astype(jnp.uint8)


@codec("torchao:fp8")
class TorchaoFp8(NamedTuple):
    """Numbers as torchao stores them in float8.

        x = e4m3 scale                         scale    max |x| of a block of 256 numbers along one axis, at least 1e-12, over 448

    1.0156 bytes per number; `e4m3` holds the bits of the format as uint8. What is less than 2.2e-6 of the largest number of its block
    becomes 0: a second moment that does divides the step by eps alone.

    Source   torchao 0.18, `OptimStateFp8`.
    Differs  blocks lie along one axis of the array, the last whose length is a multiple of 256: torchao's lie along the flattened
             array, which is the same where that is the last axis. Where no axis fits, and below 4096 numbers, leaves stay in float32.
    """

    e4m3: Array
    scale: Array

    biased = True

    @classmethod
    def zeros(cls, like: Array, seed: ArrayLike) -> TorchaoFp8 | None:
        del seed
        return _blocks.zeros(cls, like, BLOCK, 0, jnp.uint8, jnp.float32)

    def decode(self, partner: Array | None = None) -> Array:
        return _blocks.spread(jax.lax.bitcast_convert_type(self.e4m3, jnp.float8_e4m3fn).astype(jnp.float32), self.scale)

    def encode(self, x: Array, partner: Array | None = None) -> TorchaoFp8:
        blocks, top, axis = _blocks.largest(x, self.scale)
        scale = _blocks.divided(jnp.maximum(top, FLOOR), TOP)
        return TorchaoFp8(_e4m3(_blocks.divided(blocks, scale)).reshape(x.shape), jnp.squeeze(scale, axis))
