"""What the update itself costs: the stages that compute across a leaf, each traced for one leaf of every shape."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from gradxform._errors import UnknownNameError
from gradxform._types import OptState, Tree
from gradxform.core._allotment import Allotment, Kind, allot
from gradxform.core._holes import is_array, with_path
from gradxform.core._spread import heard
from gradxform.core._stage import Stage
from gradxform.core._transformation import Spec
from gradxform.core._travel import Asked, Road, Spread
from gradxform.distributed._derived import Derivation, spec_of
from gradxform.planning._collectives import Leaf
from gradxform.planning._mesh import Axes, split_of
from gradxform.planning._products import Split, Work, whole, work_of
from gradxform.planning._record import Assignment
from gradxform.surgery._summary import Visited


class Stated(NamedTuple):
    """A transformation that is traced, and a tree of parameters for it.

    Attributes:
      tx: a stage, or another library's transformation.
      seen: the tree, as shapes.
      leaves: the parameters by path.
      times: how many such trees there are.
    """

    tx: Any
    seen: Tree
    leaves: Mapping[str, Leaf]
    times: int = 1


def update_work(visited: Iterable[Visited], leaves: Mapping[str, Leaf], axes: Axes) -> tuple[Work, list[Assignment]]:
    """The products and the collectives within an update, and who gets which matrices."""
    total, assignments = Work(), []
    for one in visited:
        asked: list[tuple[Asked, int]] = []
        for stated in _traceable(one, leaves):
            with heard() as questions:
                total.add(_traced(stated, axes), stated.times)
            asked += [(question, stated.times) for question in questions]
        if asked:
            work, found = _dealt(asked, one.tx.update.slot.spread, axes)  # type: ignore[union-attr]
            total.add(work)
            assignments += found
    return total, assignments


def _dealt(asked: Iterable[tuple[Asked, int]], spread: Spread, axes: Axes) -> tuple[Work, list[Assignment]]:
    """The work on whole matrices that are dealt out over devices: that of the device with most to do, and what each receives."""
    if missing := [a for a in spread.axes if a not in axes.sizes]:
        raise UnknownNameError(
            f"plan: {spread.owner} has `spread` {missing[0]!r}, but the mesh has the axes {', '.join(axes.sizes)}."
        )
    work, roads, assignments = Work(), {}, []
    for one, times in asked:
        kinds: dict[Hashable, list[Any]] = roads.setdefault(one.dtype, {})
        kinds.setdefault(one.kind, [one, 0])[1] += times * one.batch
    for dtype, kinds in roads.items():
        road = Road(axes.mesh, spread, dtype, False)
        allotment = allot([_kind(one, n) for one, n in kinds.values()], road.devices)
        each = [_of_one(one) for one, _ in kinds.values()]
        most = allotment.groups[allotment.costs.index(max(allotment.costs))]
        for q, k, flops in zip(allotment.every, most.takes, each, strict=True):
            work.add(flops, q + k)
        if road.devices > 1:
            work.moved["all-to-all", spread.axes] += allotment.travelling * road.wire.itemsize
        assignments.append(_assignment(spread, allotment, road.wire.itemsize))
    return work, assignments


def _assignment(spread: Spread, allotment: Allotment, itemsize: int) -> Assignment:
    shares = zip(allotment.groups, allotment.costs, strict=True)
    gets = lambda group: tuple(q + k for q, k in zip(allotment.every, group.takes, strict=True))
    return Assignment(
        spread.owner,
        spread.axes,
        tuple((*kind.there[0], kind.number) for kind in allotment.kinds),
        tuple((group.devices, gets(group), share) for group, share in shares),
        allotment.busy,
        allotment.travelling * itemsize,
        allotment.padding * itemsize // allotment.devices,
    )


def _kind(one: Asked, number: int) -> Kind:
    shapes = lambda xs: tuple((x.shape[-2], x.shape[-1]) for x in xs for _ in range(2 if jnp.iscomplexobj(x) else 1))
    return Kind(number, shapes(one.matrices), shapes(one.matrices[:1]))


def _of_one(one: Asked) -> Work:
    """The products for one matrix, on the device that has it."""
    pieces = [jax.ShapeDtypeStruct(shape, one.dtype) for shape in _kind(one, 1).there]
    jaxpr = jax.make_jaxpr(one.call)(pieces, [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in one.arrays])
    return work_of(jaxpr, [whole(v.aval.shape) for v in jaxpr.jaxpr.invars], {})


def _traceable(one: Visited, leaves: Mapping[str, Leaf]) -> Iterator[Stated]:
    """A stage for one leaf of each kind, or for all where an argument says what each leaf gets; another library's transformation."""
    spec = getattr(one.tx, "update", None)
    if spec is None or (isinstance(spec, Spec) and not isinstance(spec, Stage)):
        return
    if not isinstance(spec, Stage):
        yield Stated(one.tx, one.seen, leaves)
        return
    kernel = spec.kernel
    if kernel.whole or spec.own_scope == "elementwise" or any(n != "params" and not x.optional for n, x in kernel.needs.items()):
        return
    if any(spec.args[n] is not None and not isinstance(spec.args[n], kind) for n, kind in kernel.leaf_args.items()):
        yield Stated(one.tx, one.seen, leaves)
        return
    seen = [(path, x) for path, x in with_path(one.seen) if is_array(x)]
    groups: dict[tuple[Any, ...], list[tuple[str, Any]]] = {}
    for path, x in seen:
        leaf = leaves.get(path)
        kind = (x.shape, x.dtype, None if leaf is None else (leaf.split, leaf.state_split))
        groups.setdefault(kind, []).append((path, x))
    for group in groups.values():
        path, x = group[0]
        yield Stated(one.tx, {path: x}, leaves, len(group))


def _traced(stated: Stated, axes: Axes) -> Work:
    """The work of an update of a tree."""
    splits = [_split(stated.leaves, path, x) for path, x in with_path(stated.seen)]
    state, state_splits = _state(stated, splits, axes)
    jaxpr = jax.make_jaxpr(stated.tx.update)(stated.seen, state, stated.seen)
    return work_of(jaxpr, [*splits, *state_splits, *splits], axes.sizes)


def _split(leaves: Mapping[str, Leaf], path: str, x: Any) -> Split:
    leaf = leaves.get(path)
    return leaf.state_split if leaf is not None and leaf.shape == x.shape else whole(x.shape)


def _state(stated: Stated, splits: Sequence[Split], axes: Axes) -> tuple[OptState, list[Split]]:
    """A state as shapes, and how its arrays are split: as JAX types it, or not at all where it cannot."""
    leaves, treedef = jax.tree.flatten(stated.seen)
    specs = [PartitionSpec(*(one or None for one in split)) for split in splits]
    derivation = Derivation(axes.mesh, None)
    typed = derivation.state(stated.tx, treedef.unflatten(map(derivation.split, leaves, specs)))
    split = [split_of(spec_of(x), x.ndim) for x in jax.tree.leaves(typed)]
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), typed), split
