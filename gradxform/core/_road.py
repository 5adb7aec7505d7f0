"""The way of a stack of matrices over a mesh: from where its leaves live to the devices that have them whole, and back."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from gradxform._types import Array, DType, Tree


class Spread(NamedTuple):
    """Over which axes of the mesh matrices are dealt out, the dtype in which they travel, None: their own; and whether with their state."""

    owner: str
    over: str | tuple[str, ...]
    wire: DType | None
    with_state: bool = False

    @property
    def axes(self) -> tuple[str, ...]:
        return (self.over,) if isinstance(self.over, str) else self.over


def types_of(mesh: AbstractMesh) -> dict[str, AxisType]:
    return dict(zip(mesh.axis_names, mesh.axis_types, strict=True))


def _names(entry: Any) -> tuple[str, ...]:
    """The axes of the mesh that an entry of a `PartitionSpec` names."""
    return () if entry is None else (entry,) if isinstance(entry, str) else tuple(entry)


class Road(NamedTuple):
    """How stacks travel.

    Attributes:
      others: the other axes that shard the matrices, None: not known.
      home: how a stack is split where its leaf lives, if that is known and along the axis that counts matrices, too.
    """

    mesh: AbstractMesh
    spread: Spread
    dtype: np.dtype
    others: tuple[str, ...] | None
    home: P | None = None

    @property
    def axes(self) -> tuple[str, ...]:
        """Over which whole matrices are dealt out: those that count them at home leave them where they are."""
        own = () if self.home is None else _names(self.home[0])
        return (*own, *(a for a in self.spread.axes if a not in own))

    @property
    def devices(self) -> int:
        return math.prod(self.mesh.shape[a] for a in self.axes)

    @property
    def wire(self) -> np.dtype:
        wire = self.dtype if self.spread.wire is None else jnp.dtype(self.spread.wire)
        return wire if wire.itemsize < self.dtype.itemsize else self.dtype

    def packed(self, x: Array) -> Array:
        """As it travels: narrow numbers as whole ones, which no compiler widens."""
        return (
            x
            if self.wire.itemsize > 2
            else jax.lax.bitcast_convert_type(x.astype(self.wire), jnp.dtype(f"uint{8 * self.wire.itemsize}"))
        )

    def unpacked(self, x: Array) -> Array:
        return (x if self.wire.itemsize > 2 else jax.lax.bitcast_convert_type(x, self.wire)).astype(self.dtype)

    def at_home(self, x: Array, *, leaving: bool, home: P | None = None) -> Array:
        """A stack whose parts are where they are, at `home` if that is known: each device has its part of every matrix.

        From there it goes to whole matrices, or back.
        """
        at = lambda x, spec: jax.lax.with_sharding_constraint(x, NamedSharding(self.mesh, spec))
        free = [P.UNCONSTRAINED] * (x.ndim - 1)
        several = max([len(self.axes), *(len(_names(entry)) for entry in home or ())]) > 1
        if self.others is not None:
            stops = [P(None, self.axes, self.others), P(self.axes, None, self.others)]
        elif home is not None and home[0] is not None:
            stops = [home]
        elif several:
            return self._by_several(x, leaving, home)
        else:
            stops = [P(None, *free) if home is None else home, *self._beside(home)]
        return functools.reduce(at, stops if leaving else stops[::-1], x)

    def _beside(self, home: P | None) -> list[P]:
        """Whole matrices but for what other axes split at home, if that is known."""
        if home is None:
            return []
        others = [tuple(a for a in _names(entry) if a not in self.axes) for entry in home[1:]]
        return [P(self.axes, *(one or None for one in others))]

    def _by_several(self, x: Array, leaving: bool, home: P | None) -> Array:
        """The same by several axes of the mesh at once, or from an axis that several split. XLA does so in one all-to-all if each of them
        goes from one axis of the array to another, which no other leaves or enters: so all axes of the array are cut, in one for each axis
        of the mesh and what is left.
        """
        at = lambda x, spec: jax.lax.with_sharding_constraint(x, NamedSharding(self.mesh, spec))
        sizes, n = self.mesh.shape, len(self.axes) + 1
        largest_first, free = sorted(self.axes, key=lambda a: -sizes[a]), P.UNCONSTRAINED
        there: list[Any] = [None] * n
        cut = [sizes[a] for a in self.axes]
        cut.append(x.shape[0] // math.prod(cut))
        for i, left in enumerate(x.shape[1:], 1):
            own = () if home is None else _names(home[i]) if i < len(home) else ()
            for a in dict.fromkeys((*own, *largest_first)):
                cut.append(math.gcd(left, sizes[a]))
                there.append(free if home is None else a if a in own else None)
                left //= cut[-1]
            cut.append(left)
            there.append(free if home is None else None)
        unused = [a if home is not None and a not in there else None for a in self.axes]  # of these each device takes its part
        beside = [x if x is free or x not in self.axes else None for x in there[n:]]
        stops = [P(*there), P(*unused, *there[n - 1 :]), P(*self.axes, None, *beside)]
        return functools.reduce(at, stops if leaving else stops[::-1], x.reshape(cut)).reshape(x.shape)

    def over(self, f: Callable[..., Sequence[Array]], beside: Tree, stacks: Sequence[Array]) -> list[Array]:
        """f(number of the device, beside, *its part of the stacks) on each device, there and back, as it travels."""
        whole, free = P(self.axes), {a for a, t in types_of(self.mesh).items() if t != AxisType.Manual}
        local = lambda i, beside, *xs: tuple(map(self.packed, f(i[0], beside, *map(self.unpacked, xs))))
        specs = (whole, P(), *[whole] * len(stacks))
        call = jax.shard_map(local, mesh=self.mesh, in_specs=specs, out_specs=whole, axis_names=free, check_vma=False)
        out = call(jnp.arange(self.devices), beside, *(self.at_home(self.packed(x), leaving=True, home=self.home) for x in stacks))
        return [self.at_home(y, leaving=False, home=self.home) for y in out]
