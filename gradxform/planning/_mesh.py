"""The mesh: its axes, what each is for, and which devices of a node it brings together."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import jax
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec

from gradxform._errors import StructureError, UnknownNameError
from gradxform._types import Params, Shape, Tree
from gradxform.core._holes import with_path
from gradxform.planning._products import Split

Devices = jax.sharding.Mesh | AbstractMesh | Mapping[str, int]
ROLES = ("data", "fsdp", "tensor", "expert")


@dataclasses.dataclass(frozen=True)
class Axes:
    """The axes of a mesh in its order, the last one through neighbouring devices.

    Attributes:
      sizes: of each by its name.
      roles: what each is for: one of `ROLES`.
      automatic: those of which a mesh says that no type names them; sizes alone say nothing.
    """

    sizes: Mapping[str, int]
    roles: Mapping[str, str]
    automatic: frozenset[str] = frozenset()

    @property
    def devices(self) -> int:
        return math.prod(self.sizes.values())

    def count(self, names: Sequence[str]) -> int:
        """How many devices differ along these axes alone."""
        return math.prod(self.sizes[a] for a in names)

    def neighbours(self, names: Sequence[str], node: int) -> int:
        """How many of those are in one node of so many devices."""
        found, stride = 1, 1
        for name, size in reversed(list(self.sizes.items())):
            if name in names:
                found *= min(size, max(1, node // stride))
            stride *= size
        return found

    def batch(self, split: Split) -> list[str]:
        """The axes over which the batch is split as a leaf sees it: one that is split by experts is not the same for all tokens."""
        own = [a for one in split for a in one]
        return [a for a, role in self.roles.items() if role in ("data", "fsdp") or (role == "expert" and a not in own)]

    @property
    def mesh(self) -> AbstractMesh:
        """The mesh, with axes that are part of an array's type."""
        names = tuple(self.sizes)
        return AbstractMesh(tuple(self.sizes.values()), names, axis_types=(AxisType.Explicit,) * len(names))


def axes_of(mesh: Devices, axes: Mapping[str, str] | None) -> Axes:
    """The axes of a mesh; what one is for is what `axes` says, or else its name."""
    sizes = dict(mesh if isinstance(mesh, Mapping) else mesh.shape)
    if few := [name for name, n in sizes.items() if n < 1]:
        raise StructureError(f"plan: the axis {few[0]!r} of the mesh has {sizes[few[0]]} devices; it needs one at least.")
    given = dict(axes or {})
    if unknown := [name for name in given if name not in sizes]:
        raise UnknownNameError(f"plan: `axes` says what {unknown[0]!r} is for, but the mesh has the axes {', '.join(sizes)}.")
    roles = {name: given.get(name, name) for name in sizes}
    for name, role in roles.items():
        if role not in ROLES:
            raise UnknownNameError(
                f"plan: what is the axis {name!r} of the mesh for? Say so: axes={{{name!r}: ...}}, one of 'data' (the batch is split), "
                "'fsdp' (and parameters too, gathered where they are used), 'tensor' (matrices are split, activations travel), "
                "'expert' (the batch and the experts are split, tokens travel)."
            )
    types = () if isinstance(mesh, Mapping) else zip(mesh.axis_names, mesh.axis_types, strict=True)
    return Axes(sizes, roles, frozenset(name for name, kind in types if kind == AxisType.Auto))


def split_of(spec: PartitionSpec | None, rank: int) -> Split:
    """A `PartitionSpec` with a tuple of names for each axis."""
    entries = [*(spec or ()), *[None] * rank][:rank]
    return tuple(() if x is None else (x,) if isinstance(x, str) else tuple(x) for x in entries)


def placed(params: Params, shardings: Tree | None, axes: Axes) -> Params:
    """Parameters as shapes with shardings on the mesh: those that are given, or else their own; else each is whole everywhere."""
    is_one = lambda x: x is None or isinstance(x, (PartitionSpec, NamedSharding))
    leaves, treedef = jax.tree.flatten(params)
    own = [getattr(x, "sharding", None) for x in leaves]
    if shardings is not None:
        found, theirs = jax.tree.flatten(shardings, is_leaf=is_one)
        if theirs.num_leaves != treedef.num_leaves:
            raise StructureError(
                f"plan: `shardings` has {theirs.num_leaves} leaves, but `params` has {treedef.num_leaves}; give a tree like it."
            )
        own = found
    mesh, names = axes.mesh, [path for path, _ in with_path(params)]
    specs = [x if isinstance(x, PartitionSpec) else getattr(x, "spec", None) or PartitionSpec() for x in own]
    for path, x, spec in zip(names, leaves, specs, strict=True):
        _check(path, x.shape, split_of(spec, len(x.shape)), axes)
    made = [jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(mesh, s)) for x, s in zip(leaves, specs, strict=True)]
    return treedef.unflatten(made)


def _check(path: str, shape: Shape, split: Split, axes: Axes) -> None:
    for n, names in zip(shape, split, strict=True):
        if missing := [a for a in names if a not in axes.sizes]:
            raise StructureError(f"plan: {path} is split over {missing[0]!r}, but the mesh has the axes {', '.join(axes.sizes)}.")
        if n % axes.count(names):
            raise StructureError(
                f"plan: {path} has shape {shape}, and {' x '.join(names)} = {axes.count(names)} does not divide its {n}."
            )
