"""Pieces: two optimizers taken apart, and which pieces of one continue which of the other."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradxform._types import Array, OptState, Params, Tree, Updates
from gradxform.core import GradientTransformation
from gradxform.core._holes import with_path
from gradxform.core._parts import Known, Labels, inner_fields, parts_of
from gradxform.core._stage import Stage
from gradxform.core._state import Layout
from gradxform.core._transformation import Spec

CLOCKS = ("count", "step", "t")
"""What a clock is called in a state whose layout is not known."""


class Piece(NamedTuple):
    """A transformation without its parts, and what its state holds beside theirs."""

    labels: Labels
    spec: Callable[..., tuple[Updates, OptState]] | None
    record: str
    fields: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.spec.name() if isinstance(self.spec, Spec) else self.record

    @property
    def path(self) -> str:
        return ".".join((*self.labels, self.name.removeprefix("scale_by_")))

    @property
    def layout(self) -> Layout | None:
        """What the fields are, where it is known."""
        return self.spec.layout if isinstance(self.spec, Stage) else None

    @property
    def clock(self) -> str | None:
        """The name of the field that counts updates."""
        if self.layout is None:
            return next((f for f in CLOCKS if f in self.fields), None)
        return self.layout.clock or next((f for f in self.timed if _is_count(self.fields[f])), None)

    @property
    def timed(self) -> list[str]:
        """The fields that advance once per update, whatever the gradients: the clock, a product of momenta."""
        if self.layout is None:
            return [self.clock] if self.clock else []
        advancing = [f for f in self.layout.shared if self.layout.fields[f].advance and f in self.fields]
        return [self.layout.clock, *advancing] if self.layout.clock else advancing

    @property
    def start(self) -> int:
        """What the clock shows before the first update."""
        return self.layout.start if self.layout is not None else 0

    def completed(self) -> Array | None:
        """The updates that its clock shows, if it has one."""
        return self.fields[self.clock] - self.start if self.clock else None

    def moments(self, params: Params) -> list[str]:
        """The fields with something for each leaf: those that are declared so, and others with paths of the parameters alone."""
        known, declared = set(by_path(params)), () if self.layout is None else self.layout.leaf
        rest = {f for f, tree in self.fields.items() if f not in self.timed and by_path(tree).keys() <= known}
        return [f for f in self.fields if f in declared or f in rest]

    def likeness(self, other: Piece) -> int:
        """How much the two are the same; 0 if not at all."""
        if not (self.fields and other.fields):
            return 0
        names = self.name == other.name
        if not (names or self.record == other.record):
            return 0
        return 100 + 10 * names + (self.spec == other.spec)

    def reads_clock(self) -> bool:
        """Whether the update of a leaf depends on what advances, schedules apart: it does not where nothing is debiased.

        A mapped clock tells: what depends on it is mapped too. A kernel that needs extra arguments is taken for one that reads it.
        """
        if not isinstance(self.spec, Stage):
            return True
        fixed = Stage(self.spec.kernel, self.spec.kernel.at(0, self.spec.args))
        layout = fixed.layout
        names = [f for f in self.timed if f in layout.shared or f == layout.clock]
        like = next((self.fields[f] for f in layout.leaf if f in self.fields and layout.fields[f].axes is None), None)
        if not names:
            return False
        if fixed.kernel.whole or like is None or any(n != "params" and not x.optional for n, x in fixed.kernel.needs.items()):
            return True

        def leaves(timed: Mapping[str, Array], like: Tree) -> Tree:
            state = fixed.init(like)
            clock = timed.get(layout.clock) if layout.clock else None
            u, new = fixed(like, layout.write(state, {f: x for f, x in timed.items() if f != layout.clock}, clock), like)
            return u, [getattr(layout.unbox(new), f) for f in layout.leaf]

        pairs = {f: jnp.stack([self.fields[f]] * 2) for f in names}
        try:
            jax.eval_shape(jax.vmap(leaves, in_axes=(0, None), out_axes=None), pairs, like)
        except ValueError:
            return True
        return False


def _is_count(x: Tree) -> bool:
    return jnp.shape(x) == () and jnp.issubdtype(jnp.result_type(x), jnp.integer)


def by_path(tree: Tree) -> dict[str, Any]:
    return dict(with_path(tree))


def piece_of(labels: Labels, tx: Known, state: OptState) -> Piece:
    """A transformation taken by itself."""
    spec, record = getattr(tx, "update", None), state
    fields: dict[str, Tree] = {}
    if isinstance(spec, Stage):
        record = spec.layout.read(state, spec.name())
        own = [f for f in spec.layout.fields if f not in spec.layout.inner]
        fields = {"count": state.count} if spec.layout.boxed else {}
    elif isinstance(spec, Spec):  # all that it holds is of its parts
        own = []
    else:
        own = [f for f in getattr(record, "_fields", ()) if f not in (*inner_fields(record), "inner_states")]
    fields |= {f: getattr(record, f) for f in own}
    return Piece(labels, spec, type(record).__name__, {f: x for f, x in fields.items() if jax.tree.leaves(x)})


class Pieces:
    """The pieces of an optimizer, outer ones first, and the ways of a gradient through them.

    Attributes:
      pieces: as `walk` meets them.
      after: for each piece the positions of those that a gradient may meet next: several where a partition begins.
    """

    def __init__(self, tx: GradientTransformation, state: OptState):
        self.pieces: list[Piece] = []
        self.after: list[list[int]] = []
        self._add(tx, state, (), ())

    def _add(self, tx: Known, state: OptState, labels: Labels, before: Sequence[int]) -> list[int]:
        """Adds a transformation after what comes `before` it, and returns where it ends."""
        here = len(self.pieces)
        self.pieces.append(piece_of(labels, tx, state))
        self.after.append([])
        for i in before:
            self.after[i].append(here)
        ends, parallel = [here], []
        for p in parts_of(tx, state):
            inside = (*labels, p.label) if p.label else labels
            if hasattr(state, "inner_states"):
                parallel += self._add(p.tx, p.state, inside, [here])
            else:
                ends = self._add(p.tx, p.state, inside, ends)
        return parallel or ends

    def next(self, i: int) -> list[int]:
        """Where a gradient may go from a piece; the number of pieces is the end."""
        return self.after[i] or [len(self.pieces)]


def origins(old: Pieces, new: Pieces) -> list[list[int]]:
    """For each new piece the old ones that it continues, the one under the same labels first.

    Along a way of a gradient the pieces are matched by the longest common subsequence by likeness. Where ways part, each choice of
    either is followed; what is best before is judged by the mean over the ways that are open then.
    """
    n, m = len(old.pieces), len(new.pieces)
    value, move = [[0.0] * (m + 1) for _ in range(n + 1)], [[0] * m for _ in range(n)]
    mean = lambda rows, columns: sum(value[i][j] for i in rows for j in columns) / (len(rows) * len(columns))
    for i, j in itertools.product(reversed(range(n)), reversed(range(m))):
        like = old.pieces[i].likeness(new.pieces[j])
        choices = [like and like + mean(old.next(i), new.next(j)), mean(old.next(i), [j]), mean([i], new.next(j))]
        value[i][j] = max(choices)
        move[i][j] = choices.index(value[i][j]) if like else 1 + choices[1:].index(value[i][j])
    found: list[list[int]] = [[] for _ in new.pieces]
    todo, seen = [(0, 0)], set()
    while todo:
        i, j = todo.pop()
        if i == n or j == m or (i, j) in seen:
            continue
        seen.add((i, j))
        found[j] += [i] if move[i][j] == 0 else []
        todo += itertools.product(old.next(i) if move[i][j] < 2 else [i], new.next(j) if move[i][j] != 1 else [j])
    return [sorted(x, key=lambda i, j=j: (old.pieces[i].labels != new.pieces[j].labels, i)) for j, x in enumerate(found)]
