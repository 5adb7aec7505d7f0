"""The table of a race: its columns, and what stands in them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from gradxform.race import _ties
from gradxform.race._fit import Heading, Row, fitted
from gradxform.race._protocol import GOOD
from gradxform.race._results import Result, ranked

if TYPE_CHECKING:
    from rich.table import Table

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
EDGES = {"low": "<= ", "high": ">= "}


def letter(group: int) -> str:
    """A, B, ..., Z, then numbers."""
    return LETTERS[group] if group < len(LETTERS) else str(group + 1)


def groups_of(results: Iterable[Result]) -> list[list[Result]]:
    """The results that are not failures in tie groups, best first."""
    by_label = {r.label: r for r in ranked(results)}
    return [[by_label[name] for name in group] for group in _ties.tie_groups({k: r.losses for k, r in by_label.items()})]


def number(x: float | None) -> str:
    """Three digits; `-` for what is not known."""
    if x is None or math.isnan(x):
        return "-"
    return f"{x:.3g}" if math.isfinite(x) else "diverged"


def span(r: Result) -> str:
    """The range of the losses over the seeds."""
    return f"{number(min(r.losses))} - {number(max(r.losses))}" if any(map(math.isfinite, r.losses)) else "-"


def step_time(r: Result) -> str:
    """Microseconds, and half the width of the range that holds the middle half of the rounds."""
    if r.step_us is None:
        return "-"
    stray = "" if r.step_range is None else f" ±{(r.step_range[1] - r.step_range[0]) / 2:.0f}"
    return f"{r.step_us:.0f}{stray}"


def share(x: float | None) -> str:
    """A fraction in per cent."""
    return "-" if x is None else f"{x:.1%}"


class Column(NamedTuple):
    """A column of the table: its head, and a result's text."""

    heading: Heading
    cell: Callable[[Result], str]


COLUMNS = (
    Column(Heading("loss"), lambda r: number(r.median)),
    Column(Heading("range\nover seeds", 4), span),
    Column(Heading("held-out\nloss", 8), lambda r: number(r.score("test_loss"))),
    Column(Heading("held-out\naccuracy", 7), lambda r: share(r.score("test_acc"))),
    Column(Heading("steps to\ntarget", 3), lambda r: "-" if r.steps_to_target is None else f"{r.steps_to_target:.0f}"),
    Column(Heading("us per\nstep", 5), step_time),
    Column(Heading("state\nB/param", 6), lambda r: "-" if math.isnan(r.state_bytes) else f"{r.state_bytes:.2f}"),
    Column(Heading("runs", 9), lambda r: str(r.runs)),
    Column(Heading("learning\nrate", 1), lambda r: EDGES.get(r.edge, "") + number(r.rate)),
    Column(Heading(f"decades\nwithin {GOOD:.0%}", 10), lambda r: f"{r.good_decades:.1f}" if r.trials else "-"),
)


def table(results: Iterable[Result], width: int) -> tuple[Table, list[str]]:
    """The results by tie group, failures last, and the headings of the columns for which there was no room."""
    results = list(results)
    rows = [(letter(i), r) for i, group in enumerate(groups_of(results)) for r in group]
    return _fitted(rows, [r for r in results if r.failed], width)


def standings(results: Iterable[Result], width: int) -> Table:
    """The same while the race still runs: no tie groups yet."""
    results = list(results)
    return _fitted([("", r) for r in ranked(results)], [r for r in results if r.failed], width)[0]


def _fitted(placed: Sequence[tuple[str, Result]], failures: Sequence[Result], width: int) -> tuple[Table, list[str]]:
    columns = [c for c in COLUMNS if any(c.cell(r) != "-" for _, r in placed)]
    headings = [Heading("tie" if any(tie for tie, _ in placed) else ""), Heading("optimizer"), *(c.heading for c in columns)]
    rows = []
    for (tie, r), following in zip(placed, [*(tie for tie, _ in placed), None][1:], strict=True):
        cells = [tie, r.label, *(c.cell(r) for c in columns)]
        rows.append(Row(cells, "bold" if tie == "A" else "", ends=following not in (None, tie)))
    rows += [Row(["", f"{r.label} failed"], "red") for r in failures]
    return fitted(headings, rows, width, names=1)
