"""What it costs to deal out matrices with their state: the work of each device on its members, and what travels of each array of a leaf."""

from __future__ import annotations

import collections
import math
from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gradxform._numerics import real_part
from gradxform._types import Tree
from gradxform.core import _refresh
from gradxform.core._blocks import Blocks, views_of
from gradxform.core._dealt import Deal, is_settled, keeps_matrices
from gradxform.core._holes import flatten, is_array, with_path
from gradxform.core._road import Spread
from gradxform.core._stage import Stage
from gradxform.core._travel import real_parts
from gradxform.distributed._derived import Shaped, spec_of
from gradxform.planning._mesh import Axes, split_of
from gradxform.planning._products import Split, Work, whole, work_of
from gradxform.planning._record import ANY, EXPLICIT, HOLDS, LEAST, Assignment
from gradxform.surgery._summary import Visited


class Share(NamedTuple):
    """What a stage deals out of a kind of a tree, how many such trees there are, and the tree and the state as shapes with their splits.

    Of a stack of leaves `members` tells how many there are, apart from what fills it up.
    """

    deal: Deal
    stage: Stage
    times: int
    params: Tree
    state: Tree
    members: tuple[int | None, ...]

    def needed(self, i: int) -> int:
        """How many members the i-th row is there for."""
        batch, held = self.deal.kind.batches[i], self.members[self.deal.pieces[i][0]]
        return self.times * (math.prod(batch) if held is None else held * math.prod(batch[1:]))


class Travel(NamedTuple):
    """An array of a row: its bytes for one member, how it is split where it lives, whether it goes there and comes back."""

    nbytes: int
    stack: tuple[str, ...]
    inside: tuple[str, ...]
    matrix: Split
    there: bool = True
    back: bool = True


class Found(NamedTuple):
    """Of a kind: the shape of a member, how many there are and how many a device gets; the operations of one; the bytes that only fill
    up; the axes of the mesh that split more than the engine knows of where they are automatic; where what travels holds.
    """

    shape: tuple[int, int]
    number: int
    each: int
    flops: int
    padded: float
    split: frozenset[str]
    holds: str


def dealt_leaves(one: Visited) -> set[str]:
    """The paths of the leaves whose matrices a stage deals out with their state."""
    stage = getattr(one.tx, "update", None)
    spread = stage.slot.spread if isinstance(stage, Stage) else None
    if not isinstance(stage, Stage) or spread is None or not spread.with_state:
        return set()
    layout, (leaves, treedef) = stage.layout, flatten(one.seen)
    record = layout.read(one.state, stage.owner)
    fields = [getattr(record, name) for name in layout.leaf if name not in layout.like_params]
    entries = zip(*(treedef.flatten_up_to(x) for x in fields if x is not None), strict=True)
    rows = zip(leaves, views_of(stage, one.seen), entries, strict=True)
    deals = (_deals(view, own) for x, view, own in rows if is_array(x))
    return one.apart_of(path for (path, _), is_dealt in zip(with_path(one.seen), deals, strict=True) if is_dealt)


def _deals(view: Blocks | None, entries: Sequence[Tree]) -> bool:
    if view is None:
        return False
    return any(keeps_matrices(own, len(piece.batch)) for piece, *own in zip(view.pieces, *map(view.entries, entries), strict=True))


def dealt_with_state(shares: Sequence[Share], spread: Spread, axes: Axes) -> tuple[Work, list[Assignment]]:
    """The work of a device on its members, what travels, and who gets which."""
    kinds: dict[Hashable, list[Share]] = {}
    for one in shares:
        kinds.setdefault(_kind(one.deal), []).append(one)
    total = Work()
    found = [_of_kind(some, spread, axes, total) for some in kinds.values()]
    devices, needed = axes.count(spread.axes), sum(one.number * one.flops for one in found)
    busy = needed / (devices * sum(one.each * one.flops for one in found)) if needed else 1.0
    assignment = Assignment(
        stage=spread.owner,
        axes=spread.axes,
        matrices=tuple((*one.shape, one.number) for one in found),
        groups=((devices, tuple(one.each for one in found), 1 / devices),),
        others=tuple(a for a in axes.sizes if any(a in one.split for one in found)),
        busy=busy,
        bytes=total.moved.total(),
        padded_bytes=round(sum(one.padded for one in found)),
        holds=max((one.holds for one in found), key=HOLDS.index),
    )
    return total, [assignment]


def _kind(deal: Deal) -> Hashable:
    """What members have in common that are computed as one batch."""
    n, (arrays, treedef) = len(deal.kind.batches[0]), jax.tree.flatten(deal.rows[0])
    return deal.kind.program, treedef, tuple((x.shape[n:], str(x.dtype)) for x in arrays)


def _of_kind(shares: Sequence[Share], spread: Spread, axes: Axes, total: Work) -> Found:
    """What there is of a kind; `total` gets the work of a device."""
    devices = axes.count(spread.axes)
    rows = [(one, i, batch, one.times * math.prod(batch)) for one in shares for i, batch in enumerate(one.deal.kind.batches)]
    loose, split = sum(n for *_, batch, n in rows if not is_settled(batch, devices)), set[str]()
    ways: list[tuple[bool, list[Travel]]] = []
    filled, padded = -(-loose // devices) * devices, 0.0
    for one, i, batch, n in rows:
        members = n if is_settled(batch, devices) else n * filled / loose
        travels = list(_travels(one, i, spread))
        moved = _moved(travels, members / devices, spread, axes)
        ways.append((is_settled(batch, devices), travels))
        split |= {*travels[0].stack, *(a for x in travels for a in x.inside if a not in spread.axes)}
        padded += sum(moved.values()) * (1 - one.needed(i) / members) if members else 0
        total.moved.update({key: round(nbytes) for key, nbytes in moved.items()})
    number, work = sum(one.needed(i) for one, i, *_ in rows), _of_one(shares[0].deal)
    each = (sum(n for *_, n in rows) - loose + filled) // devices
    total.add(Work(work.flops), each)
    deal = shares[0].deal
    first, *others = deal.rows[0][0].shape[len(deal.kind.batches[0]) :]
    return Found((first, math.prod(others)), number, each, work.flops.total(), padded, frozenset(split), _holds(ways, spread))


def _holds(ways: Sequence[tuple[bool, list[Travel]]], spread: Spread) -> str:
    """Where as much travels as is planned, of rows that are settled or not."""
    loose = {tuple((x.stack, x.matrix) for x in travels) for settled, travels in ways if not settled}
    stacks = {travels[0].stack for settled, travels in ways if settled} - {(), spread.axes}
    if len(loose) > 1 or stacks or any(stack for row in loose for stack, _ in row):
        return LEAST
    both = (set(x.stack + x.inside) for settled, travels in ways for x in (travels[:1] if settled else travels))
    return ANY if len(spread.axes) == 1 and all(axes == set(spread.axes) for axes in both) else EXPLICIT


def _travels(one: Share, i: int, spread: Spread) -> Iterator[Travel]:
    """The arrays of a row: the gradient and the update, the parameter, the state."""
    deal, (leaf, place) = one.deal, one.deal.pieces[i]
    leaves, treedef = flatten(one.params)
    k = [k for k, x in enumerate(leaves) if is_array(x)][leaf]
    view, layout, program = views_of(one.stage, one.params)[k], one.stage.layout, deal.kind.program
    assert view is not None
    piece, record, number = view.pieces[place], layout.read(one.state, one.stage.owner), math.prod(deal.kind.batches[i])
    stack = piece.axes[0] if piece.batch else None
    like = _travel(_split(leaves[k]), stack)
    g, *rest = deal.rows[i]
    wire = real_part(g.dtype) if spread.wire is None else jnp.dtype(spread.wire)
    narrow = min(wire.itemsize, real_part(g.dtype).itemsize) * real_parts(g)
    yield Travel(g.size // number * narrow, *like)
    if program.wants_params:
        yield Travel(rest[0].size // number * rest[0].dtype.itemsize, *like, back=False)
    for name, field in zip(layout.leaf, rest[program.wants_params :], strict=False):
        entry = treedef.flatten_up_to(getattr(record, name))[k]
        if name in layout.like_params:
            splits = [_travel(_split(entry), stack) if isinstance(entry, Shaped) else like]
        else:
            splits = [_travel(_split(x), 0 if piece.batch else None) for x in jax.tree.leaves(view.entries(entry)[place])]
        for x, split in zip(jax.tree.leaves(field), splits, strict=True):
            yield Travel(x.size // number * x.dtype.itemsize, *split)


def _split(x: Shaped) -> Split:
    return split_of(spec_of(x), x.ndim)


def _travel(split: Split, stack: int | None) -> tuple[tuple[str, ...], tuple[str, ...], Split]:
    """The axes of the mesh that split the axis which counts matrices, and those that split others, together and one by one."""
    matrix = tuple(one for i, one in enumerate(split) if i != stack)
    return () if stack is None else split[stack], tuple(a for one in matrix for a in one), matrix


def _moved(travels: Sequence[Travel], members: float, spread: Spread, axes: Axes) -> dict[tuple[str, tuple[str, ...]], float]:
    """The bytes of what brings a row to so many members on each device, and back, where the engine knows how it is split at home.

    What other axes of the mesh split is brought together where it has arrived, and parted before it goes back.
    """
    moved: dict[tuple[str, tuple[str, ...]], float] = collections.defaultdict(float)
    for x in travels:
        part, own = members * x.nbytes, (*x.stack, *x.inside)
        if others := tuple(a for a in own if a not in spread.axes):
            moved["all-gather", others] += part * x.there
        if x.stack == spread.axes:
            continue
        parted = part / axes.count(others)
        moved["all-to-all", tuple(a for a in spread.axes if a in own)] += parted * (x.there + x.back)
        missing = tuple(a for a in spread.axes if a not in own)
        moved["all-gather", missing] += parted * axes.count(missing) * x.back
    return {key: nbytes for key, nbytes in moved.items() if nbytes and key[1]}


def _of_one(deal: Deal) -> Work:
    """The products for one member, on the device that has it."""
    n = len(deal.kind.batches[0])
    row = jax.tree.map(lambda x: Shaped((1, *x.shape[n:]), x.dtype), deal.rows[0])
    tail = jax.tree.map(lambda x: Shaped(jnp.shape(x), jnp.result_type(x)), deal.tail)
    jaxpr = jax.make_jaxpr(lambda row, tail: deal.work(_refresh.Share(0, 0, 1), row, tail))(row, tail)
    return work_of(jaxpr, [whole(v.aval.shape) for v in jaxpr.jaxpr.invars], {})
