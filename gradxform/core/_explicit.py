"""Meshes with explicit axes, where JAX's type of an array says how it is split.

JAX refuses to compute with arrays that are split differently, and to multiply along axes that are split. So what an update reads is
brought to where the state is, which ZeRO-1 splits further, and the updates go back to where the gradients came from. And what looks across
a leaf is computed as on a mesh with automatic axes: XLA finds out how its steps are split, types say how its results are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from gradxform._types import Tree

T = TypeVar("T")
Place = NamedSharding | None
"""How an array is split along explicit axes; None: that is not known, or not to be changed."""


def place_of(x: Tree) -> Place:
    """How an array is split, if its mesh has explicit axes."""
    where = jax.typeof(x).sharding if isinstance(x, jax.Array) else None
    return where if where is not None and AxisType.Explicit in where.mesh.axis_types else None


def place_beside(x: Tree, entries: Tree) -> Place:
    """How the first array of its shape in the entries is split, if that is on its mesh and otherwise than it."""
    own = place_of(x)
    if own is None or not np.ndim(x):
        return None
    found = (place_of(y) for y in jax.tree.leaves(entries) if np.shape(y) == np.shape(x))
    there = next((place for place in found if place is not None), own)
    return there if there.mesh == own.mesh and there.spec != own.spec else None


def at(place: Place, x: T, like: Tree) -> T:
    """The same, with its arrays of that shape split so, if they are on that mesh."""

    def moved(y: Tree) -> Tree:
        own = place_of(y)
        is_there = place is None or own is None or own.mesh != place.mesh or own.spec == place.spec or np.shape(y) != np.shape(like)
        return y if is_there else jax.sharding.reshard(y, place)

    return x if place is None else jax.tree.map(moved, x)


def at_all(places: Sequence[Place], xs: Sequence[T], like: Sequence[Tree]) -> list[T]:
    return [at(*row) for row in zip(places, xs, like, strict=True)]


def as_split(new: Tree, old: Tree) -> Tree:
    """A tree, split as an old one of the same structure is."""
    if not any(place_of(x) for x in jax.tree.leaves(old)) or jax.tree.structure(new) != jax.tree.structure(old):
        return new
    return jax.tree.map(lambda n, o: at(place_of(o), n, o), new, old)


def found_by_xla(f: Callable[..., T], args: Sequence[Tree], like: Callable[[], Any], of_whole: bool = False) -> T:
    """f(*args), whose results are split as the arrays of `like` are, but inside as XLA finds best; `of_whole`: also if no argument is."""
    meshes = [where.mesh for x in jax.tree.leaves(args) if (where := place_of(x)) is not None and (of_whole or any(where.spec))]
    if not meshes:
        return f(*args)
    mesh = meshes[0]
    explicit = tuple(a for a, t in zip(mesh.axis_names, mesh.axis_types, strict=True) if t == AxisType.Explicit)
    whole = NamedSharding(mesh, PartitionSpec())
    there = jax.tree.map(lambda x: place_of(x) or whole, like())
    return jax.sharding.auto_axes(f, axes=explicit, out_sharding=there)(*args)  # type: ignore[call-arg]
