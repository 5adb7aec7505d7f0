"""What is asked of `plan`, and the answer."""

from __future__ import annotations

import collections
import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import jax
from jax.sharding import PartitionSpec

from gradxform._errors import UnknownNameError
from gradxform._types import OptState, Params, Tree
from gradxform.core import GradientTransformation
from gradxform.core._holes import with_path
from gradxform.distributed._derived import Derivation
from gradxform.distributed._zero import is_left_whole, zero_spec
from gradxform.planning._collectives import Key, Leaf, of_leaf, timed
from gradxform.planning._dealt_state import dealt_leaves
from gradxform.planning._hardware import Hardware
from gradxform.planning._mesh import Axes, placed, split_of
from gradxform.planning._products import size
from gradxform.planning._record import EXPLICIT, HOLDS, Plan, StateField
from gradxform.planning._update import update_work
from gradxform.surgery._summary import Visited, abstract, visits


@dataclasses.dataclass(frozen=True)
class Asked:
    """The arguments of `plan`, read.

    Attributes:
      tx: the optimizer.
      params: the parameters, or shapes.
      axes: of the mesh.
      shardings: of the parameters, where they are given.
      zero: the axes over which the state is split further.
      hardware: of each device.
      gathers: how often a parameter is gathered.
    """

    tx: GradientTransformation
    params: Params
    axes: Axes
    shardings: Tree | None
    zero: tuple[str, ...]
    hardware: Hardware
    gathers: int

    def plan(self) -> Plan:
        """The answer, without advice."""
        axes, visited = self.axes, list(visits(self.tx, self.state, abstract(self.params)))
        leaves = self._changed(visited) if self.zero else self.leaves
        by_path = lambda leaves: {leaf.path: leaf for leaf in leaves}
        work, assignments = update_work(visited, by_path(leaves), by_path(self.leaves), axes, self.zero)
        moved: collections.Counter[Key] = collections.Counter()
        needed = [one for leaf in leaves for one in of_leaf(leaf, axes, self.gathers)]
        for (part, kind, names), nbytes in [*needed, *((("update", *key), nbytes) for key, nbytes in work.moved.items())]:
            moved[part, kind, tuple(a for a in axes.sizes if a in names)] += nbytes
        if self.zero:  # where it is split further, types say
            assignments = [dataclasses.replace(one, holds=max(one.holds, EXPLICIT, key=HOLDS.index)) for one in assignments]
        changed = sum(leaf.bytes(leaf.state_split, axes) for leaf in leaves)
        fields = tuple(field for one in visited for field in self._fields(one))
        parameter_bytes = sum(leaf.bytes(leaf.split, axes) for leaf in leaves)
        return Plan(
            mesh=axes.sizes,
            hardware=self.hardware,
            parameters=sum(math.prod(leaf.shape) for leaf in leaves),
            parameter_bytes=parameter_bytes,
            gradient_bytes=parameter_bytes,
            fields=fields,
            zero=self.zero,
            idle=self._idle,
            whole=tuple((path, self.nbytes(x)) for path, x in with_path(self.placed) if self.zero and self._is_whole(x)),
            collectives=tuple(timed(key, n, axes, self.hardware) for key, n in moved.items() if axes.count(key[2]) > 1),
            assignments=tuple(assignments),
            flops=dict(work.flops),
            traffic_bytes=3 * changed + 2 * sum(field.bytes for field in fields),
        )

    def _changed(self, visited: Sequence[Visited]) -> Sequence[Leaf]:
        """The leaves as a step changes them: one without state is changed where it is, on all devices alike, and so is one to which its
        update comes back from where its matrices have been dealt out with their state.
        """
        kept = {path for one in visited for path in one.kept() - dealt_leaves(one)}
        return [leaf if leaf.path in kept else dataclasses.replace(leaf, state_split=leaf.split) for leaf in self.leaves]

    @functools.cached_property
    def bytes(self) -> int:
        """Of parameters, gradients and state."""
        own = sum(leaf.bytes(leaf.split, self.axes) for leaf in self.leaves)
        return 2 * own + sum(map(self.nbytes, jax.tree.leaves(self.state)))

    @functools.cached_property
    def placed(self) -> Params:
        """The parameters as shapes with shardings on the mesh."""
        for name in self.zero:
            if name not in self.axes.sizes:
                raise UnknownNameError(f"plan: `zero` is {name!r}, but the mesh has the axes {', '.join(self.axes.sizes)}.")
        return placed(abstract(self.params), self._own if self.shardings is None else self.shardings, self.axes)

    @property
    def _idle(self) -> tuple[str, ...]:
        """Axes of more than one device that are there to split parameters, and split none."""
        used = {a for leaf in self.leaves for one in leaf.split for a in one}
        return tuple(a for a, role in self.axes.roles.items() if role != "data" and a not in used and self.axes.sizes[a] > 1)

    @property
    def _own(self) -> Tree:
        """The specs of the parameters' own shardings; a leaf without one is whole everywhere."""
        return jax.tree.map(lambda x: getattr(getattr(x, "sharding", None), "spec", None) or PartitionSpec(), self.params)

    def _is_whole(self, x: Any) -> bool:
        return is_left_whole(x.sharding.spec, x.shape, self.axes.mesh, self.zero)

    @functools.cached_property
    def leaves(self) -> tuple[Leaf, ...]:
        def leaf(path: str, x: Any) -> Leaf:
            spec = x.sharding.spec
            state = zero_spec(spec, x.shape, self.axes.mesh, self.zero) if self.zero else spec
            return Leaf(path, x.shape, x.dtype.itemsize, split_of(spec, len(x.shape)), split_of(state, len(x.shape)))

        return tuple(leaf(path, x) for path, x in with_path(self.placed))

    @functools.cached_property
    def state(self) -> OptState:
        """The state as shapes with shardings."""
        leaves, treedef = jax.tree.flatten(self.placed)
        specs = [PartitionSpec(*(one or None for one in leaf.state_split)) for leaf in self.leaves]
        derivation = Derivation(self.axes.mesh, self.zero or None)
        return derivation.state(self.tx, treedef.unflatten(map(derivation.split, leaves, specs)))

    def _fields(self, one: Visited) -> Iterator[StateField]:
        for field in one.fields(self.nbytes):
            title = ": ".join((*one.labels, one.title.partition("(")[0]))
            yield StateField(title, field.name, field.stored, field.bytes)

    def nbytes(self, x: Any) -> int:
        """Of an array on one device."""
        return size(x.shape, split_of(getattr(x.sharding, "spec", None), len(x.shape)), self.axes.sizes) * x.dtype.itemsize
