"""A process that dies in a test says so, and XLA is given no flag that kills it."""

import os
import pathlib
import sys

import children
import groups
import pytest
import xla_flags

TESTS = pathlib.Path(__file__).parent


@pytest.mark.fast
@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("print('last words'); import sys; sys.exit(3)", "exit status 3:\nlast words"),
        ("import os; os.abort()", "killed by SIGABRT"),
    ],
)
def test_a_dead_child_is_named(code, words):
    with pytest.raises(AssertionError, match=words):
        children.run(sys.executable, "-c", code)


def test_a_worker_that_dies_before_its_first_test_is_named(tmp_path):
    pytest.importorskip("xdist")
    (tmp_path / "test_dies.py").write_text("import os\nos._exit(7)\n")
    options = ["-p", "xdist", "-p", "children", "-n", "1", "-c", os.devnull, "-p", "no:cacheprovider", f"--rootdir={tmp_path}"]
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    with pytest.raises(AssertionError, match=r"(?s)exit status 2:.*worker gw\d died before its first test: exit status 7"):
        children.run(sys.executable, "-m", "pytest", *options, tmp_path, env=environment)


@pytest.mark.fast
def test_a_worker_takes_a_whole_file(tmp_path):
    pytest.importorskip("xdist")
    text = "import os, pathlib, pytest\n@pytest.mark.parametrize('i', range(4))\ndef test(i):\n    "
    for name in ("one", "two", "laws"):
        write = f"print('{name}', i, os.environ['PYTEST_XDIST_WORKER'], file=(pathlib.Path(__file__).parent / 'log').open('a'))"
        (tmp_path / f"test_{name}.py").write_text(f"{text}{write}\n")
    options = ["-p", "xdist", "-p", "groups", "-n", "2", "-c", os.devnull, "-p", "no:cacheprovider", f"--rootdir={tmp_path}"]
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    children.run(sys.executable, "-m", "pytest", *options, "--dist=loadscope", tmp_path, env=environment)
    lines = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    assert len(lines) == 12
    assert len({(name, worker) for name, _, worker in lines if name != "laws"}) == 2


@pytest.mark.fast
def test_the_laws_of_a_transformation_are_together():
    assert groups.together("tests/test_laws.py::test_law[torch.adam-12-donation]") == "torch.adam"
    assert groups.together("tests/test_laws.py::test_a_transcription") == "tests/test_laws.py"
    assert groups.together("tests/test_tree.py::TestNorms::test_it[a-b]") == "tests/test_tree.py"


def test_only_flags_that_this_xla_knows_are_set(monkeypatch):
    monkeypatch.delenv(xla_flags.ANSWER)
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.setattr(xla_flags, "QUICK", ["--xla_no_such_flag=1", "--xla_backend_optimization_level=0"])
    xla_flags.set_flags()
    assert os.environ["XLA_FLAGS"].split() == [xla_flags.DEVICES, "--xla_backend_optimization_level=0"]


def test_a_users_flag_that_xla_does_not_know_is_named(monkeypatch):
    monkeypatch.delenv(xla_flags.ANSWER)
    monkeypatch.setenv("XLA_FLAGS", "--xla_no_such_flag=1")
    with pytest.raises(RuntimeError, match="does not start with XLA_FLAGS='--xla_no_such_flag=1': exit status 1"):
        xla_flags.set_flags()
