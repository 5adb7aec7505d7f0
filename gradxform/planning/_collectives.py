"""Collectives: what travels in a step for the gradients and for the parameters, and how long that takes at least.

Bytes are those of a collective's result on one device, as they stand in a compiled program.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

from gradxform._types import Shape
from gradxform.planning._hardware import Hardware
from gradxform.planning._mesh import Axes
from gradxform.planning._products import Split, size

Key = tuple[str, str, tuple[str, ...]]
"""What a collective is for, its kind, and the axes of the mesh along which it runs."""


@dataclasses.dataclass(frozen=True)
class Collective:
    """All collectives of one kind, along the same axes of the mesh, for the same purpose.

    Attributes:
      part: what they are for: "gradients", "parameters" (gathered where they are used), "new parameters" (gathered after the step),
        "update" (within an update that computes across a leaf).
      kind: as XLA calls it.
      axes: of the mesh.
      bytes: of the results on one device, in one step.
      seconds: that the slower of the links needs at least.
      link: which that is: "links within a node" or "links between nodes".
    """

    part: str
    kind: str
    axes: tuple[str, ...]
    bytes: int
    seconds: float
    link: str


@dataclasses.dataclass(frozen=True)
class Leaf:
    """A parameter.

    Attributes:
      path: where it stands.
      shape: of the whole.
      itemsize: bytes of a number, of its gradient too.
      split: of the parameter.
      state_split: of what the step changes of it on one device: the state that is like it, its own where there is none.
    """

    path: str
    shape: Shape
    itemsize: int
    split: Split
    state_split: Split

    def bytes(self, split: Split, axes: Axes) -> int:
        return size(self.shape, split, axes.sizes) * self.itemsize


def _without(split: Split, names: Iterable[str]) -> Split:
    gone = set(names)
    return tuple(tuple(a for a in one if a not in gone) for one in split)


def of_leaf(leaf: Leaf, axes: Axes, gathers: int) -> Iterator[tuple[Key, int]]:
    """What travels for a leaf: the gradient's sum, the parameter where it is used, and the new parameter."""
    batch = axes.batch(leaf.split)
    own = [a for one in leaf.split for a in one if a in batch]
    if own:
        yield ("parameters", "all-gather", tuple(own)), gathers * leaf.bytes(_without(leaf.split, own), axes)
    yield from _sum(leaf, axes, batch)
    more = [a for one in leaf.state_split for a in one if not any(a in o for o in leaf.split)]
    if more:
        yield ("new parameters", "all-gather", tuple(more)), leaf.bytes(leaf.split, axes)


def _sum(leaf: Leaf, axes: Axes, batch: Sequence[str]) -> Iterator[tuple[Key, int]]:
    """A gradient's sum over the batch: reduced and scattered in one where the batch's axes split one axis of the leaf.

    XLA has no such collective for several: it reduces the whole, and each device keeps its part.
    """
    scattered = [tuple(a for a in one if a in batch) for one in leaf.state_split]
    scattered = [one for one in scattered if one]
    inside = [a for one in scattered for a in one]
    rest = [a for a in batch if a not in inside]
    if len(scattered) > 1:
        yield ("gradients", "all-reduce", tuple(batch)), leaf.bytes(_without(leaf.state_split, inside), axes)
        return
    part = leaf.bytes(leaf.state_split, axes)
    if inside:
        yield ("gradients", "reduce-scatter", tuple(inside)), part
    if rest:
        yield ("gradients", "all-reduce", tuple(rest)), part


def timed(key: Key, nbytes: int, axes: Axes, hardware: Hardware) -> Collective:
    """A collective with the time that it takes at least: each device sends what it must, through all of its node's links at once."""
    part, kind, names = key
    n, m = axes.count(names), axes.neighbours(names, hardware.node)
    whole = nbytes * n if kind == "reduce-scatter" else 2 * nbytes if kind == "all-reduce" else nbytes
    sent = whole * (n - 1) / n
    across = whole * (1 - m / n) / (1 if kind == "all-to-all" else m)  # what all of a node's devices want is sent there once
    within, between = (sent - across) / hardware.within, across / hardware.between
    link = "links between nodes" if between > within else "links within a node"
    return Collective(part, kind, names, nbytes, max(within, between), link)
