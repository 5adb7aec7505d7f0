"""What it costs to deal out whole matrices over devices: the products of the device with most to do, and what travels."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import jax
from jax.sharding import AbstractMesh, AxisType

from gradxform.core._allotment import Allotment, allot
from gradxform.core._road import Road, Spread
from gradxform.core._spread import cut
from gradxform.core._travel import Asked
from gradxform.distributed._derived import spec_of
from gradxform.planning._mesh import Axes, split_of
from gradxform.planning._products import Work, size, whole, work_of
from gradxform.planning._record import ANY, EXPLICIT, HOLDS, LEAST, Assignment


class Question(NamedTuple):
    """What a kernel asks for whole, and how many leaves ask for it."""

    asked: Asked
    times: int


def dealt(questions: Sequence[Question], spread: Spread, axes: Axes) -> tuple[Work, list[Assignment]]:
    """The work on whole matrices, and who gets which."""
    _cut([one.asked for one in questions], spread, axes)
    total, assignments = Work(), []
    roads: dict[Road, dict[Hashable, list[Question]]] = {}
    for one in questions:
        kinds = roads.setdefault(one.asked.road(axes.mesh, spread), {})
        kinds.setdefault(one.asked.kind, []).append(one)
    for road, kinds in roads.items():
        work, assignment = _on_road(road, list(kinds.values()), axes)
        total.add(work)
        at_home = Work()
        for one in (one for some in kinds.values() for one in some):
            at_home.add(_gathered_at_home(one.asked, road, axes), one.times)
        total.add(at_home)
        is_plain = not at_home.moved and _in_one(road, [some[0].asked for some in kinds.values()], axes)
        assignments.append(
            assignment if is_plain else dataclasses.replace(assignment, holds=max(assignment.holds, EXPLICIT, key=HOLDS.index))
        )
    return total, assignments


def _in_one(road: Road, asked: Sequence[Asked], axes: Axes) -> bool:
    """Whether XLA crosses the axes in one if it is not told how matrices are split: those of one shape in one way, of axes that split
    one side the largest first, and of axes of one size in the order in which they are crossed.
    """
    shapes = [one.forms[0].shape for one in asked]
    if len(set(shapes)) < len(shapes) or (road.others is None and road.home is None):
        return False
    sizes, order = axes.sizes, {a: i for i, a in enumerate(road.spread.axes)}
    for form in (one.forms[0] for one in asked):
        sides = [[a for a in side if a in order] for side in (form.rows or (), form.columns)]
        largest_first = all(sizes[a] >= sizes[b] for side in sides for a, b in itertools.pairwise(side))
        pairs = itertools.combinations([a for side in sides for a in side], 2)
        if not largest_first or any(sizes[a] == sizes[b] and order[a] > order[b] for a, b in pairs):
            return False
    return True


def _cut(asked: Sequence[Asked], spread: Spread, axes: Axes) -> None:
    """Cuts the matrices as the engine does: of those whose types do not say what splits them it knows as little as on an automatic mesh."""
    is_typed = lambda one: not jax.typeof(one.matrices[0]).sharding.mesh.empty
    cut([one for one in asked if is_typed(one)], axes.mesh, spread)
    automatic = AbstractMesh(tuple(axes.sizes.values()), tuple(axes.sizes), axis_types=(AxisType.Auto,) * len(axes.sizes))
    cut([one for one in asked if not is_typed(one)], automatic, spread)


def _on_road(road: Road, kinds: Sequence[Sequence[Question]], axes: Axes) -> tuple[Work, Assignment]:
    """The products of the device with most to do; parts travel there and back, and are brought together where they arrive."""
    first, spread = [questions[0].asked for questions in kinds], road.spread
    numbers = [sum(one.times * one.asked.batch for one in questions) for questions in kinds]
    allotment = allot([one.counted(n) for one, n in zip(first, numbers, strict=True)], road.devices)
    work = Work()
    most = allotment.groups[allotment.costs.index(max(allotment.costs))]
    for q, k, one in zip(allotment.every, most.takes, first, strict=True):
        work.add(_of_one(one), q + k)
    travelling, padding, holds = _travels(road, allotment, axes, work)
    shapes = list(dict.fromkeys(kind.there[0] for kind in allotment.kinds))  # one that is split in two ways is of two kinds
    by_shape = lambda counts: [
        sum(n for n, kind in zip(counts, allotment.kinds, strict=True) if kind.there[0] == s) for s in shapes
    ]
    gets = lambda group: tuple(by_shape([q + k for q, k in zip(allotment.every, group.takes, strict=True)]))
    numbers = by_shape([kind.number for kind in allotment.kinds])
    assignment = Assignment(
        stage=spread.owner,
        axes=road.axes,
        matrices=tuple((*shape, n) for shape, n in zip(shapes, numbers, strict=True)),
        groups=tuple((g.devices, gets(g), share) for g, share in zip(allotment.groups, allotment.costs, strict=True)),
        others=_others(road),
        busy=allotment.busy,
        bytes=travelling,
        padded_bytes=padding // allotment.devices,
        stacks=_stacks(road),
        holds=holds,
    )
    return work, assignment


def _stacks(road: Road) -> tuple[str, ...]:
    """The axes that split the axis which counts matrices."""
    return split_of(road.home, 1)[0]


def _others(road: Road) -> tuple[str, ...]:
    """The axes that split matrices, and are not crossed."""
    inside = (a for axes in split_of(road.home, 3)[1:] for a in axes if a not in road.axes)
    return tuple(inside) if road.others is None else road.others


def _travels(road: Road, allotment: Allotment, axes: Axes, work: Work) -> tuple[int, int, str]:
    """The bytes that a device receives there and back, on all of them the padding, and where that holds; `work` gets what travels.

    XLA gathers a stack that is split only where it counts matrices, if the mesh is automatic and the engine does not know it.
    """
    (stacks, *inside), others, itemsize = split_of(road.home, 3), _others(road), road.wire.itemsize
    crossed = tuple(a for a in road.spread.axes if a not in stacks)
    kind = ("all-to-all", crossed)
    travelling, padding = (n * itemsize // axes.count(others) for n in (allotment.travelling, allotment.padding))
    is_gathered = stacks == road.axes and not any(inside) and bool(axes.automatic.intersection(road.spread.axes))
    if is_gathered:
        steps = range(len(stacks)) if len(road.spread.axes) > 1 else [0]  # one axis after another, the last first
        kind, travelling = ("all-gather", stacks), travelling * sum(axes.count(stacks[i:]) for i in steps)
    travelling *= bool(kind[1])
    work.moved[kind] += travelling
    if others:
        work.moved["all-gather", others] += allotment.elements("there") * itemsize
    unknown = road.others is None and road.home is None
    holds = LEAST if unknown else EXPLICIT if others or (stacks and not is_gathered) else ANY
    return travelling, padding, holds


def _gathered_at_home(one: Asked, road: Road, axes: Axes) -> Work:
    """What is cut further for its way than it is split where it lives is gathered when it is back."""
    form, x = one.forms[0], one.matrices[0]
    split, found = split_of(spec_of(jax.typeof(x)), x.ndim), Work()
    if more := tuple(a for a in (*(form.rows or ()), *form.columns) if not any(a in own for own in split)):
        found.moved["all-gather", more] += size(x.shape, split, axes.sizes) * road.wire.itemsize
    return found


def _of_one(one: Asked) -> Work:
    """The products for one matrix, on the device that has it."""
    shaped = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype)
    pieces = [jax.ShapeDtypeStruct(form.shape, one.dtype) for form in one.forms]
    jaxpr = jax.make_jaxpr(one.call)(pieces, list(map(shaped, one.arrays)))
    return work_of(jaxpr, [whole(v.aval.shape) for v in jaxpr.jaxpr.invars], {})
