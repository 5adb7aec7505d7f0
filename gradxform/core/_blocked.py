"""The engine of kernels that see one matrix or one block: leaves are cut, pieces of one shape are computed as one batch.

What a kernel asks for on its way, a refresh or with `spread` what needs whole matrices, is answered for all pieces of a kind in one: the
kernels run until they ask, and again when there is an answer. XLA removes what they have computed twice.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from gradxform._errors import MissingArgumentError
from gradxform._types import Array, Tree
from gradxform._types import Shape as Sizes
from gradxform.core import _refresh, _travel
from gradxform.core._blocks import Blocks, views_of
from gradxform.core._dealt import Deal, Dealer, Work, home_of, home_of_entry, keeps_matrices
from gradxform.core._encoded import any_encoded, as_stored, decoded
from gradxform.core._explicit import found_by_xla, place_of
from gradxform.core._holes import as_array
from gradxform.core._placement import in_turn, on_device, placed
from gradxform.core._spread import is_heard, listening, whole

if TYPE_CHECKING:
    from gradxform.core._engine import Program, Row, Shape, Slot
    from gradxform.core._stage import Stage
    from gradxform.core._trees import Trees

Homes = tuple[PartitionSpec | None, ...]
Question = _refresh.Asked | _travel.Asked


class Told:
    """What answers a kernel: the answers that are there, and then the question."""

    def __init__(self, answers: Sequence[Tree] = (), spread: bool = False):
        self.left, self.spread = iter(answers), spread

    def whole(self, f: _travel.Function, x: Array | tuple[Array, ...], *args: Tree) -> Array:
        if not self.spread:
            return _travel.at_once(f, x, *args)
        for answer in self.left:
            return answer
        raise _travel.Asked(f, tuple(x) if isinstance(x, (tuple, list)) else (x,), args)

    def refresh(
        self, t: Array, f: Callable[..., Tree], old: Tree, *args: Tree, at: Array | None = None,
        instead: Sequence[tuple[Any, Callable[..., Tree]]] = (),
    ) -> Tree:  # fmt: skip
        for answer in self.left:
            return answer
        raise _refresh.Asked(f, old, args, t if at is None else at, tuple(instead))


class Kind(NamedTuple):
    """Pieces that are computed as one batch.

    Attributes:
      batches: the sizes of the axes in front, that count them, of each row.
      share: which they are of all pieces, where refreshes are dealt out over updates.
      homes: of each row, how the stacks of its first arrays are split where its leaf lives, as far as that is known; None: the pieces are
        not dealt out.
    """

    program: Program
    batches: tuple[Sizes, ...]
    share: _refresh.Share
    homes: tuple[Homes, ...] | None = None

    @property
    def depth(self) -> int:
        """How many axes in front count them when they are together."""
        return len(self.batches[0]) if len(self.batches) == 1 else 1

    def together(self, rows: Sequence[Row]) -> Row:
        """All rows as one."""
        if len(rows) == 1:
            return rows[0]
        flat = lambda x, n: x[None] if n == 0 else x if n == 1 else x.reshape(-1, *x.shape[n:])
        depths = [len(batch) for batch in self.batches]
        return jax.tree.map(lambda *xs: jnp.concatenate([flat(x, n) for x, n in zip(xs, depths, strict=True)]), *rows)

    def apart(self, row: Row) -> list[Row]:
        """The inverse."""
        if len(self.batches) == 1:
            return [row]
        ends = np.cumsum([math.prod(batch) for batch in self.batches])
        some = zip(self.batches, [0, *ends], ends, strict=False)
        return [jax.tree.map(lambda x, b=b, i=i, j=j: x[i:j].reshape(b + x.shape[1:]), row) for b, i, j in some]


def in_blocks(
    stage: Stage, engine: str, programs: Sequence[Program], shape: Shape, rows: Sequence[Row], tail: Row, trees: Trees
) -> list[Row]:
    """The rows of the leaves, by way of their pieces. On explicit axes of a mesh they are computed as XLA finds best."""
    views: Any = trees.pick(views_of(stage, trees.updates))
    homes = [_homes(*each) if engine == "dealt" else [] for each in zip(programs, views, rows, strict=True)]
    run = functools.partial(_in_blocks, stage, engine, programs, shape, trees=trees, views=views, homes=homes)
    if engine == "spread":
        return run(rows, tail)
    like = lambda: [(row[0], *one.fields(shape, (*row, *tail))) for one, row in zip(programs, rows, strict=True)]
    return found_by_xla(run, (rows, tail), like, of_whole=engine == "dealt")


def _in_blocks(
    stage: Stage, engine: str, programs: Sequence[Program], shape: Shape, rows: Sequence[Row], tail: Row, *, trees: Trees,
    views: Sequence[Blocks], homes: Sequence[Sequence[Homes]],
) -> list[Row]:  # fmt: skip
    cut = [_cut(*each) for each in zip(programs, views, rows, strict=True)]
    kinds, members, where = _grouped(engine, programs, views, cut, homes)
    run = lambda these: functools.partial(_computed, these, shape)
    if not rows or engine == "plain" or (engine == "spread" and is_heard()):
        made = run(kinds)(members, tail)
    elif engine == "spread":
        users = [one for one in programs if not one.is_constant]  # with a function of theirs in it
        made = (users or programs)[0].made(("blocks", *kinds), shape, run(kinds))(members, tail)
    else:
        made = []
        owners = [(i, j) for i, view in enumerate(views) for j in range(len(view.pieces))]
        for kind, some in zip(kinds, in_turn(members, made), strict=True):
            mine = tuple(owner for owner, (k, _) in zip(owners, where, strict=True) if k == len(made))
            if kind.homes is not None and (heard := listening()) is not None:
                heard.append(Deal(kind, mine, some, tail, _work_of(kind, shape)))
                made.append([(row[0], *kind.program.fields(shape, (*row, *tail))) for row in some])
                continue
            try:
                made += kind.program.made(("blocks", *kind[1:]), shape, run([kind]))([some], tail)
            except Exception as e:
                trees.note(e, *dict.fromkeys(i for i, _ in mine))
                raise
    results = iter([made[k][j] for k, j in where])
    parts = [[next(results) for _ in view.pieces] for view in views]
    return [_together(*each) for each in zip(programs, views, rows, parts, strict=True)]


def _cut(program: Program, view: Blocks, row: Row) -> list[Row]:
    """A row for each piece of a leaf."""
    slot, left = program.slots[0], iter(row)
    layout = slot.layout
    like = [_taken(view, as_array(next(left))) for _ in range(1 + program.wants_params)]
    fields = _plain(slot, [next(left) for _ in layout.leaf])
    columns = like + [
        _taken(view, x) if name in layout.like_params else view.entries(x) for name, x in zip(layout.leaf, fields, strict=True)
    ]
    keyed = list(left)
    keys = [keyed.pop()] if layout.key else []
    columns += [_taken(view, x) if jnp.shape(x) == view.shape else _for_each(view, x) for x in keyed]
    if keys:
        columns.append(_keys(view, keys[0]))
    return [tuple(piece) for piece in zip(*columns, strict=True)]


def _homes(program: Program, view: Blocks, row: Row) -> list[Homes]:
    """For each piece of a leaf how the stacks of gradient, parameter and state are split where they live; None: not known."""
    layout, n = program.slots[0].layout, 1 + program.wants_params
    like, fields = row[:n], row[n : n + len(layout.leaf)]
    found = []
    for k, piece in enumerate(view.pieces):
        homes = [home_of(place_of(x), piece) for x in like]
        for name, x in zip(layout.leaf, () if any_encoded(fields) else fields, strict=False):
            if name in layout.like_params:
                homes.append(home_of(place_of(x), piece))
            else:
                homes += [home_of_entry(place_of(y), len(piece.batch)) for y in jax.tree.leaves(view.entries(x)[k])]
        found.append(tuple(homes))
    return found


def _plain(slot: Slot, fields: Sequence[Tree]) -> list[Tree]:
    """A stage's fields at a leaf, with arrays for those that are encoded."""
    return decoded(on_device(list(fields)), slot.layout.leaf, slot.layout.partners) if any_encoded(fields) else list(fields)


_take, _put = jax.jit(Blocks.take, static_argnums=0), jax.jit(Blocks.put, static_argnums=0)


def _taken(view: Blocks, x: Array) -> Sequence[Array]:
    """The pieces of an array; the one that is all of it stays where it lies until its turn."""
    return [x] if view.is_leaf else _take(view, on_device(x))


def _for_each(view: Blocks, x: Array) -> list[Array]:
    """Something of a leaf, for each array of each piece."""
    return [jnp.broadcast_to(x, piece.batch + jnp.shape(x)) for piece in view.pieces]


def _keys(view: Blocks, key: Array) -> list[Array]:
    """A random key for each array of each piece."""
    sizes = [math.prod(piece.batch) for piece in view.pieces]
    if sum(sizes) == 1:
        return [key.reshape(piece.batch) for piece in view.pieces]
    keys = jax.random.split(key, sum(sizes))
    starts = np.cumsum([0, *sizes])
    return [keys[i : i + n].reshape(piece.batch) for i, n, piece in zip(starts, sizes, view.pieces, strict=False)]


def _together(program: Program, view: Blocks, row: Row, parts: Sequence[Row]) -> Row:
    """The row of a leaf from those of its pieces: (u, *new state fields)."""
    layout, old = program.slots[0].layout, list(row[1 + program.wants_params :][: len(program.slots[0].layout.leaf)])
    columns = list(zip(*parts, strict=True))
    whole = lambda xs: xs[0] if view.is_leaf else _put(view, xs)
    new = [whole(x) if name in layout.like_params else view.entry(x) for name, x in zip(layout.leaf, columns[1:], strict=True)]
    return (whole(columns[0]), *as_stored(layout, new, old))


def _grouped(
    engine: str,
    programs: Sequence[Program],
    views: Sequence[Blocks],
    cut: Sequence[Sequence[Row]],
    homes: Sequence[Sequence[Homes]],
) -> tuple[list[Kind], list[list[Row]], list[tuple[int, int]]]:
    """The kinds of pieces, the rows of each kind, and for each piece of each leaf in order which row of which kind it is."""
    found: dict[Hashable, list[tuple[Row, Sizes, Homes]]] = {}
    owners: list[Program] = []
    where = []
    for program, view, rows, known in zip(programs, views, cut, homes, strict=True):
        for piece, row, home in zip(view.pieces, rows, known or [()] * len(rows), strict=True):
            n = len(piece.batch)
            arrays, treedef = jax.tree.flatten(row)
            alike = (program, treedef, *((x.shape[n:], x.dtype) for x in arrays))
            key = alike if engine in ("stacked", "dealt") else len(where)
            if key not in found:
                owners.append(program)
            some = found.setdefault(key, [])
            where.append((list(found).index(key), len(some)))
            some.append((row, piece.batch, home))
    kinds, members, start = [], [], 0
    counts = [sum(math.prod(batch) for _, batch, _ in some) for some in found.values()]
    for program, some, number in zip(owners, found.values(), counts, strict=True):
        plan = program.slots[0].plan
        dealt = plan is not None and plan.phase == "spread"
        share = _refresh.Share(start, number, sum(counts)) if dealt else _refresh.Share(0, 0, 1)
        rows, batches, where_they_live = zip(*some, strict=True)
        deals = engine == "dealt" and keeps_matrices(_of_pieces(program, rows[0]), len(batches[0]))
        kinds.append(Kind(program, batches, share, where_they_live if deals else None))
        members.append(list(rows))
        start += number
    return kinds, members, where


def _computed(kinds: Sequence[Kind], shape: Shape, members: Sequence[Sequence[Row]], tail: Row) -> list[list[Row]]:
    """All rows of all kinds."""
    rows = [on_device(some) for some in members]
    if kinds and kinds[0].homes is not None:
        out = [Dealer(kind, some).results(tail, _work_of(kind, shape)) for kind, some in zip(kinds, rows, strict=True)]
    else:
        stacks = [kind.together(some) for kind, some in zip(kinds, rows, strict=True)]
        out = [kind.apart(row) for kind, row in zip(kinds, _answered(kinds, shape, stacks, tail), strict=True)]
    fields = lambda kind, row: kind.program.fields(shape, (*row, *tail))
    apart = [zip(some, old, strict=True) for some, old in zip(out, members, strict=True)]
    return [[(u, *placed(new, fields(kind, row))) for (u, *new), row in pairs] for kind, pairs in zip(kinds, apart, strict=True)]


def _work_of(kind: Kind, shape: Shape) -> Work:
    """What a device makes of its members of a kind."""
    here = lambda share, row: Kind(kind.program, ((row[0].shape[0],),), share)
    return lambda share, row, tail: _answered([here(share, row)], shape, [row], tail)[0]


def _of_pieces(program: Program, row: Row) -> list[Tree]:
    """The state fields in a row that are not laid out like the leaf."""
    layout = program.slots[0].layout
    return [x for name, x in zip(layout.leaf, row[1 + program.wants_params :], strict=False) if name not in layout.like_params]


def _answered(kinds: Sequence[Kind], shape: Shape, stacks: Sequence[Row], tail: Row) -> list[Row]:
    """The results of each kind, all of its rows as one: the kernels run until none of them asks."""
    answers: list[list[Tree]] = [[] for _ in kinds]
    while True:
        out = [_tried(kind, shape, row, told, tail) for kind, row, told in zip(kinds, stacks, answers, strict=True)]
        far: dict[int, _travel.Asked] = {}
        for i, (question, arrays) in enumerate(out):
            if isinstance(question, _travel.Asked):
                far[i] = question.of(arrays)
            elif question is not None:
                answers[i].append(_refreshed(kinds[i], shape, question, arrays, tail))
        if far:
            spread = kinds[0].program.spread
            assert spread is not None
            for i, answer in zip(far, whole(list(far.values()), spread), strict=True):
                answers[i].append(answer)
        if all(question is None for question, _ in out):
            return [row for _, row in out]


def _refreshed(kind: Kind, shape: Shape, question: _refresh.Asked, arrays: Tree, tail: Row) -> Tree:
    plan, common = kind.program.slots[0].plan, kind.program.common(shape, tail)[0]
    if plan is None:
        raise MissingArgumentError(
            f"{kind.program.slots[0].kernel.name}: the kernel calls `c.refresh`, but no argument says when: declare `every: Every = 10`."
        )
    return _refresh.refreshed(question, arrays, plan, common.shared.get("since"), kind.depth, kind.share)


def _tried(kind: Kind, shape: Shape, row: Row, answers: Sequence[Tree], tail: Row) -> tuple[Question | None, Tree]:
    """What a batch asks for next, with the arrays of the question; or None and the results."""
    asked: list[Question] = []
    spread = kind.program.spread

    def one(row: Row, answers: Sequence[Tree]) -> Tree:
        try:
            return kind.program.leaf(shape, *row, *tail, told=Told(answers, spread is not None and not spread.with_state))
        except (_refresh.Asked, _travel.Asked) as question:
            asked.append(question)
            return question.arrays_of_each

    for _ in range(kind.depth):
        one = jax.vmap(one)
    out = one(row, answers)
    return (asked[0] if asked else None), out
