"""Devices: how much memory one has, and how fast it reads, multiplies and speaks to others. Vendors' figures, all of them peaks.

Links count one direction, for each device. Within a node of GPUs that is NVLink through switches; a TPU's node is its pod, whose links
form a torus, and all of a chip's links together are counted. Between nodes it is the node's network cards, shared by its devices.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from gradxform._errors import UnknownNameError
from gradxform.core._labels import suggest


@dataclasses.dataclass(frozen=True)
class Hardware:
    """One device of a machine: a record of figures, ours or yours.

        plan(tx, params, mesh, hardware=dataclasses.replace(HARDWARE["H100"], between=25e9))

    Attributes:
      name: how it is called.
      memory: bytes.
      bandwidth: bytes per second that it reads and writes there.
      flops: by the dtype of the operands, floating-point operations per second in products of matrices at JAX's default precision: those
        of float32 run as TF32 on a GPU, and with operands rounded to bfloat16 on a TPU.
      within: bytes per second that one device sends to others of its node.
      between: bytes per second that one device sends to other nodes.
      node: how many devices a node has.
      kind: "GPU" or "TPU": what to change is looked for among devices of the same kind.
      source: where the figures stand.

    >>> from gradxform.planning import HARDWARE, Hardware
    >>> HARDWARE["H100"].memory
    80000000000
    >>> mine = Hardware("mine", 24 * 10**9, 1e12, {"float32": 80e12, "bfloat16": 160e12}, within=25e9, between=1e9, node=4)
    """

    name: str
    memory: int
    bandwidth: float
    flops: Mapping[str, float]
    within: float
    between: float
    node: int
    kind: str = ""
    source: str = ""

    def rate(self, dtype: str) -> float:
        """Operations per second of products in a dtype; in one that the record does not have, those of float32."""
        return self.flops.get(dtype, self.flops["float32"])


def _gpu(
    name: str, memory: int, bandwidth: float, float32: float, bfloat16: float, nvlink: float, card: float, source: str
) -> Hardware:
    flops = {"float32": float32, "bfloat16": bfloat16, "float16": bfloat16}
    return Hardware(name, memory * 10**9, bandwidth, flops, nvlink, card, 8, "GPU", source)


def _tpu(name: str, memory: int, bandwidth: float, bfloat16: float, links: float, card: float, pod: int, source: str) -> Hardware:
    return Hardware(name, memory, bandwidth, {"float32": bfloat16, "bfloat16": bfloat16}, links, card, pod, "TPU", source)


HARDWARE: Mapping[str, Hardware] = {
    device.name: device
    for device in (
        _gpu("A100", 80, 2.039e12, 156e12, 312e12, 300e9, 25e9, "NVIDIA A100 data sheet (80 GB, SXM); DGX A100: 8 x 200 Gb/s"),
        _gpu("H100", 80, 3.35e12, 494.7e12, 989.4e12, 450e9, 50e9, "NVIDIA H100 data sheet (SXM, dense); DGX H100: 8 x 400 Gb/s"),
        _gpu("H200", 141, 4.8e12, 494.7e12, 989.4e12, 450e9, 50e9, "NVIDIA H200 data sheet (SXM, dense); DGX H200: 8 x 400 Gb/s"),
        _gpu("B200", 180, 8e12, 1100e12, 2250e12, 900e9, 50e9, "NVIDIA DGX B200 data sheet (8 GPUs: 1,440 GB, 64 TB/s), HGX B200"),
        _tpu("v5e", 16 * 10**9, 819e9, 197e12, 200e9, 3.125e9, 256, "cloud.google.com/tpu/docs/v5e; 2 x 100 Gb/s for 8 chips"),
        _tpu("v5p", 95 * 2**30, 2.765e12, 459e12, 600e9, 6.25e9, 8960, "cloud.google.com/tpu/docs/v5p"),
        _tpu("v6e", 32 * 10**9, 1.64e12, 918e12, 400e9, 12.5e9, 256, "cloud.google.com/tpu/docs/v6e; 4 x 200 Gb/s for 8 chips"),
    )
}  # fmt: skip


def hardware_of(device: str | Hardware) -> Hardware:
    """The record of that name, or the record itself."""
    if isinstance(device, Hardware):
        return device
    if device not in HARDWARE:
        raise UnknownNameError(
            f"plan: no hardware is called {device!r}; there are {', '.join(HARDWARE)}.{suggest(device, list(HARDWARE))} "
            "Of another device give its record: `hardware=gradxform.planning.Hardware(...)`, on the command line module:record."
        )
    return HARDWARE[device]
