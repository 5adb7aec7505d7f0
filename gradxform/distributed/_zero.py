"""ZeRO-1: what is kept once for all copies of the parameters is split among them."""

from __future__ import annotations

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
    """A leaf's specification, split further along `axis`, as ZeRO-1 keeps the state of that leaf.

    The first dimension that the axis divides is split: one that is whole if there is one, else one that is split already. Where none
    fits, or the leaf is split along the axis already, it is as it was.
    """
    entries = [*spec, *[None] * (len(shape) - len(spec))]
    more = tuple(name for name in names_of(axis) if name not in axes_in(spec))
    for whole in (True, False):
        for i, (entry, n) in enumerate(zip(entries, shape, strict=True)):
            split = (*names_of(entry), *more)
            if more and n and (not names_of(entry)) == whole and n % ways(split, mesh.shape) == 0:
                entries[i] = split[0] if len(split) == 1 else split
                return PartitionSpec(*entries[: max(i + 1, len(spec))])
    return spec


def check_axes(owner: str, argument: str, axis: AxisNames, mesh: AnyMesh) -> None:
    """Refuses an axis that the mesh lacks."""
    for name in names_of(axis):
        if name not in mesh.shape:
            has = ", ".join(f"{known!r} of {size}" for known, size in mesh.shape.items())
            raise StructureError(
                f"{owner}: `{argument}` names the axis {name!r}, and the mesh has {has or 'none'}. Name one of those."
            )
