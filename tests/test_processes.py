"""Processes that train together give what one process gives, and one that dies costs no more than the steps since the last checkpoint."""

import pytest

from tests.processes import launch

pytestmark = pytest.mark.processes

SUM = """
import sys
from tests.processes.launch import join
rank = join()
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P
mesh, x = jax.make_mesh((8,), ("data",)), np.arange(16.0, dtype=np.float32)
place = lambda *spec: NamedSharding(mesh, P(*spec))
total = jax.jit(jnp.sum, out_shardings=place())(jax.make_array_from_callback(x.shape, place("data"), lambda i: x[i]))
print(f"the sum is {total.addressable_data(0)}")
sys.exit(rank if "fail" in sys.argv else 0)
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp("script") / "total.py"
    path.write_text(SUM)
    return path


def test_each_process_has_the_sum_over_all_devices(script):
    assert all("the sum is 120.0" in said for said in launch.run(script))


def test_a_process_that_fails_is_named(script):
    with pytest.raises(AssertionError, match=r"(?s)process 0: exit status 0 .*the sum is 120.0.*process 1: exit status 1 after"):
        launch.run(script, "fail")
