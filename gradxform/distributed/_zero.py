"""ZeRO-1: what is kept once for all copies of the parameters is split among them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

from jax.sharding import AbstractMesh, Mesh, PartitionSpec

from gradxform._errors import StructureError
from gradxform._types import Shape

AxisNames = str | tuple[str, ...]
"""The name of one axis of a mesh, or of several."""
AnyMesh = Mesh | AbstractMesh


def names_of(entry: AxisNames | None) -> tuple[str, ...]:
    """The axes of the mesh that one axis of an array is split along."""
    return () if entry is None else (entry,) if isinstance(entry, str) else tuple(entry)


def axes_in(spec: PartitionSpec) -> set[str]:
    """All axes of the mesh that an array is split along."""
    return {name for entry in spec for name in names_of(entry)}


def ways(entry: AxisNames | None, sizes: Mapping[str, int]) -> int:
    """Into how many parts they split it."""
    return math.prod(sizes[name] for name in names_of(entry))


def zero_spec(spec: PartitionSpec, shape: Shape, mesh: AnyMesh, axis: AxisNames) -> PartitionSpec:
    """A leaf's specification, split further along `axis`, the axes of the batch, as ZeRO-1 keeps the state of that leaf.

    The axes that it lacks split one dimension, since a sum over the batch is reduced and scattered in one collective along one dimension
    only: that which others of these axes split already; else one that is whole; else any. As many of the axes as fit are taken, and the
    first dimension that they divide. Where none fits, or the leaf is split along all of them already, it is as it was.
    """
    entries = [*spec, *[None] * (len(shape) - len(spec))]
    rank = lambda own: 0 if set(own) & set(names_of(axis)) else 2 if own else 1
    order = sorted(range(len(shape)), key=lambda i: rank(names_of(entries[i])))
    for more in _choices(tuple(name for name in names_of(axis) if name not in axes_in(spec)), mesh.shape):
        for i in order:
            split = (*names_of(entries[i]), *more)
            if shape[i] and shape[i] % ways(split, mesh.shape) == 0:
                entries[i] = split[0] if len(split) == 1 else split
                return PartitionSpec(*entries[: max(i + 1, len(spec))])
    return spec


def _choices(names: tuple[str, ...], sizes: Mapping[str, int]) -> list[tuple[str, ...]]:
    """Some of these axes, those first that split the most."""
    found = [some for k in range(len(names), 0, -1) for some in itertools.combinations(names, k)]
    return sorted(found, key=lambda some: -ways(some, sizes))


def is_left_whole(spec: PartitionSpec, shape: Shape, mesh: AnyMesh, axis: AxisNames) -> bool:
    """Whether a leaf is not split further along `axis`, though it is not split along all of it."""
    return bool(set(names_of(axis)) - axes_in(spec)) and zero_spec(spec, shape, mesh, axis) == spec


def check_axes(owner: str, argument: str, axis: AxisNames, mesh: AnyMesh) -> None:
    """Refuses an axis that the mesh lacks."""
    for name in names_of(axis):
        if name not in mesh.shape:
            has = ", ".join(f"{known!r} of {size}" for known, size in mesh.shape.items())
            raise StructureError(
                f"{owner}: `{argument}` names the axis {name!r}, and the mesh has {has or 'none'}. Name one of those."
            )
