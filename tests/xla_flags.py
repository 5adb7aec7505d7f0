"""Flags that make XLA compile quickly, of which each XLA knows some: one that it does not know ends the process."""

import os
import subprocess
import sys

from children import ending

DEVICES = "--xla_force_host_platform_device_count=8"
QUICK = ["--xla_cpu_use_fusion_emitters=false", "--xla_backend_optimization_level=0", "--xla_cpu_parallel_codegen_split_count=1"]
ANSWER = "GRADXFORM_TESTS_QUICK_XLA_FLAGS"  # of the installed XLA, for the processes that this one starts


def death(flags):
    """How a process ends that starts XLA with these flags, and what it says; empty if it lives."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    done = subprocess.run([sys.executable, "-c", "import jax; jax.devices()"], env=environment, capture_output=True, text=True)
    return f"{ending(done.returncode)}\n{done.stderr}" if done.returncode else ""


def set_flags(quick=True):
    """Set eight devices and what makes XLA compile quickly; flags that the user has set come last, and win."""
    users = os.environ.get("XLA_FLAGS", "")
    if ANSWER not in os.environ:
        if not death(f"{DEVICES} {' '.join(QUICK)} {users}"):
            known = QUICK
        elif users and (message := death(users)):
            raise RuntimeError(f"XLA does not start with XLA_FLAGS={users!r}: {message}")
        else:
            known = [flag for flag in QUICK if not death(flag)]
        os.environ[ANSWER] = " ".join(known)
    os.environ["XLA_FLAGS"] = " ".join([DEVICES, os.environ[ANSWER] if quick else "", users])
