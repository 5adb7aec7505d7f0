"""Where and with what a run was made. No path, no host name."""

import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

import jax

import gradxform

ROOT = Path(__file__).resolve().parent.parent


def cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> dict:
    device = jax.devices()[0]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
    return {
        "cpu": cpu_model(),
        "cores": cores(),
        "memory_gb": round(pages / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "backend": device.platform,
        "device": device.device_kind,
    }


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def our_version() -> str:
    """That of the tree under test, installed or not."""
    return gradxform.__version__


def commit() -> str | None:
    """The commit of the measured tree, with a plus where the package differs from it."""
    git = lambda *args: subprocess.run(["git", "-C", str(ROOT), *args], capture_output=True, text=True).stdout.strip()
    try:
        head, changed = git("rev-parse", "--short", "HEAD"), git("status", "--porcelain", "--", "gradxform")
    except OSError:
        return None
    return head + ("+" if changed else "") or None


def versions() -> dict:
    packages = ["jax", "jaxlib", "numpy", "optax", "torch"]
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "gradxform": our_version(),
        "commit": commit(),
    }


def load() -> float:
    """The one-minute load average, in processes."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else 0.0


def now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
