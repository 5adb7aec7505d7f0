"""The guides: every notebook was made of its script as it stands, ran from top to bottom, and has a figure and a thumbnail."""

import json
import re

import pytest

from notebooks import guides as guides_room
from notebooks.guides import Cell, Guide, guides, parse, summary

pytestmark = pytest.mark.fast

NAMES = [guide.name for guide in guides()]
SCRIPT = """# %% [markdown]
# # A title
#
# One line that
# goes on.
#
# More.

# %% tags=["thumbnail"]
x = 1


# %%
# a comment of code
x
"""


def test_every_script_is_listed():
    folder = Guide("").script.parent
    assert sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")) == sorted(NAMES)
    assert sorted(path.stem for path in folder.glob("*.ipynb")) == sorted(NAMES)
    assert sorted(path.stem for path in folder.glob("thumbnails/*.png")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_notebooks_are_fresh_and_ran(name):
    guide = Guide(name)
    assert guide.is_fresh(), f"make it again: python -m notebooks.guides {name}"
    code = [cell for cell in guide.made()["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert not [o for o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"]
    pictures = [o for o in outputs if {"image/png", "text/html"} & set(o.get("data", {}))]
    assert pictures
    assert guide.notebook.stat().st_size < 300_000


@pytest.mark.parametrize("name", NAMES)
def test_each_is_text_between_short_cells(name):
    cells = Guide(name).cells()
    title, line = summary(Guide(name))
    assert title
    assert 20 < len(line) < 240
    assert [len(cell.source.splitlines()) for cell in cells if cell.kind == "code" and len(cell.source.splitlines()) > 45] == []
    assert sum(cell.kind == "markdown" for cell in cells) >= 4


def test_a_script_is_read_as_cells():
    title, tagged, code = parse(SCRIPT)
    assert title == Cell("markdown", "# A title\n\nOne line that\ngoes on.\n\nMore.")
    assert (tagged, code) == (Cell("code", "x = 1", "thumbnail"), Cell("code", "# a comment of code\nx"))
    with pytest.raises(ValueError, match="comments, but there is: x = 1"):
        parse("# %% [markdown]\nx = 1\n")
    with pytest.raises(ValueError, match="begins with"):
        parse("x = 1\n# %%\n")


def test_a_changed_script_is_stale(tmp_path, monkeypatch):
    monkeypatch.setattr(guides_room._cells, "FOLDER", tmp_path)
    guide = Guide("own")
    guide.script.write_text(SCRIPT)
    made = [
        {"cell_type": c.kind, "source": c.source.splitlines(keepends=True), "metadata": {"tags": [c.tag]} if c.tag else {}}
        for c in guide.cells()
    ]
    guide.notebook.write_text(json.dumps({"cells": made}))
    assert guide.is_fresh()
    assert summary(guide) == ("A title", "One line that goes on.")
    for old, new in (("x = 1", "x = 2"), ("More", "Less"), (' tags=["thumbnail"]', "")):
        guide.script.write_text(SCRIPT.replace(old, new))
        assert not guide.is_fresh()


def test_the_lines_of_pytorch_are_those_that_ran():
    guide = Guide("from_pytorch")
    ran = (guide.script.parent / "_pytorch_side.py").read_text()
    cells = "\n".join(cell.source for cell in guide.cells() if cell.kind == "markdown")
    lines = [line for block in re.findall(r"```python\n(.*?)```", cells, re.DOTALL) for line in block.splitlines()]
    assert len(lines) > 20
    assert [line for line in lines if line not in ran] == []
