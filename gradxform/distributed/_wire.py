"""What is sent: digits -1, 0, 1, four to a byte, and the sums of them over the devices.

Each device sums one part of the array for all. It gets that part from the others (`all_to_all`) and hands out the result
(`all_gather`), so that what a device sends and receives does not grow with the number of devices.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import jax
import jax.numpy as jnp

from gradxform._types import Array, DType

PER_BYTE = 4


def signs(x: Array) -> Array:
    """The signs of real numbers as digits; 0 for a NaN."""
    return (x > 0).astype(jnp.int8) - (x < 0).astype(jnp.int8)


def pack(q: Array) -> Array:
    """Digits -1, 0, 1 as bytes, four of the last axis in one."""
    digits = (q + 1).astype(jnp.uint8).reshape(*q.shape[:-1], -1, PER_BYTE)
    return digits[..., 0] | digits[..., 1] << 2 | digits[..., 2] << 4 | digits[..., 3] << 6


def unpack(bytes_: Array) -> Array:
    """The inverse of `pack`."""
    digits = jnp.stack([bytes_ >> shift & 3 for shift in (0, 2, 4, 6)], axis=-1)
    return (digits.reshape(*bytes_.shape[:-1], -1).astype(jnp.int8)) - 1


def counting(n: int) -> DType:
    """The narrowest dtype that holds a sum of n digits."""
    return jnp.int8 if n < 128 else jnp.int16 if n < 2**15 else jnp.int32


def _parts(q: Array, axis_name: Hashable) -> Array:
    """From each device, its digits of the part that this one sums: (devices, elements)."""
    n = jax.lax.axis_size(axis_name)
    flat = jnp.ravel(q)
    group = PER_BYTE * n
    flat = jnp.pad(flat, (0, -flat.size % group if flat.size else group)).reshape(n, -1)  # one group of an empty array
    return unpack(jax.lax.all_to_all(pack(flat), axis_name, 0, 0))


def _gathered(part: Array, axis_name: Hashable) -> Array:
    """The parts of all devices one after another, of which JAX knows that they are the same on each."""
    gather: Callable[..., Array] | None = getattr(jax.lax, "all_gather_invariant", None)  # its name before JAX 0.9
    return (
        jax.lax.all_gather(part, axis_name, tiled=True, to="invarying") if gather is None else gather(part, axis_name, tiled=True)
    )


def _whole(part: Array, like: Array, axis_name: Hashable) -> Array:
    """The array that the parts make up, the same on every device."""
    return _gathered(part, axis_name)[: like.size].reshape(like.shape)


def sum_of(q: Array, axis_name: Hashable) -> Array:
    """sum_i q_i over the devices, as whole numbers."""
    parts = _parts(q, axis_name)
    return _whole(jnp.sum(parts, axis=0, dtype=counting(parts.shape[0])), q, axis_name)


def majority_of(q: Array, axis_name: Hashable) -> Array:
    """sign(sum_i q_i): what most devices say, 0 for a tie; two bits per element both ways."""
    parts = _parts(q, axis_name)
    vote = jnp.sign(jnp.sum(parts, axis=0, dtype=counting(parts.shape[0]))).astype(jnp.int8)
    return unpack(_gathered(pack(vote), axis_name))[: q.size].reshape(q.shape)


def mean_of(q: Array, scale: Array, axis_name: Hashable) -> Array:
    """The mean over the devices of scale_i q_i."""
    parts, scales = _parts(q, axis_name), jax.lax.all_gather(scale, axis_name)
    return _whole(jnp.mean(scales[:, None] * parts.astype(scale.dtype), axis=0), q, axis_name)
