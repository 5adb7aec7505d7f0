"""The dynamic map: 256 numbers in [-1, 1], of which those near 0 are many and coarse, and how a number finds the nearest.

    size of decade i = 0..6      10^(i - 6) times the middles of 2^i (with a sign) or 2^(i + 1) (without) equal parts of [0.1, 1]

with both signs or one, and 0 and 1. What an implementation takes for the nearest differs in ties, and more; here each is a
list of 255 thresholds, the least float32 that gets each code but the first, found by bisection: exact, whatever it is compiled to.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._types import Array

Rule = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Whether y is nearer to the upper of two neighbours: (y, lower, upper) -> bool, in float32."""


@functools.cache
def values(signed: bool) -> np.ndarray:
    """The map, in increasing order."""
    found = [np.array([0, 1], np.float32)]
    for decade in range(7):
        n = 2 ** (decade + (not signed))
        step, i = float(np.float32(np.float32(1) - np.float32(0.1)) / np.float32(n)), np.arange(n + 1)
        edges = np.where(2 * i < n + n % 2, float(np.float32(0.1)) + step * i, 1 - step * (n - i))
        edges = edges.astype(np.float32)  # rounded once
        middles = np.float32(10.0 ** (decade - 6)) * ((edges[:-1] + edges[1:]) / np.float32(2))
        found += [middles, -middles] if signed else [middles]
    return np.sort(np.concatenate(found))


def thresholds(signed: bool, above: Rule) -> np.ndarray:
    """The least float32 in [-1, 1] that gets each code but the first, by the rule of two neighbours."""
    lower, upper = values(signed)[:-1], values(signed)[1:]
    low, high = np.full(255, _rank(np.float32(-1))), np.full(255, _rank(np.float32(1)))
    for _ in range(33):
        middle = (low + high) // 2
        up = above(_ranked(middle), lower, upper)
        low, high = np.where(up, low, middle), np.where(up, middle, high)
    return _ranked(high)


def _rank(x: np.float32) -> int:
    """The place of a float32 among all, 0 being at 0."""
    bits = int(x.view(np.int32))
    return bits if bits >= 0 else -(bits & 0x7FFFFFFF)


def _ranked(rank: np.ndarray) -> np.ndarray:
    return np.where(rank >= 0, rank, -rank | 0x80000000).astype(np.uint32).view(np.float32)


class Table(NamedTuple):
    """Thresholds, and which of them can matter to a number by its sign and its upper bits.

    In each part of the line with the same sign, exponent and first 7 bits of the mantissa lies at most one threshold, or several
    that are equal: numbers below it there have the code `low`, others `high`.
    """

    thresholds: np.ndarray
    low: np.ndarray
    high: np.ndarray


def table(signed: bool, above: Rule) -> Table:
    found = thresholds(signed, above)
    lower = np.append(0, np.arange(_LEAST, _MOST, dtype=np.int64)) << 16
    upper = np.append(lower[1:], _MOST << 16) - 1
    first = np.concatenate([_ranked(lower), _ranked(-upper)])
    last = np.concatenate([_ranked(upper), _ranked(-lower)])
    low, high = (np.searchsorted(found, ends, side="right") for ends in (first, last))
    return Table(np.append(found, np.float32(np.inf)), low.astype(np.uint8), high.astype(np.uint8))  # the last code has none above


_LEAST, _MOST = (127 - 24) << 7, (127 << 7) + 1  # 2^-24 and what comes after 1, in the upper 16 bits
_PARTS = _MOST - _LEAST + 1  # of each sign


def nearest(y: Array, table: Table) -> Array:
    """The code of each number in [-1, 1]."""
    bits = jax.lax.bitcast_convert_type(y, jnp.int32)
    size = (bits & 0x7FFFFFFF) >> 16
    part = jnp.clip(size - (_LEAST - 1), 0, _PARTS - 1) + jnp.where(bits < 0, _PARTS, 0)
    low = _at(table.low, part)
    return jnp.where(y >= _at(table.thresholds, low), _at(table.high, part), low)


def looked_up(codes: Array, signed: bool) -> Array:
    return _at(values(signed), codes)


def _at(table: np.ndarray, index: Array) -> Array:
    return jnp.asarray(table).at[index].get(mode="promise_in_bounds", out_sharding=jax.typeof(index).sharding)
