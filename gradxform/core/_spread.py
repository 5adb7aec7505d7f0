"""The engine `spread`: whole matrices are dealt out over the devices of a mesh; everything else is done where the leaf lives.

A kernel says which part of it needs whole matrices: `u = c.whole(f, m, ...)`. On other engines that is f(m, ...). Here the kernels of all
leaves run until they ask; what they ask for is stacked, travels once to the devices that `_allotment` chooses, is computed there, and
travels back once (`_travel`); then the kernels run again, and are told. XLA removes what they have computed twice.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, AxisType

from gradxform._errors import HyperparameterError
from gradxform._numerics import parts
from gradxform._types import Array, Tree
from gradxform.core._travel import Asked, Batch, Form, Function, Road, Spread, computed, types_of

if TYPE_CHECKING:
    from gradxform.core._engine import Program, Row, Shape


_HEARD: ContextVar[list[Asked] | None] = ContextVar("heard", default=None)


@contextlib.contextmanager
def heard() -> Iterator[list[Asked]]:
    """Collects what is asked for meanwhile: each question is answered by the matrix itself, and nothing travels."""
    asked: list[Asked] = []
    token = _HEARD.set(asked)
    try:
        yield asked
    finally:
        _HEARD.reset(token)


class Told:
    """`c.whole` of one leaf on this engine: the answers that are there, and then the question."""

    def __init__(self, answers: Sequence[Array]):
        self.left = iter(answers)

    def __call__(self, f: Function, x: Array | tuple[Array, ...], *args: Tree) -> Array:
        for answer in self.left:
            return answer
        raise Asked(f, tuple(x) if isinstance(x, (tuple, list)) else (x,), args)


def in_spread(programs: Sequence[Program], shape: Shape, rows: Sequence[Row], tail: Row) -> list[Row]:
    """One call for all leaves; `programs` has that of each."""
    if not rows:
        return []
    first = next((one for one in programs if not one.is_constant), programs[0])  # where a function of the user's is in one of them
    assert first.spread is not None
    leaves = [functools.partial(one.leaf, shape) for one in programs]
    run = functools.partial(_run, leaves, first.spread)
    if _HEARD.get() is not None:  # as it is: what is compiled is kept for real updates
        return run(rows, tail)
    return first.made(("spread", tuple(programs)), shape, run)(rows, tail)


def _run(leaves: Sequence[Callable[..., Row]], spread: Spread, rows: Sequence[Row], tail: Row) -> list[Row]:
    answers: list[list[Array]] = [[] for _ in rows]

    def at(i: int) -> Row | Asked:
        try:
            return leaves[i](*rows[i], *tail, whole=Told(answers[i]))
        except Asked as asked:
            return asked

    while True:
        out = [at(i) for i in range(len(rows))]
        asking = [i for i, x in enumerate(out) if isinstance(x, Asked)]
        if not asking:
            return out  # type: ignore[return-value]
        for i, answer in zip(asking, whole([out[i] for i in asking], spread), strict=True):  # type: ignore[misc]
            answers[i].append(answer)


def whole(asked: Sequence[Asked], spread: Spread) -> list[Array]:
    """The answers to what was asked, all of them together, each where the first of its matrices lives."""
    if (listening := _HEARD.get()) is not None:
        listening += asked
        return [one.matrices[0] for one in asked]
    mesh = _mesh([x for one in asked for x in one.matrices], spread)
    explicit = tuple(a for a, t in types_of(mesh).items() if t == AxisType.Explicit)
    for one in asked:
        forms = [_form(x, mesh, spread) for x in one.matrices for _ in parts(x)]
        known = all(form.rows is not None for form in forms)
        one.forms = tuple(form if known else form._replace(rows=None, columns=()) for form in forms)
    compute = functools.partial(_answers, asked, None if explicit else mesh, spread)
    matrices, arrays = [one.matrices for one in asked], [one.arrays for one in asked]
    with jax.named_scope("spread"):
        if not explicit:
            return compute(matrices, arrays)
        there = [jax.typeof(one.matrices[0]).sharding for one in asked]
        return jax.sharding.auto_axes(compute, axes=explicit, out_sharding=there)(matrices, arrays)  # type: ignore[call-arg]


def _form(x: Array, mesh: AbstractMesh, spread: Spread) -> Form:
    """How a matrix is cut: as its type says, if that says all, and else not known."""
    sizes = tuple((a, mesh.shape[a]) for a in spread.axes[::-1])
    form = Form((x.shape[-2], x.shape[-1]), sizes)
    if any(types_of(mesh)[a] != AxisType.Explicit for a in spread.axes):
        return form
    *batch, rows, columns = (
        () if a is None else (a,) if isinstance(a, str) else tuple(a)
        for a in (*jax.typeof(x).sharding.spec, *[None] * x.ndim)[: x.ndim]
    )
    rows += tuple(a for a in spread.axes if a not in rows + columns)
    known = form._replace(rows=rows, columns=columns)
    if any(batch) or set(rows + columns) != set(spread.axes):
        return form
    full = math.prod(known.part) * known.lead[0] == math.prod(known.shape)
    return known if full else form


def _mesh(xs: Sequence[Array], spread: Spread) -> AbstractMesh:
    """The mesh on which the leaves are, or in whose context they are updated."""
    meshes = [*(jax.typeof(x).sharding.mesh for x in xs), jax.sharding.get_abstract_mesh()]
    found = [mesh for mesh in meshes if not mesh.empty]
    if not found:
        raise HyperparameterError(
            f"{spread.owner}: `spread` deals out matrices over the axes {spread.axes} of a mesh, but there is none here: the leaves are "
            "not sharded over one. Put the parameters on it, `jax.device_put(params, NamedSharding(mesh, ...))`, or update under "
            "`jax.set_mesh(mesh)`. On one device leave `spread` out."
        )
    mesh = next((mesh for mesh in found if set(spread.axes) <= set(mesh.axis_names)), None)
    if mesh is None:
        raise HyperparameterError(
            f"{spread.owner}: `spread` names {', '.join(map(repr, spread.axes))}, but the axes of the mesh are "
            f"{', '.join(map(repr, found[0].axis_names))}."
        )
    if manual := [a for a in spread.axes if types_of(mesh)[a] == AxisType.Manual]:
        raise HyperparameterError(
            f"{spread.owner}: `spread` names {manual[0]!r}, but inside `shard_map` or `pmap` over that axis a device has its own part of "
            "each leaf and knows nothing of the others. Update outside of it, or leave this axis out of its `axis_names`."
        )
    return mesh


def _answers(
    asked: Sequence[Asked], mesh: AbstractMesh | None, spread: Spread, matrices: Sequence[Sequence[Array]],
    arrays: Sequence[Sequence[Array]],
) -> list[Array]:  # fmt: skip
    """The answers, where no axis of the mesh is explicit; kind by kind, and those of one dtype on one road."""
    mesh = jax.sharding.get_abstract_mesh() if mesh is None else mesh
    found: dict[int, Array] = {}
    roads: dict[tuple[np.dtype, bool], dict[Hashable, list[int]]] = {}
    for i, one in enumerate(asked):
        roads.setdefault((one.dtype, one.forms[0].rows is not None), {}).setdefault(one.kind, []).append(i)
    flat = lambda x: x.reshape(-1, *x.shape[-2:])
    for (dtype, is_known), kinds in roads.items():
        batches = []
        for members in kinds.values():
            pieces = [[flat(part) for x in matrices[i] for part in parts(x)] for i in members]
            beside = [jnp.stack(xs) for xs in zip(*(arrays[i] for i in members), strict=True)]
            stacks = [jnp.concatenate(xs) for xs in zip(*pieces, strict=True)]
            batches.append(Batch([asked[i] for i in members], stacks, beside))
        for members, results in zip(kinds.values(), computed(Road(mesh, spread, dtype, is_known), batches), strict=True):
            starts = np.cumsum([0, *(asked[i].batch for i in members)])
            for i, start in zip(members, starts, strict=False):
                own = [x[start : start + asked[i].batch].reshape(asked[i].matrices[0].shape) for x in results]
                found[i] = jax.lax.complex(*own) if len(own) > 1 else own[0]
    return [found[i] for i in range(len(asked))]
