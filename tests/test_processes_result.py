"""What the last run of four processes found, of every case and optimizer: see tests/processes."""

import json

import pytest

from tests.processes import agree, cases

pytestmark = pytest.mark.fast

RESULT = json.loads(agree.RESULT.read_text(encoding="utf-8"))
FOUND = RESULT["largest_difference"]


def test_it_has_every_case():
    assert RESULT["processes"] == 4
    assert set(FOUND) == set(cases.EVERY), "run again: python -m tests.processes"
    assert {"jax", "jaxlib", "numpy"} <= set(RESULT["versions"])


def test_none_differs_by_more_than_it_may():
    assert not {name: x for name, x in FOUND.items() if not x <= cases.EVERY[name].error}


def test_a_case_that_may_differ_by_more_says_why():
    assert {name for name, case in cases.EVERY.items() if case.error > cases.CLOSE} == {n for n, c in cases.EVERY.items() if c.why}
