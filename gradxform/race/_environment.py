"""Where and on what a race was run: what a reader needs to run it again, or to see why it came out otherwise."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import os
import platform
from pathlib import Path

import jax
import numpy as np

import gradxform
from gradxform.race._problem import Problem, batch_rng

HASHED = [(seed, step) for seed in (0, 1) for step in (0, 1, 2)]  # batches


def environment() -> dict[str, str]:
    """The date, the versions and the machine."""
    device = jax.devices()[0]
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "gradxform": gradxform.__version__,
        "jax": jax.__version__,
        "jaxlib": importlib.metadata.version("jaxlib"),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": f"{os.cpu_count()} x {_processor()}",
        "device": f"{jax.device_count()} x {device.device_kind}",
    }


def _processor() -> str:
    """The processor's model where the system tells, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def data_of(problem: Problem) -> str:
    """What identifies the data of a problem: what it says itself, and a hash of some batches."""
    digest = hashlib.sha256()
    for seed, step in HASHED:
        for x in jax.tree.leaves(problem.batch(batch_rng(seed, step), step)):
            array = np.ascontiguousarray(x)
            digest.update(f"{array.dtype.name}{array.shape}".encode() + array.tobytes())
    return f"{problem.data}{', ' if problem.data else ''}sha256 of batches {digest.hexdigest()[:16]}"
