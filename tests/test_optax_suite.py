"""A part of Optax's own tests, and what the last run of all of them said: see tests/optax_suite."""

import importlib
import json
import pathlib

import pytest

HERE = pathlib.Path(__file__).parent / "optax_suite"
RESULT = json.loads((HERE / "result.json").read_text())
EVERY = 15


@pytest.fixture
def suite(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE.parents[1]))
    return importlib.import_module("tests.optax_suite.__main__")


@pytest.mark.processes
def test_part(suite):
    found = suite.run([], ["-n", "0"], EVERY)
    assert not [test for test, kind in found.items() if kind == "failed"]
    assert sum(kind == "passed" for kind in found.values()) >= 100


def test_every_exemption_has_its_tests(suite):
    assert {e["tests"]: e["why"] for e in RESULT["exempt"]} == suite._scope.EXEMPT, (
        "run all again: python -m tests.optax_suite -n 2 --write"
    )
    assert all(e["number"] for e in RESULT["exempt"])


def test_99_percent_pass():
    passed, rest = (
        sum(sum(file[kind] for kind in kinds) for file in RESULT["files"].values()) for kinds in (["passed"], ["exempt", "failed"])
    )
    assert passed >= 0.99 * (passed + rest)
