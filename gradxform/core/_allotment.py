"""Who gets which matrix: arithmetic on shapes and a number of devices, without arrays.

Of K matrices of one kind on n devices each device gets `K // n`. What is left over of all kinds, less than n of each, is dealt out by
cost, the dearest first, each to the device that has least to do. Devices with equal shares form a group; each sends and receives as
much as the largest share, so that the smaller ones are padded.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import heapq
import math
from collections.abc import Sequence
from typing import NamedTuple

Matrix = tuple[int, int]
"""Rows and columns."""


class Kind(NamedTuple):
    """Matrices of one shape that are worked on alike: how many there are, what travels there of each, and what travels back.

    A matrix may come with others: a factor with the basis that it is to refresh.
    """

    number: int
    there: tuple[Matrix, ...]
    back: tuple[Matrix, ...]

    @property
    def cost(self) -> int:
        """What it takes to work on one, up to a factor: the products of a matrix function."""
        return sum(min(shape) ** 2 * max(shape) for shape in self.there)


class Group(NamedTuple):
    """So many devices, each of which gets these numbers of matrices of each kind beside what every device gets."""

    devices: int
    takes: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Allotment:
    """What each device gets.

    Attributes:
      kinds: what there is.
      devices: on how many devices.
      every: of each kind, how many matrices every device gets.
      groups: who gets what is left over, in the order of the devices.
    """

    kinds: tuple[Kind, ...]
    devices: int
    every: tuple[int, ...]
    groups: tuple[Group, ...]

    def share(self, matrices: Sequence[Matrix]) -> int:
        """The elements of some matrices, of each of which every device holds one part: rows and columns are cut in as many parts as
        there are devices, since they may be sharded by either, and the last parts are padded.
        """
        return sum(math.prod(-(-side // self.devices) for side in shape) for shape in matrices)

    def padded(self, way: str) -> int:
        """`share` of the largest of the groups' shares: `way` is "there" or "back"."""
        sizes = [self.share(getattr(kind, way)) for kind in self.kinds]
        return max((sum(k * size for k, size in zip(group.takes, sizes, strict=True)) for group in self.groups), default=0)

    def elements(self, way: str) -> int:
        """How many numbers each device receives on the way there, or back, padding included."""
        whole = (q * sum(map(math.prod, getattr(kind, way))) for q, kind in zip(self.every, self.kinds, strict=True))
        return sum(whole) + self.devices**2 * self.padded(way)

    @property
    def travelling(self) -> int:
        """How many numbers each device receives in a step, padding included."""
        return self.elements("there") + self.elements("back")

    @property
    def padding(self) -> int:
        """How many of them, on all devices together, are padding."""
        real = sum(kind.number * sum(map(math.prod, (*kind.there, *kind.back))) for kind in self.kinds)
        return self.devices * self.travelling - real

    @functools.cached_property
    def costs(self) -> tuple[float, ...]:
        """The part of all work that a device of each group has; 1 / devices would be even."""
        total = sum(kind.number * kind.cost for kind in self.kinds)
        has = lambda group: sum((q + k) * kind.cost for q, k, kind in zip(self.every, group.takes, self.kinds, strict=True))
        return tuple(has(group) / total if total else 0.0 for group in self.groups)

    @property
    def busy(self) -> float:
        """The part of the time that devices work on average until the one with most to do is ready."""
        return 1 / (self.devices * max(self.costs)) if any(self.costs) else 1.0


def allot(kinds: Sequence[Kind], devices: int) -> Allotment:
    """Deal out matrices to devices."""
    every = tuple(kind.number // devices for kind in kinds)
    left = [kind.number % devices for kind in kinds]
    takes = [[0] * len(kinds) for _ in range(devices)]
    idle = [(0, i) for i in range(devices)]
    for i in sorted(range(len(kinds)), key=lambda i: -kinds[i].cost):
        for _ in range(left[i]):
            load, device = heapq.heappop(idle)
            takes[device][i] += 1
            heapq.heappush(idle, (load + kinds[i].cost, device))
    alike = collections.Counter(map(tuple, takes))
    return Allotment(tuple(kinds), devices, every, tuple(Group(n, t) for t, n in alike.items()))


def of_shapes(shapes: Sequence[Matrix], devices: int) -> Allotment:
    """The allotment of matrices that are sent and come back as they are."""
    counted = collections.Counter((rows, columns) for rows, columns in shapes)
    return allot([Kind(n, (shape,), (shape,)) for shape, n in counted.items()], devices)
