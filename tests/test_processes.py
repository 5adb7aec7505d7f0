"""Processes that train together give what one process gives, and one that dies costs no more than the steps since the last checkpoint."""

import json
import pathlib
import re
import shutil
import signal
import sys

import children
import jax
import numpy as np
import pytest

from tests.processes import agree, cases, launch

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(jax.device_count() < 8, reason="needs eight devices; tests/conftest.py fakes them on the CPU"),
]
HERE = pathlib.Path(launch.__file__).parent
CLUSTER = launch.ROOT / "benchmarks" / "cluster.py"

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


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """One pair for all cases, since starting takes longer than most of them."""
    return agree.ran(tmp_path_factory.mktemp("two"), cases.CASES, 2)


@pytest.mark.parametrize("name", cases.CASES)
def test_two_processes_give_what_one_gives(name, two):
    agree.check(name, two)


@pytest.mark.nightly
def test_four_processes_give_what_one_gives_for_every_optimizer(tmp_path):
    ranks = agree.ran(tmp_path, cases.EVERY, 4)
    for name in cases.EVERY:
        agree.check(name, ranks)


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
        agree.compare("one process goes on", path, x, again[0][path], cases.Case(lambda: run))


STATE = {"zero": 8, "spread": 4, "store": 2}  # bytes for each of a device's parameters, as many on one device as on two


def test_the_cluster_script_runs_here(tmp_path):
    small = ["--width", 32, "--layers", 2, "--batch", 32, "--steps", 2, "--samples", 2]
    layouts = ["--layouts", *STATE]
    out = tmp_path / "cluster.json"
    said = children.run(sys.executable, CLUSTER, "--processes", 2, "--devices", 1, *layouts, *small, "--out", out, timeout=400)
    assert "Weak scaling" in said
    found = json.loads(out.read_text(encoding="utf-8"))
    assert (found["processes"], found["devices"], found["dry_run"]) == (2, 2, True)
    assert found["versions"]["jax"] == jax.__version__
    rows = {(row["layout"], row["devices"]): row for row in found["rows"]}
    assert set(rows) == {(layout, devices) for layout in STATE for devices in (1, 2)}
    for (layout, devices), row in rows.items():
        assert row["parameters"] == 2 * devices * 32**2
        assert row["parameter_bytes_per_device"] == 4 * 2 * 32**2 * (devices if layout == "zero" else 1)
        assert row["state_bytes_per_device"] == pytest.approx(STATE[layout] * 2 * 32**2, abs=64)
        assert row["processes"] == devices
        assert all(len(row[kind]) == 2 and min(row[kind]) > 0 for kind in ("step_seconds", "optimizer_seconds"))
        assert (row["step_ratio"], row["optimizer_ratio"]) == (1.0, 1.0) or devices == 2
