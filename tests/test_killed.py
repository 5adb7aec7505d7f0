"""`kill -9` while a checkpoint is written: the last one that was committed is restored bit for bit, and the run goes on."""

import functools
import json
import pathlib
import shutil
import signal

import jax
import numpy as np
import pytest

import gradxform as gx
from tests.processes import checkpointed, launch
from tests.processes.checkpointed import LAST, SAVED

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(jax.device_count() < 8, reason="needs eight devices; tests/conftest.py fakes them on the CPU"),
]
pytest.importorskip("orbax.checkpoint")

SCRIPT = pathlib.Path(checkpointed.__file__)
END = LAST + SAVED
alone = functools.partial(launch.launch, SCRIPT, processes=1, devices=8)
both = functools.partial(launch.launch, SCRIPT, processes=2, devices=4, patience=8)


def steps(said):
    """The digest of what a process had at each step that it reached."""
    lines = [line.split(" ", 2) for line in said.splitlines() if line.startswith("step ")]
    return {int(step): json.loads(found) for _, step, found in lines}


def whole(start, folder):
    """What a run has that nobody stops."""
    ended = start(folder / "run", END)
    assert not any(end.status for end in ended), "\n\n".join(map(str, ended))
    found = [steps(end.said) for end in ended]
    assert found[0].keys() == {SAVED, LAST, END}
    assert all(x == found[0] for x in found)
    return found[0]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return whole(alone, tmp_path_factory.mktemp("unbroken"))


@pytest.fixture(scope="module")
def unbroken_by_two(tmp_path_factory):
    return whole(both, tmp_path_factory.mktemp("unbroken_by_two"))


def killed(start, folder, moment):
    """The run in a folder, after the last process was killed at that moment of the save of step 6."""
    *_, end = start(folder, END, moment)
    assert end.status == -signal.SIGKILL, end
    assert LAST in steps(end.said)
    assert END not in steps(end.said)


@functools.cache
def stepper(devices):
    return checkpointed.stepper(checkpointed.mesh_of(devices))


def restored(folder, devices):
    """The last committed step and what it has, restored here, which checks it; and the digest that was saved with it."""
    with checkpointed.manager(folder) as m:
        step = m.latest_step()
        assert step in (SAVED, LAST)
        assert step == max(m.all_steps())
        tree, digest = checkpointed.restore(m, step, checkpointed.mesh_of(devices))
    assert all(len(x.sharding.device_set) == devices for x in jax.tree.leaves(tree))
    assert gx.digest(tree) == digest
    return step, tree


def gone_on(step, tree, devices):
    """What it has at the end."""
    for _ in range(step, END):
        tree = stepper(devices)(tree)
    return tree


MOMENTS = {
    "before anything is written": "mkdir 0",
    "while it copies": "before 0.01",
    "as the save returns": "after 0",
    "while files are written": "after 0.1",
    "before a part is committed": "rename 0",
    "between two parts": "renamed 0",
    "before it is committed": "rename 2",
    "as it is committed": "renamed 2",
    "later": "after 0.4",
}


@pytest.mark.parametrize("when", MOMENTS)
def test_the_last_checkpoint_is_restored_bit_for_bit(when, unbroken, tmp_path):
    """On 8, 4 and 1 devices; on as many as before the run goes on as the one that nobody stopped."""
    killed(alone, tmp_path, MOMENTS[when])
    for devices in (8, 4, 1):
        step, tree = restored(tmp_path, devices)
        assert gx.digest(tree) == unbroken[step]
        if devices == 8:
            assert gx.digest(gone_on(step, tree, devices)) == unbroken[END]
    if when == "as it is committed":
        assert step == LAST
    elif MOMENTS[when].startswith(("mkdir", "rename")):
        assert step == SAVED


@pytest.fixture(scope="module")
def uncommitted(tmp_path_factory):
    """All of a checkpoint is written, and not committed."""
    folder = tmp_path_factory.mktemp("uncommitted")
    killed(alone, folder, "rename 2")
    assert any(f"{LAST}.orbax" in f.name for f in folder.iterdir())
    return folder


def assert_close(trees, others):
    """Sums in another order: plain moments differ in last digits; where codes are rounded at random, such a digit may tip one."""
    (params, state), (theirs, other) = trees, others
    assert jax.tree.structure(state) == jax.tree.structure(other)
    for name in ("plain", "whole"):
        np.testing.assert_allclose(np.asarray(params[name]), np.asarray(theirs[name]), rtol=0, atol=2e-4)
    apart = np.abs(np.asarray(params["codes"]) - np.asarray(theirs["codes"]))
    assert apart.max() < 0.03  # three updates of at most about 0.01
    assert apart.mean() < 1e-3


def test_on_fewer_devices_it_goes_on_closely(unbroken, uncommitted):
    step, tree = restored(uncommitted, 8)
    expected = gone_on(step, tree, 8)
    assert gx.digest(expected) == unbroken[END]
    for devices in (4, 1):
        found = gone_on(*restored(uncommitted, devices), devices)
        assert_close(found, expected)
        assert [x.dtype for x in jax.tree.leaves(found)] == [x.dtype for x in jax.tree.leaves(expected)]


@pytest.mark.parametrize("devices", [8, 4, 1])
def test_a_new_process_goes_on_beside_what_is_left(devices, unbroken, uncommitted, tmp_path):
    """It has as many devices as it has, and saves again the step of which half lies there."""
    folder = shutil.copytree(uncommitted, tmp_path / "run")
    (end,) = alone(folder, END, devices=devices)
    assert end.status == 0, end
    found = steps(end.said)
    assert found.keys() == {LAST, END}
    with checkpointed.manager(folder) as m:
        assert m.all_steps()[-2:] == [LAST, END]
        tree, digest = checkpointed.restore(m, END, checkpointed.mesh_of(8))
    assert digest == found[END]
    if devices == 8:
        assert found == {step: unbroken[step] for step in (LAST, END)}
    assert_close(tree, gone_on(*restored(uncommitted, 8), 8))


@pytest.mark.parametrize("moment", ["before 0.01", "after 0", "remove 0"])
def test_one_process_of_two(moment, unbroken_by_two, tmp_path):
    """What two processes saved is restored by one, on any number of devices, and goes on closely: it adds in another order."""
    killed(both, tmp_path, moment)
    for devices in (8, 4, 1):
        step, tree = restored(tmp_path, devices)
        assert gx.digest(tree) == unbroken_by_two[step]
        if devices == 8:
            begun = checkpointed.begin(checkpointed.mesh_of(8))
            assert_close(gone_on(step, tree, 8), gone_on(0, begun, 8))


def test_two_processes_go_on_as_if_nobody_had_stopped(unbroken_by_two, tmp_path):
    killed(both, tmp_path, "after 0.1")
    ended = both(tmp_path, END)
    assert not any(end.status for end in ended), "\n\n".join(map(str, ended))
    assert [steps(end.said)[END] for end in ended] == [unbroken_by_two[END]] * 2
