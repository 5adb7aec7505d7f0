"""A table that fits the terminal: names and numbers stay whole, and columns leave in the order of their importance."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from gradxform.race._extras import extra

if TYPE_CHECKING:
    from rich.table import Table

LONG = 32  # a longer name has several lines where there is no room for all columns
LEAST_NAME = 20
EVERYTHING = 10_000  # columns


class Heading(NamedTuple):
    """The head of a column.

    Attributes:
      text: one or two lines.
      leaves: the order in which columns leave where there is no room: the greatest first; 0 stays.
    """

    text: str
    leaves: int = 0


class Row(NamedTuple):
    """A row of the table.

    Attributes:
      cells: one for each column; a failure has fewer.
      style: in rich's words.
      ends: whether a line is drawn below it.
    """

    cells: Sequence[str]
    style: str = ""
    ends: bool = False


def fitted(headings: Sequence[Heading], rows: Sequence[Row], width: int, names: int = 0) -> tuple[Table, list[str]]:
    """The table with the columns for which there is room, and the headings of the others.

    Args:
      headings: of all columns.
      rows: with a cell for each.
      width: of the terminal.
      names: which column has the names; it, and those before it, are aligned to the left.
    """
    kept, left_out = list(range(len(headings))), []
    made = _table(headings, rows, kept, names, wide=True)
    if _width(made) > width:
        rows = [row._replace(cells=[*row.cells[:names], broken(row.cells[names], LONG), *row.cells[names + 1 :]]) for row in rows]
        made = _table(headings, rows, kept, names)
    while (
        (needed := _width(made)) > width and (leaving := max(kept, key=lambda i: headings[i].leaves)) and headings[leaving].leaves
    ):
        kept.remove(leaving)
        left_out.append(leaving)
        made = _table(headings, rows, kept, names)
    if needed > width:  # the name goes on where its line ends, and is not cut
        column = made.columns[kept.index(names)]
        longest = max((len(line) for row in rows for line in row.cells[names].splitlines()), default=0)
        column.width, column.no_wrap, column.overflow = max(LEAST_NAME, longest - (needed - width)), False, "fold"
    return made, [" ".join(headings[i].text.split()) for i in sorted(left_out)]


def broken(name: str, width: int) -> str:
    """A name in lines of about this width, broken after commas, or where that is too long after a bracket."""
    lines, pieces = [""], re.split(r"(?<=,)", name)
    for piece in (part for p in pieces for part in (re.split(r"(?<=\()", p, maxsplit=1) if len(p) > width else [p])):
        if lines[-1].strip() and len(lines[-1]) + len(piece) > width:
            lines.append("  ")
        lines[-1] += piece
    return "\n".join(lines)


def _width(made: Table) -> int:
    console = extra("rich.console").Console(width=EVERYTHING)
    return extra("rich.measure").Measurement.get(console, console.options, made).maximum


def _table(headings: Sequence[Heading], rows: Sequence[Row], kept: Sequence[int], names: int, wide: bool = False) -> Table:
    rich_table, box, text = extra("rich.table"), extra("rich.box"), extra("rich.text")
    made = rich_table.Table(box=box.SIMPLE_HEAD, padding=(0, int(wide), 0, 0), show_edge=False)
    two = any("\n" in headings[i].text for i in kept)
    for i in kept:
        heading = headings[i].text
        low = heading if "\n" in heading or not two else f"\n{heading}"
        made.add_column(low, justify="left" if i <= names else "right", no_wrap=True)
    for row in rows:
        cells = [text.Text(row.cells[i]) if i < len(row.cells) else "" for i in kept]
        made.add_row(*cells, style=row.style, end_section=row.ends)
    return made
