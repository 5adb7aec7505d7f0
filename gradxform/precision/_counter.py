"""Random bits from a counter: a hash of the element's index and a seed, for rounding. No key, no state but one whole number."""

from __future__ import annotations

import functools
import math
from collections.abc import Hashable

import jax
import jax.numpy as jnp

from gradxform._types import Array, ArrayLike, Shape

WEYL = 0x9E3779B9  # 2^32 divided by the golden ratio, odd


def uint32(x: ArrayLike) -> Array:
    """A whole number of any size or dtype, modulo 2^32."""
    return jnp.full([], x % 2**32, jnp.uint32) if isinstance(x, int) else jnp.asarray(x).astype(jnp.uint32)


def hashed(i: Array) -> Array:
    """`lowbias32`: a bijection of the whole numbers below 2^32 in which every bit of the result depends on every bit of i."""
    of = jnp.uint32
    i = (i ^ (i >> of(16))) * of(0x7FEB352D)
    i = (i ^ (i >> of(15))) * of(0x846CA68B)
    return i ^ (i >> of(16))


def counter_bits(shape: Shape, seed: ArrayLike, *, axis_name: Hashable | None = None) -> Array:
    """Thirty-two random bits for each element of an array, from its index and a seed: as cheap as the arithmetic around them.

        i    = seed + flat index                          modulo 2^32
        bits = lowbias32(i * 0x9E3779B9)

    They are for rounding: uniform, and uncorrelated between neighbours and between seeds as far as 2^20 elements can tell; not
    cryptographic, so noise for privacy needs real keys (`jax.random`). A compiled step computes them beside what they are used for: they
    take no memory.

    Seeds that follow one another give the same bits, moved by one element. From one step to the next add 0x9E3779B9, which takes the
    index far away, and let the leaves of a tree begin at different seeds.

    Args:
      shape: of the array.
      seed: a whole number; larger ones, and negative ones, are taken modulo 2^32.
      axis_name: inside `shard_map` or `pmap`, where each device sees its own part only: the axis, or a tuple of axes, over which the
        array is split. The parts count on from one another: split along its first axis, the array has the bits that it has in one piece.

    >>> gx.precision.counter_bits((3,), 7)
    Array([2440275426, 1626593482,  588217096], dtype=uint32)

    Shapes   any; the result is uint32 of this shape. Under `jit` it does not depend on how the array is sharded, as the index is that in
             the whole array. Under `vmap` over seeds each member has its own.
    Source   the constants of `lowbias32` are those of C. Wellons' search for integer hashes of low bias; Steele et al. 2014, "Fast
             splittable pseudorandom number generators", has the sequence that 0x9E3779B9 steps through.
    Differs  Optax has none.
    """
    offset = None if axis_name is None else jax.lax.axis_index(axis_name)
    return _bits(tuple(shape), uint32(seed), offset)


@functools.partial(jax.jit, static_argnums=0, inline=True)
def _bits(shape: Shape, seed: Array, part: Array | None) -> Array:
    """The bits of a whole array, or of one of the parts that count on.

    The seed stands on the first axis, which is short: added last, it would leave an array of indices that the compiler computes once for
    all leaves of a shape and keeps in memory.
    """
    of, size = jnp.uint32, math.prod(shape)
    i = seed if part is None else seed + part.astype(of) * of(size % 2**32)
    for axis, length in enumerate(shape):
        along = [length if a == axis else 1 for a in range(len(shape))]
        i = i + jax.lax.broadcasted_iota(of, along, axis) * of(math.prod(shape[axis + 1 :]) % 2**32)
    return hashed(i * of(WEYL))


@jax.jit
def advanced(seed: Array) -> Array:
    """The seed of the next step."""
    return seed + jnp.uint32(WEYL)


@jax.jit
def folded(seed: Array, position: int) -> Array:
    """A seed for a part, a leaf for example, by its position; seeds that follow one another are as good as any."""
    return hashed(hashed(seed * jnp.uint32(WEYL)) + jnp.asarray(position).astype(jnp.uint32))
