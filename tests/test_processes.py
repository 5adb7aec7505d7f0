"""Processes that train together give what one process gives, and one that dies costs no more than the steps since the last checkpoint."""

import pathlib
import re
import shutil
import signal

import jax
import numpy as np
import pytest

from tests.processes import cases, launch

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(jax.device_count() < 8, reason="needs eight devices; tests/conftest.py fakes them on the CPU"),
]
HERE = pathlib.Path(launch.__file__).parent

SUM = """
import os, sys
from tests.processes.launch import join
rank = join()
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P
mesh, x = jax.make_mesh((8,), ("data",)), np.arange(16.0, dtype=np.float32)
place = lambda *spec: NamedSharding(mesh, P(*spec))
total = jax.jit(jnp.sum, out_shardings=place())(jax.make_array_from_callback(x.shape, place("data"), lambda i: x[i]))
print(f"the sum is {total.addressable_data(0)}", flush=True)
if "fail" in sys.argv and rank == 1:
    os._exit(1)
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp("script") / "total.py"
    path.write_text(SUM)
    return path


def test_each_process_has_the_sum_over_all_devices(script):
    assert all("the sum is 120.0" in said for said in launch.run(script))


def test_a_process_that_fails_is_named_and_one_that_hangs_says_where(script):
    words = r"(?s)process 0: killed by SIGKILL .*the sum is 120.0.*(most recent call first).*process 1: exit status 1 after"
    with pytest.raises(AssertionError, match=words):
        launch.run(script, "fail", patience=1)


def ran(folder, names, processes):
    """What each process has after each case."""
    launch.run(HERE / "worker.py", folder, *names, processes=processes, devices=8 // processes, timeout=900)
    return [dict(np.load(folder / f"{rank}.npz")) for rank in range(processes)]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """One pair for all cases, since starting takes longer than most of them."""
    return ran(tmp_path_factory.mktemp("two"), cases.CASES, 2)


def steps_apart(x, y):
    """How many codes lie between two, in a number of so many bits."""
    width = 8 * x.dtype.itemsize
    apart = (x.astype(np.int64) - y.astype(np.int64)) % 2**width
    return np.minimum(apart, 2**width - apart)


def compare(name, path, one, several, run):
    assert (several.dtype, several.shape) == (one.dtype, one.shape), (name, path)
    codes = np.issubdtype(one.dtype, np.integer) and one.dtype.itemsize <= 2
    if run.stored and codes:
        apart = steps_apart(one, several)
        assert apart.max(initial=0) <= 1, (name, path)
        assert (apart > 0).mean() <= 0.02, (name, path)
    elif np.issubdtype(one.dtype, np.floating):
        error = 1e-3 if run.stored else run.error
        largest = np.max(np.abs(one), where=np.isfinite(one), initial=0.0)
        np.testing.assert_allclose(several, one, rtol=error, atol=error * largest, err_msg=f"{name}: {path}")
    else:
        np.testing.assert_array_equal(several, one, err_msg=f"{name}: {path}")


def agree(name, ranks):
    """All processes hold the same bits, and what one process holds that has all eight devices."""
    run = cases.case(name)
    expected = cases.values(run)
    for path, one in expected.items():
        first, *others = (rank[name + path] for rank in ranks)
        assert all(first.tobytes() == other.tobytes() for other in others), (name, path)
        compare(name, path, one, first, run)
    return expected


@pytest.mark.parametrize("name", cases.CASES)
def test_two_processes_give_what_one_gives(name, two):
    agree(name, two)


def test_all_processes_skip_the_step_at_which_one_overflows(two):
    skipped = {key: int(x) for key, x in two[0].items() if key.startswith("apply_if_finite") and key.endswith("total_notfinite")}
    assert list(skipped.values()) in ([1], [2])


def test_a_dead_process_ends_the_others_and_all_go_on_from_the_last_checkpoint(tmp_path):
    pytest.importorskip("orbax.checkpoint")
    train = lambda folder, file, *arguments: (HERE / "dies.py", tmp_path / folder, tmp_path / file, *arguments)
    survivor, dead = launch.launch(*train("some", "died", 6, 3))
    assert dead.status == -signal.SIGKILL
    assert survivor.status == -signal.SIGABRT, survivor
    assert re.search(r"Terminating process .* another task died", survivor.said), survivor
    assert survivor.seconds - dead.seconds < 40  # the heartbeat's ten, and a slow machine
    assert not list(tmp_path.glob("died*"))

    shutil.copytree(tmp_path / "some", tmp_path / "moved")
    assert all("from step 2\n" in said for said in launch.run(*train("some", "again", 6)))
    launch.run(*train("never", "straight", 6))
    again, straight = ([dict(np.load(tmp_path / f"{file}.{rank}.npz")) for rank in (0, 1)] for file in ("again", "straight"))
    for path, x in straight[0].items():
        assert all(x.tobytes() == other[path].tobytes() for other in (straight[1], *again)), path

    from tests.processes import dies

    run = dies.train(str(tmp_path / "moved"), 6, None)  # in one process, which adds in another order
    for path, x in cases.values(run).items():
        compare("one process goes on", path, x, again[0][path], run)
