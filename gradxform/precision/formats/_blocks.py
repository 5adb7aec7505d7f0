"""Blocks of consecutive elements along one axis of an array, each with a scale of its own.

The codes have the array's shape, and the scales that shape with one axis divided by the length of a block; the two shapes say both which
axis it is and how long a block is, so that there is nothing else to store. So codes and scales are laid out over devices as the
parameter is, and an entry can be transposed. Blocks of the flattened array would lie across its rows, and so across devices.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp

from gradxform._types import Array, DType, Shape
from gradxform.precision._storage import Facts

E = TypeVar("E")
SMALLEST = 4096
"""Leaves with fewer elements stay as they are."""


def blocked_axis(shape: Shape, block: int) -> int | None:
    """The last axis whose length is a multiple of the block, if any."""
    fitting = [axis for axis, length in enumerate(shape) if length and length % block == 0]
    return fitting[-1] if fitting else None


def zeros(cls: Callable[[Array, Array], E], like: Array, block: int, code: int, codes: DType, scales: DType) -> E | None:
    """An entry of that code throughout, with scales of 0; None where the leaf is small or not real, or no axis fits.

    The scales are cut out of an array like the leaf, and so are laid out over devices as it is.
    """
    axis = blocked_axis(like.shape, block)
    if axis is None or math.prod(like.shape) < SMALLEST or not jnp.issubdtype(like.dtype, jnp.floating):
        return None
    shape = like.shape
    split = (*shape[:axis], shape[axis] // block, block, *shape[axis + 1 :])
    scale = jnp.zeros_like(like, dtype=scales).reshape(split)[(slice(None),) * (axis + 1) + (0,)]
    return cls(jnp.zeros_like(like, dtype=codes) + jnp.asarray(code, codes), scale)


def split(x: Array, scales: Array) -> tuple[Array, int]:
    """x with one axis more, along which a block lies, and which axis that is."""
    of = scales.shape
    axis = next(i for i, (n, m) in enumerate(zip(x.shape, of, strict=True)) if n != m)
    return x.reshape(*of[: axis + 1], x.shape[axis] // of[axis], *of[axis + 1 :]), axis + 1


def spread(x: Array, scales: Array) -> Array:
    """x times the scale of its block."""
    blocks, axis = split(x, scales)
    return (blocks * jnp.expand_dims(scales, axis).astype(x.dtype)).reshape(x.shape)


def largest(x: Array, scales: Array) -> tuple[Array, Array, int]:
    """x in blocks, in float32; the largest magnitude of each, with that axis at length 1; and the axis.

    Magnitudes are compared by their bits, as whole numbers: a NaN is then the largest of all on every
    device, and its block does not hide it.
    """
    blocks, axis = split(x.astype(jnp.float32), scales)
    bits = jax.lax.bitcast_convert_type(jnp.abs(blocks), jnp.int32)
    return blocks, jax.lax.bitcast_convert_type(jnp.max(bits, axis, keepdims=True), jnp.float32), axis


def divided(x: Array, by: Array | float) -> Array:
    """x divided, each number by itself: by one number for many, XLA multiplies by its inverse, and so rounds twice."""
    return x / jnp.where(jnp.isnan(x), x, by)


def by_sign(signed: type, unsigned: type) -> Callable[[Facts], type]:
    """A rule of `store`: one codec for fields that can be negative, another for those that cannot."""
    return lambda facts: unsigned if facts.nonnegative else signed
