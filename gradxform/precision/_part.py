"""An encoded entry that is one device's own part of an array, inside `shard_map` or `pmap`: it is rounded by bits of its own."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradxform._types import Array, DType, Shape, Tree
from gradxform.core._encoded import as_encoded, is_encoded, is_entry, register
from gradxform.precision._counter import advanced, uint32


class Part(NamedTuple):
    """The entry, and the device's index along the axes over which the array is split. The parts count on from one another.

    It is an entry itself: the seed, the same on every device, advances as ever, and is moved for the one rounding only.
    """

    entry: Any
    place: Array

    @property
    def partner(self) -> bool:
        return self.entry.partner

    @property
    def shape(self) -> Shape:
        return self.entry.shape

    @property
    def ndim(self) -> int:
        return self.entry.ndim

    @property
    def size(self) -> int:
        return self.entry.size

    @property
    def dtype(self) -> DType:
        return self.entry.dtype

    def decode(self, partner: Array | None = None) -> Array:
        return self.entry.decode(partner)

    def encode(self, x: Array, partner: Array | None = None) -> Part:
        if "seed" not in self.entry._fields:
            return self._replace(entry=self.entry.encode(x, partner))
        seed = self.entry.seed
        here = self.entry._replace(seed=seed + self.place * jnp.uint32(math.prod(x.shape) % 2**32))
        return self._replace(entry=here.encode(x, partner)._replace(seed=advanced(seed)))


register(Part)


def split(state: Tree, axis_name: Hashable | None) -> Tree:
    """A state's entries as parts of what is split over a mapped axis, or over several; as they are without one."""
    if axis_name is None:
        return state
    place = uint32(jax.lax.axis_index(axis_name))
    part = lambda x: Part(x, place) if is_encoded(x) else x
    return jax.tree.map(lambda x: part(as_encoded(x)), state, is_leaf=is_entry)


def whole(state: Tree, axis_name: Hashable | None) -> Tree:
    """The entries themselves."""
    if axis_name is None:
        return state
    return jax.tree.map(lambda x: x.entry if isinstance(x, Part) else x, state, is_leaf=is_encoded)
