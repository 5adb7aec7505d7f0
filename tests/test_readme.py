"""The README: its code runs, its tables are fresh, its quick start is two commands."""

import importlib
import json
import pathlib
import re
import sys

import jax
import numpy as np
import pytest

import gradxform
from gradxform import dialects
from gradxform.race._catalogue import markdown

pytestmark = pytest.mark.fast

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def between(name):
    return README.partition(f"<!-- {name}:begin -->\n")[2].partition(f"<!-- {name}:end -->")[0].strip()


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, re.DOTALL), ids=lambda code: code.split("\n")[-2][:30])
def test_python_runs(code, capsys):
    names = {"gx": gradxform}
    exec(code, names)
    if "params" in names and "loss" in names:
        np.testing.assert_allclose(names["params"]["w"], 2.0, atol=1e-2)
    assert "BROKEN" not in capsys.readouterr().out


def test_own_optimizer_takes_at_most_15_lines():
    [code] = [c for c in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "testing.check" in c]
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 15


def test_catalogue_is_fresh():
    assert between("catalogue") == markdown(), "make it again: python -m gradxform names --markdown"


def test_compatibility_page_is_fresh(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    page = importlib.import_module("tests.optax_suite.compatibility")
    assert between("compatibility") == page.render(), "make it again: python -m tests.optax_suite.compatibility --write README.md"
    assert page.missing() == []


def test_benchmarks_are_fresh(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    table = __import__("table")
    results = json.loads((ROOT / "benchmarks" / "results" / "cpu.json").read_text())
    assert between("benchmarks") == table.render(results).strip(), "make it again: python benchmarks/table.py ... --write README.md"


def test_migration_calls_run():
    """The right column of the migration table, where it is a call."""
    rows = re.findall(r"^\| `.*` \| `((?:torch|keras|mxnet|neon)\..*)` \|$", README, re.MULTILINE)
    names = {e.system: getattr(dialects, e.system) for e in dialects.entries()}
    names |= {"a": gradxform.sgd(0.1), "b": gradxform.sgd(0.2)}
    assert len(rows) >= 8
    for call in rows:
        made = eval(call, dict(names))
        assert callable(made) or callable(made.update), call


def test_quick_start_is_two_commands():
    start = README.partition("## Quick start")[2].partition("\n## ")[0]
    commands = re.findall(r"```sh\n(.*?)\n```", start, re.DOTALL)
    assert [len(c.splitlines()) for c in commands] == [1, 1]


def test_layers_are_those_of_the_test():
    sys.modules.pop("test_architecture", None)
    from test_architecture import LAYERS

    [layers] = re.findall(r"```text\n(.*?)\n```", README, re.DOTALL)
    assert [set(part.split()) for part in layers.split("  <  ")] == [set(x) for x in LAYERS]


def test_shown_repr_is_the_real_one():
    assert repr(gradxform.adam(1e-3)).startswith("chain(scale_by_adam(b1=0.9, b2=0.999")
    assert jax.tree.structure(gradxform.adam(1e-3).init(1.0)).num_leaves == 3
