"""What a stage computes across a leaf: operations in products of matrices, and the collectives that a split leaf then needs.

A stage's update of one leaf is traced and its operations followed with the axes of the mesh that split each array, as XLA's partitioner
follows them. Shapes are enough: no compiler and no device take part. Of a product

    an axis that splits what is summed over         each device has a part of the sum: an all-reduce of the result
    one that splits it on one side alone            that side is gathered, if the other is split by the axis elsewhere
    one that splits rows and columns of the result  the smaller side is gathered
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradxform._types import Shape

Split = tuple[tuple[str, ...], ...]
"""For each axis of an array the axes of the mesh that split it."""

# Operations of a factorization, for its n rows and m columns (Golub and Van Loan, Matrix Computations).
LIBRARY: Mapping[str, Callable[[int, int], float]] = {
    "cholesky": lambda n, m: n**3 / 3,
    "eigh": lambda n, m: 9 * n**3,
    "eig": lambda n, m: 25 * n**3,
    "householder_product": lambda n, m: 2 * m**2 * (n - m / 3),
    "geqrf": lambda n, m: 2 * m**2 * (n - m / 3),
    "qr": lambda n, m: 4 * m**2 * (n - m / 3),
    "svd": lambda n, m: 4 * n * m**2 + 22 * m**3,
    "triangular_solve": lambda n, m: n**2 * m,
    "lu": lambda n, m: 2 * n**3 / 3,
}
REDUCTIONS = ("reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or", "argmax", "argmin")
BODIES = ("jaxpr", "call_jaxpr", "fun_jaxpr")


@dataclasses.dataclass
class Work:
    """What one device does.

    Attributes:
      flops: operations in products, by the dtype of their operands.
      moved: bytes of the results of collectives, by kind and the axes of the mesh that take part.
    """

    flops: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    moved: collections.Counter[tuple[str, tuple[str, ...]]] = dataclasses.field(default_factory=collections.Counter)

    def add(self, other: Work, times: int = 1) -> None:
        for dtype, flops in other.flops.items():
            self.flops[dtype] += flops * times
        for key, nbytes in other.moved.items():
            self.moved[key] += nbytes * times


def size(shape: Shape, split: Split, mesh: Mapping[str, int]) -> int:
    """How many numbers of an array one device has."""
    parts = (math.prod(mesh[a] for a in axes) for axes in split)
    return math.prod(-(-n // k) for n, k in zip(shape, parts, strict=True))


def work_of(jaxpr: Any, splits: Sequence[Split], mesh: Mapping[str, int]) -> Work:
    """What a traced function costs each device of a mesh, if its arguments are split so."""
    walk = _Walk(mesh)
    walk.run(jaxpr, splits)
    return walk.work


class _Walk:
    """Follows one trace."""

    def __init__(self, mesh: Mapping[str, int]):
        self.mesh, self.work = mesh, Work()

    def run(self, jaxpr: Any, splits: Sequence[Split]) -> list[Split]:
        jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
        known: dict[Any, Split] = dict(zip(jaxpr.invars, splits, strict=True))
        of = lambda v: known.get(v, whole(v.aval.shape)) if not hasattr(v, "val") else whole(v.aval.shape)
        for eqn in jaxpr.eqns:
            known.update(zip(eqn.outvars, self._equation(eqn, [of(v) for v in eqn.invars]), strict=True))
        return [of(v) for v in jaxpr.outvars]

    def _equation(self, eqn: Any, splits: list[Split]) -> Sequence[Split]:
        name = eqn.primitive.name
        if name == "scan":
            return self._scan(eqn, splits)
        if name == "while":
            consts = eqn.params["cond_nconsts"]
            return self.run(eqn.params["body_jaxpr"], splits[consts:])
        if name == "cond":
            return self._dearest(eqn.params["branches"], splits[1:])
        body = next((eqn.params[b] for b in BODIES if b in eqn.params), None)
        if body is not None:
            return self.run(body, splits)
        if name in LIBRARY:
            return self._library(eqn, splits)
        if name == "dot_general":
            return [self._product(eqn, *splits)]
        if name in REDUCTIONS:
            return self._reduction(eqn, splits)
        move = MOVES.get(name)
        if move is not None:
            return [move(eqn, splits[0])] * len(eqn.outvars)
        return [_joined(v.aval.shape, eqn.invars, splits) for v in eqn.outvars]

    def _scan(self, eqn: Any, splits: list[Split]) -> list[Split]:
        """Each iteration has rows of what has an axis more than inside; the rest is handed on."""
        body, inner = eqn.params["jaxpr"], _Walk(self.mesh)
        body = getattr(body, "jaxpr", body)
        kept, carried = (
            sum(v.aval.ndim == x.aval.ndim for v, x in zip(outside, inside, strict=True))
            for outside, inside in ((eqn.invars, body.invars), (eqn.outvars, body.outvars))
        )
        out = inner.run(body, [*splits[:kept], *(s[1:] for s in splits[kept:])])
        self.work.add(inner.work, eqn.params["length"])
        return [*splits[kept - carried : kept], *(((), *s) for s in out[carried:])]

    def _dearest(self, branches: Sequence[Any], splits: list[Split]) -> list[Split]:
        walks = [_Walk(self.mesh) for _ in branches]
        outs = [walk.run(branch, splits) for walk, branch in zip(walks, branches, strict=True)]
        best = max(range(len(walks)), key=lambda i: (walks[i].work.flops.total(), walks[i].work.moved.total()))
        self.work.add(walks[best].work)
        return outs[best]

    def _collective(self, kind: str, axes: Sequence[str], aval: Any, split: Split) -> None:
        """A collective whose result is an array that is split so."""
        if axes:
            self.work.moved[kind, tuple(axes)] += size(aval.shape, split, self.mesh) * aval.dtype.itemsize

    def _gathered(self, aval: Any, split: Split, axes: Sequence[str]) -> Split:
        """Brings an array together along axes of the mesh."""
        kept = tuple(tuple(a for a in one if a not in axes) for one in split)
        self._collective("all-gather", [a for one in split for a in one if a in axes], aval, kept)
        return kept

    def _product(self, eqn: Any, left: Split, right: Split) -> Split:
        (lc, rc), (lb, rb) = eqn.params["dimension_numbers"]
        a, b = (v.aval for v in eqn.invars)
        free = lambda split, used: {x for i, one in enumerate(split) if i not in used for x in one}
        rows, columns = free(left, (*lc, *lb)), free(right, (*rc, *rb))
        # what splits the sum on one side while it splits rows or columns of the other
        left = self._gathered(a, left, [x for i in lc for x in left[i] if x in columns])
        right = self._gathered(b, right, [x for i in rc for x in right[i] if x in rows])
        clash = [x for x in rows & columns if x in free(left, (*lc, *lb)) and x in free(right, (*rc, *rb))]
        if clash and size(a.shape, left, self.mesh) < size(b.shape, right, self.mesh):
            left = self._gathered(a, left, clash)
        elif clash:
            right = self._gathered(b, right, clash)
        summed = tuple(dict.fromkeys(x for i, j in zip(lc, rc, strict=True) for x in (*left[i], *right[j])))
        batch = tuple(tuple(dict.fromkeys((*left[i], *right[j]))) for i, j in zip(lb, rb, strict=True))
        free_left = [one for i, one in enumerate(left) if i not in (*lc, *lb)]
        free_right = [one for j, one in enumerate(right) if j not in (*rc, *rb)]
        out = (*batch, *free_left, *free_right)
        aval = eqn.outvars[0].aval
        self._collective("all-reduce", summed, aval, out)
        terms = math.prod(a.shape[i] for i in lc) / math.prod(self.mesh[x] for x in summed)
        self.work.flops[str(a.dtype)] += round(2 * size(aval.shape, out, self.mesh) * terms)
        return out

    def _reduction(self, eqn: Any, splits: list[Split]) -> list[Split]:
        axes, split = eqn.params["axes"], splits[0]
        kept = tuple(one for i, one in enumerate(split) if i not in axes)
        self._collective("all-reduce", [a for i in axes for a in split[i]], eqn.outvars[0].aval, kept)
        return [kept] * len(eqn.outvars)

    def _library(self, eqn: Any, splits: list[Split]) -> list[Split]:
        """A factorization, whose operands are gathered: each device computes the whole."""
        for v, split in zip(eqn.invars, splits, strict=True):
            self._gathered(v.aval, split, [a for one in split for a in one])
        *batch, n, m = eqn.invars[-1].aval.shape
        flops = LIBRARY[eqn.primitive.name](max(n, m), min(n, m))
        self.work.flops[str(eqn.invars[0].aval.dtype)] += round(math.prod(batch) * flops)
        return [whole(v.aval.shape) for v in eqn.outvars]


def whole(shape: Shape) -> Split:
    """Not split."""
    return ((),) * len(shape)


def _joined(shape: Shape, inputs: Sequence[Any], splits: Sequence[Split]) -> Split:
    """Of a result element by element: split as its inputs of that shape are, the first that says so for each axis."""
    found: list[tuple[str, ...]] = [()] * len(shape)
    for v, split in zip(inputs, splits, strict=True):
        if v.aval.shape == shape:
            for i, axes in enumerate(split):
                taken = {a for one in found for a in one}
                found[i] = found[i] or (() if taken & set(axes) else axes)
    return tuple(found)


def _transposed(eqn: Any, split: Split) -> Split:
    return tuple(split[i] for i in eqn.params["permutation"])


def _broadcast(eqn: Any, split: Split) -> Split:
    out: list[tuple[str, ...]] = [()] * len(eqn.params["shape"])
    for i, j in enumerate(eqn.params["broadcast_dimensions"]):
        out[j] = split[i]
    return tuple(out)


def _reshaped(eqn: Any, split: Split) -> Split:
    """Axes that become one, or several, leave their split with the first of them; axes of length 1 come and go."""
    old, new = eqn.invars[0].aval.shape, eqn.outvars[0].aval.shape
    out: list[tuple[str, ...]] = [()] * len(new)
    starts = {s: j for j, s in reversed(list(enumerate(_strides(new)))) if new[j] != 1}
    for i, stride in enumerate(_strides(old)):
        if split[i] and stride in starts:
            out[starts[stride]] = split[i]
    return tuple(out)


def _strides(shape: Shape) -> list[int]:
    """How many there are of the axes up to each one."""
    return [math.prod(shape[:i]) for i in range(len(shape))]


def _same_lengths(eqn: Any, split: Split) -> Split:
    """Of a part of an array: split along the axes that are whole."""
    old, new = eqn.invars[0].aval.shape, eqn.outvars[0].aval.shape
    return tuple(axes if n == m else () for axes, n, m in zip(split, old, new, strict=True)) if len(old) == len(new) else whole(new)


def _squeezed(eqn: Any, split: Split) -> Split:
    gone = [i % len(split) for i in eqn.params["dimensions"]]
    return tuple(axes for i, axes in enumerate(split) if i not in gone)


MOVES: Mapping[str, Callable[[Any, Split], Split]] = {
    "transpose": _transposed,
    "broadcast_in_dim": _broadcast,
    "reshape": _reshaped,
    "squeeze": _squeezed,
    "slice": _same_lengths,
    "dynamic_slice": _same_lengths,
    "pad": _same_lengths,
    "concatenate": _same_lengths,
    "split": _same_lengths,
    "stack": lambda eqn, split: (*split[: (i := eqn.params["axis"])], (), *split[i:]),
    "unstack": lambda eqn, split: (*split[: (i := eqn.params["axis"])], *split[i + 1 :]),
    "gather": lambda eqn, split: whole(eqn.outvars[0].aval.shape),
}
