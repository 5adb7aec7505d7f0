"""The record that `plan` returns."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Mapping

from gradxform.planning._collectives import Collective
from gradxform.planning._hardware import Hardware
from gradxform.planning._report import report

LEFT_OUT = "activations and other temporary arrays; the products of the model itself; how parts of a step overlap"
ANY, EXPLICIT, LEAST = HOLDS = ("any mesh", "explicit axes", "at least")
RESOURCES = ("memory traffic", "products", "links within a node", "links between nodes")


@dataclasses.dataclass(frozen=True)
class StateField:
    """A field of the state of one stage.

    Attributes:
      stage: the transformation that keeps it, with the labels that it stands under.
      name: of the field.
      stored: how its entries are stored: a dtype, or the name of a codec with the dtype of its codes.
      bytes: on one device.
    """

    stage: str
    name: str
    stored: tuple[str, ...]
    bytes: int


@dataclasses.dataclass(frozen=True)
class Assignment:
    """Which devices work on how many matrices of a stage with `spread`.

    Attributes:
      stage: the transformation.
      axes: of the mesh, over whose devices the matrices are dealt out.
      matrices: rows, columns and number of each kind.
      groups: how many devices get the same, of each kind how many, and their share of all work; 1 / devices each would be even.
      others: the other axes of the mesh that split matrices: over these they are brought together where they arrive.
      busy: the part of the time that devices work on average until the one with most to do is ready.
      bytes: that each device receives in a step, there and back.
      padded_bytes: how many of them, on average, are padding.
      stacks: the axes of the mesh that split leaves along the axis which counts their matrices: by these nothing travels.
      holds: where as much travels as is planned: on "any mesh", or on one with "explicit axes"; "at least": more may travel on each.
    """

    stage: str
    axes: tuple[str, ...]
    matrices: tuple[tuple[int, int, int], ...]
    groups: tuple[tuple[int, tuple[int, ...], float], ...]
    others: tuple[str, ...]
    busy: float
    bytes: int
    padded_bytes: int
    stacks: tuple[str, ...] = ()
    holds: str = ANY


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of the time of a step, by itself.

    Attributes:
      name: what is done.
      resource: what it waits for: "memory traffic", "products", "links within a node" or "links between nodes".
      seconds: that it takes at least.
    """

    name: str
    resource: str
    seconds: float


@dataclasses.dataclass(frozen=True)
class Plan:
    """What `plan` finds; all bytes are those of one device. It prints as tables of 80 columns.

    Attributes:
      mesh: the sizes of its axes by name.
      hardware: of each device.
      parameters: how many numbers the parameters are, over all devices.
      parameter_bytes: of the parameters.
      gradient_bytes: of the gradients, each as its parameter is split.
      fields: of the state.
      zero: the axes over which the state is split further.
      idle: the axes for parameters ("fsdp", "tensor", "expert") that split none.
      whole: the paths of leaves that these do not divide, with their bytes; their state stays as it was.
      collectives: what travels.
      assignments: of matrices to devices, of each stage with `spread`.
      flops: operations of products of matrices in the update, by the dtype of their operands.
      traffic_bytes: what the update reads and writes: gradients, parameters and state.
      advice: what to change where it does not fit, in one sentence; "" where it fits.
      left_out: what is not counted.
    """

    mesh: Mapping[str, int]
    hardware: Hardware
    parameters: int
    parameter_bytes: int
    gradient_bytes: int
    fields: tuple[StateField, ...]
    zero: tuple[str, ...]
    idle: tuple[str, ...]
    whole: tuple[tuple[str, int], ...]
    collectives: tuple[Collective, ...]
    assignments: tuple[Assignment, ...]
    flops: Mapping[str, int]
    traffic_bytes: int
    advice: str = ""
    left_out: str = LEFT_OUT

    @property
    def devices(self) -> int:
        return math.prod(self.mesh.values())

    @property
    def state_bytes(self) -> int:
        return sum(field.bytes for field in self.fields)

    @property
    def bytes(self) -> int:
        """Of parameters, gradients and state."""
        return self.parameter_bytes + self.gradient_bytes + self.state_bytes

    @property
    def fits(self) -> bool:
        """Whether these fit in a device's memory."""
        return self.bytes <= self.hardware.memory

    @property
    def collective_bytes(self) -> int:
        """Of the results of all collectives in a step."""
        return sum(one.bytes for one in self.collectives)

    @functools.cached_property
    def parts(self) -> tuple[Part, ...]:
        """The parts of a step's time, each by itself."""
        update = [Part("update", "memory traffic", self.traffic_bytes / self.hardware.bandwidth)]
        products = sum(n / self.hardware.rate(dtype) for dtype, n in self.flops.items())
        update += [Part("update", "products", products)] if products else []
        return (*update, *(Part(f"{c.part}: {c.kind} over {' x '.join(c.axes)}", c.link, c.seconds) for c in self.collectives))

    @property
    def seconds(self) -> Mapping[str, float]:
        """What a step needs of each resource at least: the parts that wait for it, one after another."""
        found: dict[str, float] = dict.fromkeys(RESOURCES, 0.0)
        for part in self.parts:
            found[part.resource] += part.seconds
        return found

    @property
    def step_seconds(self) -> float:
        """A lower bound of a step: what the resource that binds needs, if all else happens meanwhile."""
        return max(self.seconds.values())

    @property
    def binds(self) -> str:
        """The resource that a step needs longest."""
        return max(self.seconds.items(), key=lambda one: one[1])[0]

    def to_json(self) -> str:
        """All of it as JSON, with what follows from it."""
        derived = ("devices", "state_bytes", "bytes", "fits", "collective_bytes", "seconds", "step_seconds", "binds")
        return json.dumps(dataclasses.asdict(self) | {name: getattr(self, name) for name in derived}, indent=2)

    def __str__(self) -> str:
        return report(self)
