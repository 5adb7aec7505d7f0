"""The pages: their code runs when it is pasted alone, their tables are fresh, their links lead somewhere, the front page is short."""

import pathlib
import re
import sys

import jax
import numpy as np
import pages
import pytest
from blocks import blocks

import gradxform
from gradxform import dialects

pytestmark = pytest.mark.fast

ROOT = pathlib.Path(__file__).parent.parent
FOLDERS = [
    path
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob(".github/*.md"), *ROOT.glob("*/**/README.md")])
    if not {".venv", ".git"} & set(path.parts)
]
README = (ROOT / "README.md").read_text()
BLOCKS = {
    f"{path.relative_to(ROOT)}:{number}": code
    for path in FOLDERS
    if path.name == "README.md"
    for number, code in enumerate(blocks(path), 1)
}


@pytest.mark.parametrize("block", BLOCKS)
def test_python_runs_when_pasted_alone(block, capsys):
    names = {"__name__": "__main__"}
    exec(BLOCKS[block], names)
    if "params" in names and "loss" in names:
        np.testing.assert_allclose(names["params"]["w"], 2.0, atol=1e-2)
    assert "BROKEN" not in capsys.readouterr().out


def test_front_page_is_short():
    assert len(README.encode()) <= 8 * 1024


@pytest.mark.parametrize("path", FOLDERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    links = re.findall(r"\]\(([^)#:]+)\)", path.read_text())
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_own_optimizer_takes_at_most_15_lines():
    [code] = [c for c in blocks() if "testing.check" in c]
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 15


DEAR = {"plans"}  # of which tests/test_benchmarks.py makes some rows by day


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.nightly] * (name in DEAR)) for name in pages.PAGES])
def test_pages_are_fresh(name, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    assert pages.parts(name)[1] == pages.PAGES[name][1](), "make it again: python -m tests.pages"


def test_no_public_name_of_optax_is_missing(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from tests.optax_suite import compatibility

    assert compatibility.missing() == []


def test_migration_calls_run():
    """The right column of the migration table, where it is a call."""
    page = (ROOT / "gradxform" / "dialects" / "README.md").read_text()
    rows = re.findall(r"^\| `.*` \| `((?:torch|keras|mxnet|neon)\.[^`]*)` \|$", page, re.MULTILINE)
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

    [layers] = re.findall(r"```text\n(.*?)\n```", (ROOT / ".github" / "CONTRIBUTING.md").read_text(), re.DOTALL)
    assert [set(part.split()) for part in layers.split("  <  ")] == [set(x) for x in LAYERS]


def test_shown_repr_is_the_real_one():
    assert repr(gradxform.adam(1e-3)).startswith("chain(scale_by_adam(b1=0.9, b2=0.999")
    assert jax.tree.structure(gradxform.adam(1e-3).init(1.0)).num_leaves == 3
