"""Compilation for machines that are not here: it takes an accelerator's compiler, not the accelerator.

    pip install -e '.[aot]'                    libtpu and the CUDA plugin, of one version of JAX; no driver, no other package

    step = compiled(train_step, params, state, grads, on=h100()[0], donate=(0, 1))
    hlo.traffic(step), hlo.collectives(step), hlo.memory(step), hlo.kernels(step)

Choose JAX's platform before the first array: `JAX_PLATFORMS=cpu`.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.experimental import topologies
from jax.sharding import Sharding, SingleDeviceSharding

# What XLA asks of a GPU, as the text of its GpuTargetConfigProto: an H100 of 80 GB, SXM.
_H100 = {
    "core_count": 132,
    "fpus_per_core": 128,
    "clock_rate_ghz": 1.98,
    "memory_bandwidth": 3_352_320_000_000,
    "device_memory_size": 84_942_979_072,
    "l2_cache_size": 52_428_800,
    "threads_per_warp": 32,
    "threads_per_block_limit": 1024,
    "threads_per_core_limit": 2048,
    "registers_per_block_limit": 65_536,
    "registers_per_core_limit": 65_536,
    "shared_memory_per_block": 49_152,
    "shared_memory_per_block_optin": 232_448,
    "shared_memory_per_core": 233_472,
    "block_dim_limit_x": 2_147_483_647,
    "block_dim_limit_y": 65_535,
    "block_dim_limit_z": 65_535,
}
_H100_NAME = 'platform_name: "CUDA" device_description_str: "NVIDIA H100 80GB HBM3" dnn_version_info { major: 9 minor: 10 }'

# Without these, libtpu looks for a machine of Google's, writes log files, and lets one process at a time load it.
_TPU = {
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "TPU_LOG_DIR": "disabled",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
}


def h100(gpus: int = 8, hosts: int = 1) -> Sequence[jax.Device]:
    """The GPUs of so many machines."""
    numbers = " ".join(f"{name}: {value}" for name, value in _H100.items())
    target = f"gpu_device_info {{ {numbers} cuda_compute_capability {{ major: 9 }} }} {_H100_NAME}"
    return _devices("", "cuda", target_config=target, topology=f"1x{hosts}x{gpus}")


def v5e(shape: str = "2x4") -> Sequence[jax.Device]:
    """The chips of a slice of a TPU v5e."""
    for name, value in _TPU.items():
        os.environ.setdefault(name, value)
    return _devices(f"v5e:{shape}", "tpu")


def _devices(name: str, platform: str, **options: str) -> Sequence[jax.Device]:
    """XLA_FLAGS are for the host's XLA, which takes them here; another ends the process at one that it does not know."""
    jax.devices()
    flags = os.environ.pop("XLA_FLAGS", None)
    try:
        return topologies.get_topology_desc(name, platform, **options).devices
    finally:
        if flags is not None:
            os.environ["XLA_FLAGS"] = flags


def compiled(
    f: Callable[..., Any], *args: Any, on: jax.Device | Sharding | None = None, donate: tuple[int, ...] = (), **jit: Any
) -> jax.stages.Compiled:
    """`f` for arguments such as these (arrays or `ShapeDtypeStruct`s), all on `on`, or each where its own sharding has it."""
    where = on if isinstance(on, Sharding) or on is None else SingleDeviceSharding(on)
    shaped = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where or x.sharding), args)
    return jax.jit(f, donate_argnums=donate, **jit).lower(*shaped).compile()
