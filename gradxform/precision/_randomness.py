"""Randomness for rounding: a random key, or a seed, which is a whole number and needs no key's arithmetic. The dtype says which."""

from __future__ import annotations

from collections.abc import Hashable

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._types import Array, ArrayLike, DType
from gradxform.core._first import as_key
from gradxform.core._holes import is_whole_array
from gradxform.precision._counter import advanced, counter_bits, folded, uint32


def begun(key: ArrayLike) -> Array:
    """A key or a seed as an array of its own, for a state."""
    return jnp.array(uint32(key), copy=True) if is_seed(key) else as_key(key)


def given(key: ArrayLike) -> Array:
    """A key or a seed as it is given to a function."""
    return uint32(key) if is_seed(key) else key  # type: ignore[return-value]


def is_seed(key: ArrayLike) -> bool:
    """Whether it is one number; a raw key has an axis, and a typed one is of no number's dtype."""
    return np.ndim(key) == 0 and is_whole_array(key)


def halves(key: Array) -> tuple[Array, Array]:
    """Two keys, or two seeds, for two purposes: the first may be halved again at the next step."""
    if is_seed(key):
        return advanced(key), key
    first, second = jax.random.split(key)
    return first, second


def at(key: Array, position: int) -> Array:
    """The key or seed of a part, by its position."""
    return folded(key, position) if is_seed(key) else jax.random.fold_in(key, position)


def noise_like(x: Array, dtype: DType, key: Array, axis_name: Hashable | None = None) -> Array:
    """Random bits in the shape of x, in whole numbers of that unsigned dtype. They do not depend on how x is sharded.

    Where x is a device's own part of an array that is split over a mapped axis, they are those of this part.
    """
    if not is_seed(key):
        key = key if axis_name is None else jax.random.fold_in(key, jax.lax.axis_index(axis_name))
        return jax.random.bits(key, x.shape, dtype, out_sharding=jax.typeof(x).sharding)
    counted = lambda i: counter_bits(x.shape, folded(key, i), axis_name=axis_name)
    if jnp.dtype(dtype).itemsize == 4:
        return counted(0)  # by a hash, as the seeds of two steps may follow one another
    return counted(0).astype(dtype) << jnp.dtype(dtype).type(32) | counted(1).astype(dtype)
