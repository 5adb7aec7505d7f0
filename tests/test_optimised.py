"""What rounds, as XLA compiles it for users: the quick compilation of the other tests leaves out its fusions and optimisations."""

import os
import pathlib
import subprocess
import sys

TESTS = pathlib.Path(__file__).parent
OPTIMISED = "--xla_cpu_use_fusion_emitters=true --xla_backend_optimization_level=3"
ROUNDING = ["test_low_precision.py", "test_core.py", "test_precision.py"]


def test_rounding_when_optimised():
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *(str(TESTS / name) for name in ROUNDING)]
    done = subprocess.run(
        command, cwd=TESTS.parent, env={**os.environ, "XLA_FLAGS": OPTIMISED}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
