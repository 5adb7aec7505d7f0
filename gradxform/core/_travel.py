"""How stacks of matrices travel: each device has its part of every matrix, then some whole matrices, then parts again.

If the mesh is explicit, a leaf's type says which axes shard its rows and columns: it is cut in one part for each device (`Form`). What
other axes than `spread`'s shard is brought together where it has arrived, and parted before it travels back. If the mesh is automatic, JAX
does not say it: with `P(None, UNCONSTRAINED, ...)` a stack stays where XLA finds its leaves, with `P(axes)` it is whole matrices (`_road`);
other axes are then left to XLA.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, PartitionSpec

from gradxform._errors import StructureError
from gradxform._numerics import parts, real_part
from gradxform._types import Array, DType, Tree
from gradxform.core._allotment import Allotment, Group, Kind, Matrix, allot
from gradxform.core._hyper import Fraction
from gradxform.core._road import Road, Spread
from gradxform.core._transformation import frozen

Function = Callable[..., Array]
Whole = Callable[..., Array]
"""`c.whole`: of a function, a matrix or a tuple of them, and what else the function takes."""


def at_once(f: Function, x: Array | tuple[Array, ...], *args: Tree) -> Array:
    """`c.whole` on the engines on which each leaf is computed where it is."""
    return f(x, *args)


def spread_of(owner: str, said: Mapping[str, Any]) -> Spread | None:
    """What the arguments for the engines `spread` and `dealt` say, if there are any."""
    found = (
        Spread(owner, said[what], said.get("wire"), what == "deal") for what in ("spread", "deal") if said.get(what) is not None
    )
    return next(found, None)


class Form(NamedTuple):
    """How matrices of a shape are cut in parts, of which each device has one.

    Where it is known what shards them, in one part for each device; otherwise rows and columns are both cut for all devices, and padded.

    Attributes:
      sizes: of the axes over which they are dealt out, in their order on the devices.
      others: of the other axes that shard matrices.
      rows: the axes that shard the rows; None: not known.
      columns: those that shard the columns.
    """

    shape: Matrix
    sizes: tuple[tuple[str, int], ...]
    others: tuple[tuple[str, int], ...] = ()
    rows: tuple[str, ...] | None = None
    columns: tuple[str, ...] = ()

    @property
    def lead(self) -> tuple[int, int]:
        n, m = (math.prod(size for _, size in axes) for axes in (self.sizes, self.others))
        return (n, n) if self.rows is None else (n, m)

    @property
    def _cuts(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Into how many parts rows and columns are cut, axis by axis, and the order of the parts."""
        if self.rows is None:
            return self.lead[:1], self.lead[1:], (1, 3, 2, 4)
        r, names, sizes = len(self.rows), (*self.rows, None, *self.columns), (*self.sizes, *self.others)
        cuts = lambda axes: tuple(dict(sizes)[a] for a in axes)
        return cuts(self.rows), cuts(self.columns), (*(names.index(axis) + 1 for axis, _ in sizes), r + 1, len(names) + 1)

    @property
    def part(self) -> Matrix:
        """Rows and columns of a part."""
        rows, columns, _ = self._cuts
        return -(-self.shape[0] // math.prod(rows)), -(-self.shape[1] // math.prod(columns))

    def cut(self, x: Array) -> Array:
        """A stack of matrices as (matrices, *lead, elements)."""
        (rows, columns, order), (tall, wide) = self._cuts, self.part
        x = jnp.pad(x, ((0, 0), (0, math.prod(rows) * tall - x.shape[1]), (0, math.prod(columns) * wide - x.shape[2])))
        return x.reshape(-1, *rows, tall, *columns, wide).transpose(0, *order).reshape(-1, *self.lead, tall * wide)

    def uncut(self, x: Array) -> Array:
        """The inverse."""
        (rows, columns, order), (tall, wide) = self._cuts, self.part
        before = (x.shape[0], *rows, tall, *columns, wide)
        x = x.reshape([before[i] for i in (0, *order)]).transpose(np.argsort((0, *order)))
        x = x.reshape(-1, math.prod(rows) * tall, math.prod(columns) * wide)
        return x[:, : self.shape[0], : self.shape[1]]


class Asked(BaseException):
    """Raised by a kernel on its way to something that needs whole matrices: f of them, and of what is no matrix."""

    def __init__(self, f: Function, matrices: tuple[Array, ...], args: tuple[Tree, ...]):
        self.f, self.matrices = f, matrices
        self.forms: tuple[Form, ...] = ()
        self.home: PartitionSpec | None = None  # that of `Road`
        leaves, self.structure = jax.tree.flatten(args)
        leaves = [jnp.asarray(x) if isinstance(x, (Fraction, np.ndarray)) else x for x in leaves]
        self.is_array = [isinstance(x, jax.Array) for x in leaves]
        self.arrays = [x for x, is_array in zip(leaves, self.is_array, strict=True) if is_array]
        self.static = [x for x, is_array in zip(leaves, self.is_array, strict=True) if not is_array]

    @property
    def arrays_of_each(self) -> tuple[Array, ...]:
        """What differs from matrix to matrix."""
        return self.matrices

    def of(self, matrices: tuple[Array, ...]) -> Asked:
        """The same of a batch of them."""
        self.matrices = matrices
        return self

    @property
    def batch(self) -> int:
        return math.prod(self.matrices[0].shape[:-2])

    @property
    def dtype(self) -> np.dtype:
        """The real dtype of what is asked."""
        return real_part(self.matrices[0].dtype)

    def counted(self, number: int) -> Kind:
        """So many matrices such as these."""
        shapes = tuple(form.shape for form in self.forms)
        return Kind(number, shapes, shapes[: real_parts(self.matrices[0])])

    def road(self, mesh: AbstractMesh, spread: Spread) -> Road:
        """What it travels on, with all else that does."""
        first = self.forms[0]
        return Road(mesh, spread, self.dtype, None if first.rows is None else tuple(a for a, _ in first.others), self.home)

    @property
    def kind(self) -> Hashable:
        """What is equal where one call will do for the matrices of both."""
        about = lambda x: (x.shape, x.dtype)
        shapes = tuple((x.shape[-2:], x.dtype) for x in self.matrices)
        return (
            self.f,
            shapes,
            self.forms,
            self.structure,
            tuple(self.is_array),
            frozen(self.static),
            tuple(map(about, self.arrays)),
        )

    def call(self, pieces: Sequence[Array], arrays: Sequence[Array]) -> tuple[Array, ...]:
        """f of one matrix, in real parts, as it will travel back."""
        left, given, static = iter(pieces), iter(arrays), iter(self.static)
        complete = lambda x: jax.lax.complex(next(left), next(left)) if jnp.iscomplexobj(x) else next(left)
        x = [complete(like) for like in self.matrices]
        args = self.structure.unflatten([next(given) if is_array else next(static) for is_array in self.is_array])
        out = jnp.asarray(self.f(tuple(x) if len(x) > 1 else x[0], *args))
        if out.shape != x[0].shape:
            raise StructureError(
                f"c.whole: {self.f!r:.100} of a matrix of shape {x[0].shape} must have that shape, but has {out.shape}. It is called for "
                "one matrix, with the arguments that stand in the kernel."
            )
        return parts(out.astype(x[0].dtype))


def real_parts(x: Array) -> int:
    """How many there are of an array."""
    return 2 if jnp.iscomplexobj(x) else 1


class Batch(NamedTuple):
    """All matrices of one kind."""

    asked: Sequence[Asked]
    stacks: list[Array]
    arrays: list[Array]

    @property
    def size(self) -> int:
        return sum(one.batch for one in self.asked)

    @property
    def there(self) -> tuple[Form, ...]:
        return self.asked[0].forms

    @property
    def back(self) -> tuple[Form, ...]:
        return self.there[: real_parts(self.asked[0].matrices[0])]

    @property
    def kind(self) -> Kind:
        return self.asked[0].counted(self.size)

    def call(self, first: Array, arrays: Sequence[Array], pieces: Sequence[Array]) -> tuple[Array, ...]:
        """The answers for some of the matrices, beginning with that of this number; `arrays` as they are on this device."""
        leaf = np.repeat(np.arange(len(self.asked)), [one.batch for one in self.asked])
        those = jnp.asarray(leaf)[first + jnp.arange(pieces[0].shape[0])]
        pieces = jax.lax.optimization_barrier(pieces)  # as they came, so that XLA makes of them what it makes of them elsewhere
        return jax.lax.optimization_barrier(jax.vmap(self.asked[0].call)(pieces, [x[those] for x in arrays]))


def computed(road: Road, batches: Sequence[Batch]) -> list[list[Array]]:
    """The answers for each batch, stacked, as they travel."""
    allotment = allot([batch.kind for batch in batches], road.devices)
    out: list[list[list[Array]]] = []
    for batch, q in zip(batches, allotment.every, strict=True):
        evenly = [x[: q * road.devices] for x in batch.stacks]
        out.append([_evenly(road, batch, q, evenly)] if q else [])
    for found, left in zip(out, _left_over(road, allotment, batches), strict=True):
        found += left
    return [[jnp.concatenate(xs) for xs in zip(*pieces, strict=True)] for pieces in out]


def _evenly(road: Road, batch: Batch, q: int, stacks: Sequence[Array]) -> list[Array]:
    """The answers for q matrices on every device."""
    if road.others is None:
        return road.over(lambda device, arrays, *xs: batch.call(device * q, arrays, xs), batch.arrays, stacks)
    each = lambda name, forms, xs: [getattr(form, name)(x) for form, x in zip(forms, xs, strict=True)]
    work = lambda device, arrays, *xs: each("cut", batch.back, batch.call(device * q, arrays, each("uncut", batch.there, xs)))
    return each("uncut", batch.back, road.over(work, batch.arrays, each("cut", batch.there, stacks)))


class Portion(NamedTuple):
    """What a group gets of one kind: so many for each of its devices, beginning with that of this number."""

    batch: Batch
    first: int
    each: int

    def forms(self, way: str) -> tuple[Form, ...]:
        return getattr(self.batch, way) if self.each else ()

    def elements(self, way: str) -> int:
        """How many numbers there are of it in each part."""
        return self.each * sum(math.prod(form.part) for form in self.forms(way))


def _portions(allotment: Allotment, batches: Sequence[Batch]) -> list[tuple[int, Group, list[Portion]]]:
    """For each group: the number of its first device, itself, and what it gets."""
    firsts, device, found = [q * allotment.devices for q in allotment.every], 0, []
    for group in allotment.groups:
        found.append((device, group, [Portion(b, i, k) for b, i, k in zip(batches, firsts, group.takes, strict=True)]))
        firsts = [i + group.devices * k for i, k in zip(firsts, group.takes, strict=True)]
        device += group.devices
    return found


def _left_over(road: Road, allotment: Allotment, batches: Sequence[Batch]) -> list[list[list[Array]]]:
    """The answers for what every device does not get alike: one stack, in which each device's part is cut in blocks and padded."""
    portions = _portions(allotment, batches)
    if not any(any(group.takes) for group in allotment.groups):
        return [[] for _ in batches]
    lead = batches[0].there[0].lead
    size = lambda way: max(sum(p.elements(way) for p in given) for _, _, given in portions)

    def work(device: Array, beside: Sequence[Sequence[Array]], blocks: Array) -> tuple[Array]:
        def of(first: int, given: Sequence[Portion]) -> Callable[[Array], Array]:
            def branch(blocks: Array) -> Array:
                pieces = _unjoined(blocks, given, "there")
                start = lambda p: p.first + (device - first) * p.each
                each = zip(given, beside, pieces, strict=True)
                done = [p.batch.call(start(p), arrays, mine) if p.each else () for p, arrays, mine in each]
                return _joined(done, given, "back", (1, *lead, size("back")), road.dtype)

            return branch

        group_of = np.repeat(np.arange(len(portions)), [group.devices for _, group, _ in portions])
        branches = [of(first, given) for first, _, given in portions]
        return (jax.lax.switch(jnp.asarray(group_of)[device], branches, blocks),)

    taken = lambda p, devices: [x[p.first : p.first + devices * p.each] for x in p.batch.stacks] if p.each else []
    blocks = [
        _joined([taken(p, g.devices) for p in given], given, "there", (g.devices, *lead, size("there")), road.dtype)
        for _, g, given in portions
    ]
    (done,) = road.over(work, [b.arrays for b in batches], [jnp.concatenate(blocks)])
    found: list[list[list[Array]]] = [[] for _ in batches]
    for first, group, given in portions:
        for results, piece in zip(found, _unjoined(done[first : first + group.devices], given, "back"), strict=True):
            results += [piece] if piece else []
    return found


def _joined(pieces: Sequence[Sequence[Array]], given: Sequence[Portion], way: str, shape: tuple[int, ...], dtype: DType) -> Array:
    """Stacks of matrices, of each as many for every device, as one array (devices, *lead, elements)."""
    rows = []
    for p, stacks in zip(given, pieces, strict=True):
        for form, x in zip(p.forms(way), stacks, strict=True):
            x = form.cut(x)
            x = jnp.moveaxis(x.reshape(shape[0], p.each, *x.shape[1:]), 1, -2)
            rows.append(x.reshape(*shape[:-1], -1))
    padding = shape[-1] - sum(x.shape[-1] for x in rows)
    return jnp.concatenate([*rows, jnp.zeros((*shape[:-1], padding), dtype)], -1)


def _unjoined(rows: Array, given: Sequence[Portion], way: str) -> list[list[Array]]:
    """The inverse: for each portion its stacks, none where a device has none of it."""
    at, found = 0, []
    for p in given:
        found.append([])
        for form in p.forms(way):
            x = rows[..., at : at + p.each * math.prod(form.part)]
            x = jnp.moveaxis(x.reshape(*x.shape[:-1], p.each, -1), -2, 1)
            found[-1].append(form.uncut(x.reshape(-1, *x.shape[2:])))
            at += p.each * math.prod(form.part)
    return found
