"""What rounds, as XLA compiles it for users: the quick compilation of the other tests leaves out its fusions and optimisations."""

import os
import pathlib
import subprocess
import sys

import pytest

TESTS = pathlib.Path(__file__).parent
FLAGS = "--xla_cpu_use_fusion_emitters=true --xla_backend_optimization_level=3"
RUNS = {
    "rounding": ["test_low_precision.py", "test_core.py"],
    "master weights": ["test_precision.py", "-k", "not laws"],
    "torch and keras": ["test_dialects_torch_keras.py", "-m", "optimised"],
}


@pytest.mark.parametrize("arguments", RUNS.values(), ids=RUNS)
def test_optimised(arguments):
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, cwd=TESTS, env={**os.environ, "XLA_FLAGS": FLAGS}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
