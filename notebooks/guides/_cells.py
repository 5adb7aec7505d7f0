"""A guide's script as cells, and what its notebook says of it. Needs the standard library only."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent
ORDER = [
    "start_here",
    "transformer",
    "from_pytorch",
    "from_optax",
    "own_optimizer",
    "schedule_gallery",
    "own_race",
    "full_batch",
    "differential_equations",
    "fine_tuning",
    "low_memory",
    "eight_devices",
    "many_runs",
    "widths",
    "noise",
    "averages",
    "claims",
    "surfaces",
    "delayed_workers",
]
MARK = re.compile(r'^# %%(?P<kind> \[markdown\])?(?: tags=\["(?P<tag>\w+)"\])?$', re.MULTILINE)
THUMBNAIL = "thumbnail"


class Cell(NamedTuple):
    """A cell of a guide.

    Attributes:
      kind: "code" or "markdown".
      source: its text, as a notebook shows it.
      tag: `THUMBNAIL` of the cell whose first picture stands in the gallery, or "".
    """

    kind: str
    source: str
    tag: str = ""


class Guide(NamedTuple):
    """A guide by its name, `start_here` of `start_here.py`."""

    name: str

    @property
    def script(self) -> Path:
        return FOLDER / f"{self.name}.py"

    @property
    def notebook(self) -> Path:
        return FOLDER / f"{self.name}.ipynb"

    @property
    def thumbnail(self) -> Path:
        return FOLDER / "thumbnails" / f"{self.name}.png"

    def cells(self) -> list[Cell]:
        """The cells of the script as it stands."""
        return parse(self.script.read_text(encoding="utf-8"))

    def made(self) -> dict[str, Any]:
        """The notebook, as JSON has it."""
        return json.loads(self.notebook.read_text(encoding="utf-8"))

    def is_fresh(self) -> bool:
        """Whether the notebook was made of the script as it stands."""
        shown = [Cell(c["cell_type"], "".join(c["source"]), "".join(c["metadata"].get("tags", []))) for c in self.made()["cells"]]
        return shown == self.cells()


def guides() -> list[Guide]:
    """All of them, in the order in which they are read."""
    return [Guide(name) for name in ORDER]


def parse(text: str) -> list[Cell]:
    """The cells of a script in which each begins with `# %%`, or with `# %% [markdown]` and is a comment.

    Raises:
      ValueError: there is text above the first cell, or a line of text that is no comment.
    """
    marks = list(MARK.finditer(text))
    if not marks or text[: marks[0].start()].strip():
        raise ValueError("a guide begins with `# %%` or `# %% [markdown]`")
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return [_cell(mark, text[mark.end() : end].strip()) for mark, end in zip(marks, ends, strict=True)]


def _cell(mark: re.Match[str], body: str) -> Cell:
    if not mark["kind"]:
        return Cell("code", body, mark["tag"] or "")
    for line in body.splitlines():
        if not line.startswith("#"):
            raise ValueError(f"text is written as comments, but there is: {line}")
    return Cell("markdown", "\n".join(line.removeprefix("#").removeprefix(" ") for line in body.splitlines()), mark["tag"] or "")


def summary(guide: Guide) -> tuple[str, str]:
    """The title of a guide and its first paragraph, in one line each."""
    heading, _, rest = guide.cells()[0].source.partition("\n\n")
    return heading.removeprefix("# "), " ".join(rest.partition("\n\n")[0].split())


def gallery() -> str:
    """The guides as a table in Markdown: a thumbnail, the title, one line."""
    rows = []
    for guide in guides():
        title, line = summary(guide)
        link, picture = guide.notebook.relative_to(FOLDER.parent), guide.thumbnail.relative_to(FOLDER.parent)
        rows.append(f"| [![{title}]({picture})]({link}) | **[{title}]({link})**<br>{line} |")
    return "\n".join(["| | |", "|---|---|", *rows])
