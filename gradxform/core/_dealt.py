"""The engine `dealt`: matrices are dealt out over the devices of a mesh with all of their state, and their whole update is computed there.

Where the devices divide the number of matrices that a leaf holds (`is_settled`), each has a stretch of them. There their state rests, if it
was made so (`state_shardings`), and only gradients and updates travel, in what the wire says. Matrices of other leaves are stacked and
filled up to as many for every device, and travel there and back with their state, which no wire narrows.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from gradxform._numerics import parts, real_part
from gradxform._types import Array, Shape, Tree
from gradxform.core._blocks import Piece
from gradxform.core._explicit import Place
from gradxform.core._holes import is_key
from gradxform.core._refresh import Share
from gradxform.core._road import Road, types_of
from gradxform.core._spread import mesh_of

if TYPE_CHECKING:
    from gradxform.core._blocked import Kind
    from gradxform.core._engine import Row

Work = Callable[[Share, "Row", "Row"], "Row"]
"""(which members are here, their row, what is alike for all) -> (u, *new state fields)."""


class Deal(NamedTuple):
    """What is dealt out of a kind, where that is asked (`_spread.heard`).

    Attributes:
      pieces: of which leaf each row is, and which piece of it.
      rows: shapes.
      tail: what is alike for all, as shapes.
      work: what a device makes of its members.
    """

    kind: Kind
    pieces: tuple[tuple[int, int], ...]
    rows: Sequence[Row]
    tail: Row
    work: Work


def keeps_matrices(entries: Tree, n: int) -> bool:
    """Whether of these entries of a piece, that are not laid out like it, one is a matrix, or n axes in front of it count some."""
    return any(x.ndim == n + 2 for x in jax.tree.leaves(entries))


def is_settled(batch: Shape, devices: int) -> bool:
    """Whether each device has a stretch of the matrices that these axes of a leaf count."""
    return bool(batch) and batch[0] > 0 and batch[0] % devices == 0


def home_of(place: Place, piece: Piece) -> P | None:
    """How the stack of a piece is split where its leaf lives, which has this place; None: that is not known, or is no way to split it."""
    n, split = len(piece.batch), _split(place)
    kept = (piece.axes[0] if n else None, *piece.axes[n:])
    return P(*(None if a is None else split.get(a) for a in kept)) if split is not None and set(split) <= set(kept) else None


def home_of_entry(place: Place, n: int) -> P | None:
    """The same of an array of the state that is not laid out like the leaf: n axes in front count matrices."""
    split = _split(place)
    if split is None or any(a in split for a in range(1, n)):
        return None
    return P(*(split.get(a) for a in (-1 if n == 0 else 0, *range(n, max((n - 1, *split)) + 1))))


def _split(place: Place) -> dict[int, Any] | None:
    """The axes of an array that are split, if its type says all of them."""
    if place is None or AxisType.Auto in place.mesh.axis_types:
        return None
    return {a: axes for a, axes in enumerate(place.spec) if axes is not None}


class Dealer:
    """A kind whose members are dealt out: where its rows are on each way."""

    def __init__(self, kind: Kind, rows: Sequence[Row]):
        assert kind.program.spread is not None
        assert kind.homes is not None
        mesh = mesh_of([x for x in jax.tree.leaves(rows) if not is_key(x)], kind.program.spread)
        self.kind, self.is_complex = kind, jnp.iscomplexobj(rows[0][0])
        number = len(jax.tree.leaves(rows[0]))
        self.homes = [[*some, *[None] * (number - len(some))] for some in kind.homes]
        self.road = Road(mesh, kind.program.spread, real_part(rows[0][0].dtype), None)
        self.settled = [i for i, batch in enumerate(kind.batches) if is_settled(batch, self.road.devices)]
        self.loose = [i for i in range(len(rows)) if i not in self.settled]
        depths = [len(batch) for batch in kind.batches]
        self.rows = [jax.tree.map(lambda x, n=n: x.reshape(-1, *x.shape[n:]), row) for n, row in zip(depths, rows, strict=True)]

    def packed(self, x: Array) -> Array:
        """A gradient or an update as it travels."""
        return self.road.packed(jnp.stack(parts(x), -1) if self.is_complex else x)

    def unpacked(self, x: Array) -> Array:
        x = self.road.unpacked(x)
        return jax.lax.complex(x[..., 0], x[..., 1]) if self.is_complex else x

    def results(self, tail: Row, work: Work) -> list[Row]:
        """Those of each row, from what each device makes of its members."""
        owners, stacks = [[i] for i in self.settled], [self._leaving(i) for i in self.settled]
        if self.loose:
            owners, stacks = [*owners, self.loose], [*stacks, self._together()]
        out = self._on_each(work, owners, stacks, tail)
        found = {i: self._back(i, row) for i, row in zip(self.settled, out, strict=False)}
        if self.loose:
            found |= self._apart(out[-1])
        shaped = lambda x, batch: x.reshape(*batch, *x.shape[1:])
        return [jax.tree.map(lambda x, batch=batch: shaped(x, batch), found[i]) for i, batch in enumerate(self.kind.batches)]

    def _leaving(self, i: int) -> Row:
        """A settled row, with what is not of its state, g and maybe p, on its way."""
        n, row = 1 + self.kind.program.wants_params, (self.packed(self.rows[i][0]), *self.rows[i][1:])
        return (*(self.road.at_home(x, leaving=True, home=home) for x, home in zip(row[:n], self.homes[i], strict=False)), *row[n:])

    def _back(self, i: int, row: Row) -> Row:
        """The results of a settled row, with the update where its leaf lives."""
        return (self.unpacked(self.road.at_home(row[0], leaving=False, home=self.homes[i][0])), *row[1:])

    def _together(self) -> Row:
        """The other rows as one, filled up with copies of the last member, on their way."""
        rows = [(self.packed(g), *rest) for g, *rest in (self.rows[i] for i in self.loose)]
        treedef, homes = jax.tree.structure(rows[0]), self._loose_homes()
        more = -sum(g.shape[0] for g, *_ in rows) % self.road.devices
        filled = lambda x: jnp.concatenate([x, jnp.broadcast_to(x[-1:], (more, *x.shape[1:]))]) if more else x

        def leave(xs: Sequence[Array], home: P | None) -> Array:
            if is_key(xs[0]):
                return filled(jnp.concatenate(xs))
            xs = xs if home is None else [jax.lax.with_sharding_constraint(x, NamedSharding(self.road.mesh, home)) for x in xs]
            return self.road.at_home(filled(jnp.concatenate(xs)), leaving=True, home=home)

        return treedef.unflatten(map(leave, zip(*map(jax.tree.leaves, rows), strict=True), homes))

    def _loose_homes(self) -> list[P | None]:
        """How each array of the stack of these is split at home, as the first of them, if that is known of all and not where they are
        counted. XLA would find ways far longer where they are split differently, as it stacks them.
        """
        first = lambda some: some[0] if all(home is not None and home[0] is None for home in some) else None
        return [first(some) for some in zip(*(self.homes[i] for i in self.loose), strict=True)]

    def _apart(self, row: Row) -> dict[int, Row]:
        """The inverse, of results: each is split as what was there before."""
        leaves, treedef = jax.tree.flatten(row)
        g, *homes = self._loose_homes()
        homes = [g, *homes[self.kind.program.wants_params :]]
        u, *new = treedef.unflatten(
            [self.road.at_home(x, leaving=False, home=home) for x, home in zip(leaves, homes, strict=False)]
        )
        ends = list(itertools.accumulate(self.rows[i][0].shape[0] for i in self.loose))
        found, whole, skip = {}, (self.unpacked(u), *new), 1 + self.kind.program.wants_params
        for i, start, end in zip(self.loose, [0, *ends], ends, strict=False):
            mine = jax.tree.map(lambda x, start=start, end=end: x[start:end], whole)
            old = (self.rows[i][0], *self.rows[i][skip:][: len(new)])
            found[i] = jax.tree.map(_split_as, old, mine)
        return found

    def _on_each(self, work: Work, owners: Sequence[Sequence[int]], stacks: Sequence[Row], tail: Row) -> list[Row]:
        """The results of each stack: every device works on its parts of all of them together."""
        road, share = self.road, self.kind.share
        numbers = [self._numbers(some, stack[0].shape[0]) for some, stack in zip(owners, stacks, strict=True)]
        ends = list(itertools.accumulate(stack[0].shape[0] // road.devices for stack in stacks))

        def local(numbers: Sequence[Array], stacks: Sequence[Row], tail: Row) -> list[Row]:
            row = jax.tree.map(lambda *xs: jnp.concatenate(xs), *((self.unpacked(g), *rest) for g, *rest in stacks))
            here = share._replace(number=ends[-1], numbers=jnp.concatenate(numbers)) if share.number else share
            u, *new = work(here, row, tail)
            some = zip([0, *ends], ends, strict=False)
            return [jax.tree.map(lambda x, i=i, j=j: x[i:j], (self.packed(u), *new)) for i, j in some]

        whole, free = P(road.axes), {a for a, t in types_of(road.mesh).items() if t != AxisType.Manual}
        specs = {"in_specs": (whole, whole, P()), "out_specs": whole}
        return jax.shard_map(local, mesh=road.mesh, axis_names=free, check_vma=False, **specs)(numbers, list(stacks), tail)

    def _numbers(self, owners: Sequence[int], size: int) -> Array:
        """Of each member of a stack which one it is of all; -1 where it only fills up."""
        counts = [math.prod(batch) for batch in self.kind.batches]
        starts = list(itertools.accumulate(counts, initial=self.kind.share.start))
        found = [k for i in owners for k in range(starts[i], starts[i] + counts[i])]
        return jnp.asarray(np.asarray(found + [-1] * (size - len(found)), np.int32))


def _split_as(old: Array, new: Array) -> Array:
    """The new array. XLA splits what is chosen of two as one of them, and finds out only later that it is always the new one."""
    return jax.lax.select(jnp.broadcast_to(jax.lax.optimization_barrier(jnp.asarray(True)), new.shape), new, old)
