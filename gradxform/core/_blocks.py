"""Blocks: a leaf as the arrays of which a kernel sees one: the matrices that it holds, and the blocks into which long axes are cut."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import jax.numpy as jnp
import numpy as np

from gradxform._errors import StructureError
from gradxform._types import Array, Axes, Shape, Tree
from gradxform.core._holes import flatten, is_array, paths
from gradxform.core._roles import Role, Split, of_one, roles_of
from gradxform.tree._params import is_stand_in

if TYPE_CHECKING:
    from gradxform.core._stage import Stage


class Segment(NamedTuple):
    """A stretch of an axis that is cut into parts of one size."""

    start: int
    number: int
    size: int

    @property
    def stop(self) -> int:
        return self.start + self.number * self.size


class Piece(NamedTuple):
    """A part of a leaf: a batch of arrays of one shape.

    Attributes:
      batch: the sizes of the axes that count them; () for one.
      shape: that of each.
      axes: for each axis of batch and shape the axis of the leaf that it is; None: it is a part of one, or several.
    """

    batch: Shape
    shape: Shape
    axes: tuple[int | None, ...]
    segments: tuple[Segment, ...]


class Blocks:
    """How a leaf is cut; `blocks_of` makes it.

    Rests are pieces of their own size, rather than padded: a kernel then sees nothing but what is there.

    Attributes:
      seen: the shape in which axes are transposed and joined, before they are cut; the first `lead` axes are a batch.
      pieces: the parts.
    """

    def __init__(self, shape: Shape, role: Role | None, block_size: int | None, merge_dims: int | None):
        self.shape, self.order = shape, tuple(range(len(shape))) if role is None else role.order
        if role is None:
            self.lead, joined = 0, _merged(shape, merge_dims)
        else:
            self.lead, joined = len(role.batch), [*((a,) for a in role.batch), role.rows, role.columns]
        self.seen = tuple(math.prod(shape[a] for a in axes) for axes in joined)
        splits = (None,) * len(joined) if role is None else (None,) * self.lead + role[3:]
        batch = self.seen[: self.lead]
        cuts = [_segments(n, s, block_size) for n, s in zip(self.seen[self.lead :], splits[self.lead :], strict=True)]
        whole = tuple(axes[0] if len(axes) == 1 else None for axes in joined)
        self.pieces: list[Piece] = []
        for segments in itertools.product(*cuts):
            counts = tuple(s.number for s in segments if s.number > 1)
            own = (a if s.size == n else None for a, s, n in zip(whole[self.lead :], segments, self.seen[self.lead :], strict=True))
            axes = (*whole[: self.lead], *(None for _ in counts), *own)
            self.pieces.append(Piece(batch + counts, tuple(s.size for s in segments), axes, segments))

    @property
    def is_leaf(self) -> bool:
        """Whether the leaf itself is the one piece."""
        return len(self.pieces) == 1 and self.pieces[0].shape == self.shape and self.order == tuple(range(len(self.shape)))

    def take(self, x: Array) -> list[Array]:
        """The pieces of an array of the leaf's shape, (*batch, *shape) each."""
        if self.order != tuple(range(x.ndim)):
            x = x.transpose(self.order)
        x = x if x.shape == self.seen else x.reshape(self.seen)
        return [self._taken(x, piece) for piece in self.pieces]

    def _taken(self, x: Array, piece: Piece) -> Array:
        where = tuple(slice(s.start, s.stop) for s in piece.segments)
        x = x[(slice(None),) * self.lead + where] if len(self.pieces) > 1 else x
        if all(s.number == 1 for s in piece.segments):
            return x
        apart, counts, sizes = list(piece.batch[: self.lead]), [], []
        for s in piece.segments:
            if s.number > 1:
                counts.append(len(apart))
                apart.append(s.number)
            sizes.append(len(apart))
            apart.append(s.size)
        return x.reshape(apart).transpose([*range(self.lead), *counts, *sizes])

    def put(self, pieces: Sequence[Array]) -> Array:
        """The inverse of `take`."""
        left = iter(self._put(x, piece) for x, piece in zip(pieces, self.pieces, strict=True))
        x = self._joined(left, [sorted({p.segments[i] for p in self.pieces}) for i in range(len(self.seen) - self.lead)], self.lead)
        between = [self.shape[a] for a in self.order]
        x = x if list(x.shape) == between else x.reshape(between)
        return x if self.order == tuple(range(x.ndim)) else x.transpose([self.order.index(i) for i in range(x.ndim)])

    def _put(self, x: Array, piece: Piece) -> Array:
        if all(s.number == 1 for s in piece.segments):
            return x
        n, back = len(piece.batch), list(range(self.lead))
        counts = iter(range(self.lead, n))
        for i, s in enumerate(piece.segments):
            back += [next(counts), n + i] if s.number > 1 else [n + i]
        return x.transpose(back).reshape(piece.batch[: self.lead] + tuple(s.stop - s.start for s in piece.segments))

    def _joined(self, left: Tree, segments: Sequence[Sequence[Segment]], axis: int) -> Array:
        if not segments:
            return next(left)
        parts = [self._joined(left, segments[1:], axis + 1) for _ in segments[0]]
        return parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis)

    def entry(self, of_pieces: Sequence[Tree]) -> Tree:
        """What a state field that is not laid out like the leaf holds there: that of the one piece, or a tuple."""
        return of_pieces[0] if len(self.pieces) == 1 else tuple(of_pieces)

    def entries(self, entry: Tree) -> Sequence[Tree]:
        """The inverse."""
        return [entry] if len(self.pieces) == 1 else entry

    def axes(self, piece: Piece, axes: Axes) -> Axes:
        """The axes of an entry at a piece in terms of those of the leaf, from those in terms of the piece."""
        n = len(piece.batch)
        return Axes(*piece.axes[:n], *(None if a is None else piece.axes[n + a] for a in axes))


blocks_of = functools.cache(Blocks)
"""(shape, role, block size, most elements that joined axes have) -> `Blocks`."""


def _merged(shape: Shape, most: int | None) -> list[tuple[int, ...]]:
    """Neighbouring axes that are joined, from the front, as long as they have no more elements together; those of length 1 vanish."""
    if most is None:
        return [(a,) for a in range(len(shape))]
    joined: list[tuple[int, ...]] = []
    for a, n in enumerate(shape):
        before = math.prod(shape[i] for i in joined[-1]) if joined else 0
        if joined and (n == 1 or before == 1 or before * n <= most):
            joined[-1] += (a,)
        else:
            joined.append((a,))
    return joined


def _segments(n: int, split: Split, block_size: int | None) -> list[Segment]:
    """An axis cut as its role says, and then into blocks of that size; what remains is a block of its own."""
    sizes = [n] if split is None else [n // split] * split if isinstance(split, int) else list(split)
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    parts = [Segment(start, 1, size) for start, size in zip(starts, sizes, strict=True)]
    if block_size is not None:
        parts = [s for part in parts for s in _cut(part, block_size)]
    found: list[Segment] = []
    for part in parts:
        if found and found[-1].size == part.size:
            found[-1] = Segment(found[-1].start, found[-1].number + part.number, part.size)
        else:
            found.append(part)
    return found


def _cut(part: Segment, size: int) -> list[Segment]:
    full, rest = divmod(part.size, size)
    whole = [Segment(part.start, full, size)] if full else []
    return whole + ([Segment(part.start + full * size, 1, rest)] if rest or not full else [])


def roles_in(stage: Stage, tree: Tree, assumed: bool = False) -> list[Role | None] | None:
    """The role of each leaf in a stage that asks for them; None: it does not, or all axes are alike to it, but that of a stack.

    With `assumed` also those that a kernel which joins and cuts no axes takes for granted where nothing is said.
    """
    kernel = stage.kernel
    said = {what: stage.args[name] for name, what in kernel.cutting.items()}
    asks = kernel.sees == "matrix" or (said.get("roles") is not None if kernel.sees else "roles" in said)
    asks = asks or (assumed and [*said] == ["roles"])
    if is_stand_in(tree):
        return None
    if asks:
        return roles_of(stage.owner, said.get("roles"), tree)
    stacked = of_one(tree)[1]
    roles = roles_of(stage.owner, None, tree) if any(stacked) else []
    return [role if several else None for role, several in zip(roles, stacked, strict=True)] if roles else None


def views_of(stage: Stage, tree: Tree) -> list[Blocks | None]:
    """How each leaf is cut for a kernel that sees parts of leaves; None: it is no array, or the kernel sees all of it."""
    kernel, leaves = stage.kernel, flatten(tree)[0]
    if not kernel.sees or is_stand_in(tree):
        return [None] * len(leaves)
    said = {what: stage.args[name] for name, what in kernel.cutting.items()}
    asked = roles_in(stage, tree)
    roles = [None] * len(leaves) if asked is None else asked
    views: list[Blocks | None] = []
    for i, (leaf, role) in enumerate(zip(leaves, roles, strict=True)):
        if not is_array(leaf):
            views.append(None)
            continue
        if kernel.sees == "matrix" and role is None:
            raise StructureError(
                f"{stage.owner}: expected a matrix, but at {paths(tree)[i]!r} the leaf has shape {np.shape(leaf)} and no role. Give it "
                "to another optimizer (`partition`), or say which axes are inputs and outputs: "
                "`weight_dimension_numbers=WeightDimensionNumbers(...)`."
            )
        is_vector = role is None and said.get("roles") is not None
        most = math.prod(np.shape(leaf)) if is_vector else said.get("merge_dims")
        views.append(blocks_of(np.shape(leaf), role, said.get("block_size"), most))
    return views
