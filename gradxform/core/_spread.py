"""The engine `spread`: whole matrices are dealt out over the devices of a mesh; everything else is done where the leaf lives.

A kernel says which part of it needs whole matrices: `u = c.whole(f, m, ...)`. On other engines that is f(m, ...). Here what the kernels of
all leaves ask for (`_blocked`) is stacked, travels once to the devices that `_allotment` chooses, is computed there, and travels back once
(`_travel`).
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Hashable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec

from gradxform._errors import HyperparameterError
from gradxform._numerics import parts
from gradxform._types import Array
from gradxform.core._road import Road, Spread, types_of
from gradxform.core._travel import Asked, Batch, Form, computed, real_parts

_HEARD: ContextVar[list[Any] | None] = ContextVar("heard", default=None)


@contextlib.contextmanager
def heard() -> Iterator[list[Any]]:
    """Collects what is asked for meanwhile, and what is dealt out (`_dealt.Deal`): each question is answered by the matrix itself, and
    nothing travels.
    """
    asked: list[Any] = []
    token = _HEARD.set(asked)
    try:
        yield asked
    finally:
        _HEARD.reset(token)


def is_heard() -> bool:
    """Whether what is asked for is collected, so that nothing of it is to be compiled and kept."""
    return _HEARD.get() is not None


def listening() -> list[Any] | None:
    """What is collected, where something is."""
    return _HEARD.get()


def whole(asked: Sequence[Asked], spread: Spread) -> list[Array]:
    """The answers to what was asked, all of them together, each where the first of its matrices lives."""
    if (listening := _HEARD.get()) is not None:
        listening += asked
        return [one.matrices[0] for one in asked]
    mesh = mesh_of([x for one in asked for x in one.matrices], spread)
    explicit = tuple(a for a, t in types_of(mesh).items() if t == AxisType.Explicit)
    cut(asked, mesh, spread)
    matrices, arrays = [one.matrices for one in asked], [one.arrays for one in asked]
    with jax.named_scope("spread"):
        if not explicit:
            return _answers(asked, mesh, spread, None, matrices, arrays)
        there = [jax.typeof(one.matrices[0]).sharding for one in asked]
        compute = functools.partial(_answers, asked, None, spread, [x.spec for x in there])
        return jax.sharding.auto_axes(compute, axes=explicit, out_sharding=there)(matrices, arrays)  # type: ignore[call-arg]


def cut(asked: Sequence[Asked], mesh: AbstractMesh, spread: Spread) -> None:
    """Finds out how the matrices are cut: as their types say, if those of a question say all, and else not known."""
    specs = [_axes_of(x) for one in asked for x in one.matrices]
    sharding = {a for spec in specs for axes in spec for a in axes}
    sizes = tuple((a, mesh.shape[a]) for a in spread.axes)
    others = tuple((a, n) for a, n in mesh.shape.items() if a in sharding and a not in spread.axes)
    can = all(types_of(mesh)[a] == AxisType.Explicit for a in spread.axes)
    for one in asked:
        forms = [_form(x, Form((x.shape[-2], x.shape[-1]), sizes, others)) for x in one.matrices for _ in range(real_parts(x))]
        known = can and all(form.rows is not None for form in forms)
        one.forms = tuple(form if known else form._replace(rows=None, columns=()) for form in forms)
        one.home = _home(one, mesh, spread) if can else None


def _axes_of(x: Array) -> list[tuple[str, ...]]:
    """For each axis of an array the explicit axes of the mesh that shard it."""
    spec = (*jax.typeof(x).sharding.spec, *[None] * x.ndim)[: x.ndim]
    return [() if a is None else (a,) if isinstance(a, str) else tuple(a) for a in spec]


def _form(x: Array, form: Form) -> Form:
    """The form with what shards rows and columns; they are cut further by axes that do not, so that each device has one part."""
    *batch, rows, columns = _axes_of(x)
    rows += tuple(a for a, _ in (*form.sizes, *form.others) if a not in rows + columns)
    known = form._replace(rows=rows, columns=columns)
    full = math.prod(known.part) * math.prod(known.lead) == math.prod(known.shape)
    return known if full and not any(batch) else form


def _home(one: Asked, mesh: AbstractMesh, spread: Spread) -> PartitionSpec | None:
    """That of the stack of a leaf which is split along the axis that counts its matrices, if each device can have as many."""
    (*batch, rows, columns), *others = dict.fromkeys(tuple(_axes_of(x)) for x in one.matrices)
    if others or not batch or not batch[0] or any(batch[1:]):
        return None
    devices = math.prod(mesh.shape[a] for a in {*batch[0], *spread.axes})
    return PartitionSpec(*(axes or None for axes in (batch[0], rows, columns))) if one.batch % devices == 0 else None


def mesh_of(xs: Sequence[Array], spread: Spread) -> AbstractMesh:
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
    asked: Sequence[Asked], mesh: AbstractMesh | None, spread: Spread, homes: Sequence[PartitionSpec] | None,
    matrices: Sequence[Sequence[Array]], arrays: Sequence[Sequence[Array]],
) -> list[Array]:  # fmt: skip
    """The answers, where no axis of the mesh is explicit; kind by kind, and those of one dtype on one road.

    What is gathered at home, if that is known, is gathered as it travels.
    """
    mesh = jax.sharding.get_abstract_mesh() if mesh is None else mesh
    at_home = lambda x, i: x if homes is None else jax.lax.with_sharding_constraint(x, NamedSharding(mesh, homes[i]))
    found: dict[int, Array] = {}
    roads: dict[Road, dict[Hashable, list[int]]] = {}
    for i, one in enumerate(asked):
        road = one.road(mesh, spread)
        by_itself = road.others is None and one.batch % road.devices == 0  # it may be split along the axis that counts its matrices
        roads.setdefault(road, {}).setdefault(i if by_itself else one.kind, []).append(i)
    flat = lambda x: x.reshape(-1, *x.shape[-2:])
    for road, kinds in roads.items():
        batches = []
        for members in kinds.values():
            pieces = [[flat(part) for x in matrices[i] for part in parts(x)] for i in members]
            beside = [jnp.stack(xs) for xs in zip(*(arrays[i] for i in members), strict=True)]
            stacks = [jnp.concatenate(xs) for xs in zip(*pieces, strict=True)]
            batches.append(Batch([asked[i] for i in members], stacks, beside))
        for members, results in zip(kinds.values(), computed(road, batches), strict=True):
            starts = np.cumsum([0, *(asked[i].batch for i in members)])
            for i, start in zip(members, starts, strict=False):
                own = [x[start : start + asked[i].batch].reshape(asked[i].matrices[0].shape) for x in results]
                own = [road.unpacked(at_home(x, i)) for x in own]
                found[i] = jax.lax.complex(*own) if len(own) > 1 else own[0]
    return [found[i] for i in range(len(asked))]
