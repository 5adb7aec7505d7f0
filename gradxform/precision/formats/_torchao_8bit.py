"""torchao's 8-bit state: the dynamic map in blocks of 256. For states that it saved; not recommended for new ones."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from gradxform._types import Array, ArrayLike
from gradxform.precision._codec import codec, named_storage
from gradxform.precision.formats import _blocks, _dynamic

BLOCK = 256
FLOOR = 1e-12  # of a scale


def _above(y: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    return y - lower >= (upper - lower) * np.float32(0.5)


@functools.cache
def _table(signed: bool) -> _dynamic.Table:
    return _dynamic.table(signed, _above)


def _coded(x: Array, scales: Array, signed: bool) -> tuple[Array, Array]:
    blocks, top, axis = _blocks.largest(x, scales)
    scale = jnp.maximum(top, FLOOR)
    return _dynamic.nearest(_blocks.divided(blocks, scale), _table(signed)).reshape(x.shape), jnp.squeeze(scale, axis)


@codec("torchao:8bit:signed")
class TorchaoSigned(NamedTuple):
    """Numbers of either sign as torchao stores them in 8 bits.

        x = map[code] scale                    scale    max |x| of a block of 256 numbers along one axis, at least 1e-12

    1.0156 bytes per number. The code is that of the nearest number of the map, of two as near the upper.

    Source   torchao 0.18, `OptimState8bit`; Dettmers et al. 2022, arXiv:2110.02861.
    Differs  blocks lie along one axis of the array, the last whose length is a multiple of 256: torchao's lie along the flattened
             array, which is the same where that is the last axis. Where no axis fits, and below 4096 numbers, leaves stay in float32.
    """

    signed: Array
    scale: Array

    biased = True

    @classmethod
    def zeros(cls, like: Array, seed: ArrayLike) -> TorchaoSigned | None:
        del seed
        return _blocks.zeros(cls, like, BLOCK, 127, jnp.uint8, jnp.float32)

    def decode(self, partner: Array | None = None) -> Array:
        return _blocks.spread(_dynamic.looked_up(self.signed, True), self.scale)

    def encode(self, x: Array, partner: Array | None = None) -> TorchaoSigned:
        return TorchaoSigned(*_coded(x, self.scale, True))


@codec("torchao:8bit:unsigned")
class TorchaoUnsigned(NamedTuple):
    """Numbers that are not negative as torchao stores them in 8 bits.

        x = map[code] scale                    scale    max x of a block of 256 numbers along one axis, at least 1e-12

    As `TorchaoSigned`, with a map that has no negative numbers. What is less than 1.6e-7 scale becomes 0: a second moment that does
    divides the step by eps alone.
    """

    unsigned: Array
    scale: Array

    biased = True
    nonnegative = True

    @classmethod
    def zeros(cls, like: Array, seed: ArrayLike) -> TorchaoUnsigned | None:
        del seed
        return _blocks.zeros(cls, like, BLOCK, 0, jnp.uint8, jnp.float32)

    def decode(self, partner: Array | None = None) -> Array:
        return _blocks.spread(_dynamic.looked_up(self.unsigned, False), self.scale)

    def encode(self, x: Array, partner: Array | None = None) -> TorchaoUnsigned:
        return TorchaoUnsigned(*_coded(x, self.scale, False))


named_storage("torchao:8bit")(_blocks.by_sign(TorchaoSigned, TorchaoUnsigned))
