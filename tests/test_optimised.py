"""What rounds, as XLA compiles it for users: the quick compilation of the other tests leaves out its fusions and optimisations."""

import os
import pathlib
import sys

import children
import pytest

pytestmark = pytest.mark.processes

TESTS = pathlib.Path(__file__).parent
RUNS = {
    "rounding": ["test_low_precision.py", "test_core.py"],
    "master weights": ["test_precision.py", "test_precision_low_bits.py", "test_precision_seeds.py", "-k", "not laws"],
    "torch and keras": ["test_dialects_torch_keras.py", "test_torch_state.py", "-m", "optimised"],
}
BY_NIGHT = {
    "all of torch and keras": ["test_dialects_torch_keras.py", "test_torch_state.py", "-k", "are_theirs or goes_on_as_theirs"]
}


@pytest.mark.parametrize(
    "arguments", [*RUNS.values(), *(pytest.param(x, marks=pytest.mark.nightly) for x in BY_NIGHT.values())], ids=[*RUNS, *BY_NIGHT]
)
def test_optimised(arguments):
    environment = {**os.environ, "XLA_FLAGS": "", "GRADXFORM_TESTS_OPTIMISED": "yes"}
    children.run(sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *arguments, cwd=TESTS, env=environment)
