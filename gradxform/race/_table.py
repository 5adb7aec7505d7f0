"""The table of a race, and what it means in words."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gradxform.race import _ties
from gradxform.race._contestants import choose
from gradxform.race._extras import extra
from gradxform.race._protocol import GOOD
from gradxform.race._results import Result, ranked
from gradxform.race._settings import Settings, schedule

if TYPE_CHECKING:
    from rich.table import Table

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
COLUMNS = (
    "tie", "optimizer", "validation\nloss", "range\nover seeds", "held-out\nloss", "held-out\naccuracy", "steps to\ntarget",
    "us per\nstep", "state\nB/param", "runs", "learning\nrate", f"decades\nwithin {GOOD:.0%}",
)  # fmt: skip


def letter(group: int) -> str:
    """A, B, ..., Z, then numbers."""
    return LETTERS[group] if group < len(LETTERS) else str(group + 1)


def groups_of(results: Sequence[Result]) -> list[list[Result]]:
    """The results that are not failures in tie groups, best first."""
    by_label = {r.label: r for r in ranked(list(results))}
    return [[by_label[name] for name in group] for group in _ties.tie_groups({k: r.losses for k, r in by_label.items()})]


def number(x: float | None) -> str:
    """Three digits; `-` for what is not known."""
    if x is None or math.isnan(x):
        return "-"
    return f"{x:.3g}" if math.isfinite(x) else "diverged"


def table(results: Sequence[Result]) -> Table:
    """A rich table of results: by tie group, failures last; columns in which no one has a value are left out."""
    rows = [_row(r, letter(i)) for i, group in enumerate(groups_of(results)) for r in group]
    return _rich_table(rows, [r for r in results if r.failed])


def standings(results: Sequence[Result]) -> Table:
    """As `table` while the race still runs: no tie groups yet."""
    return _rich_table([_row(r, "") for r in ranked(list(results))], [r for r in results if r.failed])


def _row(r: Result, tie: str) -> list[str]:
    finite = [x for x in r.losses if math.isfinite(x)]
    span = f"{number(min(r.losses))} - {number(max(r.losses))}" if finite else ""
    accuracy = r.score("test_acc")
    return [
        tie,
        r.label,
        number(r.median),
        span,
        number(r.score("test_loss")),
        "-" if accuracy is None else f"{accuracy:.1%}",
        number(r.steps_to_target) if r.steps_to_target is None else f"{r.steps_to_target:.0f}",
        "-" if r.step_us is None else f"{r.step_us:.0f}",
        f"{r.state_bytes:.2f}",
        str(r.runs),
        {"low": "<= ", "high": ">= "}.get(r.edge, "") + number(r.rate),
        f"{r.good_decades:.1f}",
    ]


def _rich_table(rows: list[list[str]], failures: Sequence[Result]) -> Table:
    rich_table, box, text = extra("rich.table"), extra("rich.box"), extra("rich.text")
    made = rich_table.Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    kept = [i for i in range(len(COLUMNS)) if i < 2 or not rows or any(row[i] not in ("-", "") for row in rows)]
    for i in kept:
        made.add_column(COLUMNS[i], justify="left" if i < 2 else "right", no_wrap=i != 1, overflow="fold")  # a long name folds
    for n, row in enumerate(rows):
        last = n + 1 == len(rows) or rows[n + 1][0] != row[0]
        style = "bold" if row[0] == "A" else ""
        made.add_row(*[text.Text(row[i]) for i in kept], style=style, end_section=last and n + 1 < len(rows))
    for r in failures:
        made.add_row("", text.Text(r.label), text.Text("failed"), style="red")
    return made


def remarks(results: Sequence[Result]) -> list[str]:
    """What the table needs to be understood."""
    lines = [f"{r.label} failed: {r.failed}" for r in results if r.failed]
    if any(r.edge for r in results):
        lines.append("<=, >=: the best rate was still at the edge after the grid had slid twice; a better one may lie beyond.")
    if any(r.losses and not all(map(math.isfinite, r.losses)) for r in results):
        lines.append("diverged: the loss was not finite, which counts as infinitely bad.")
    return lines


def verdict(results: Sequence[Result], settings: Settings) -> list[str]:
    """Who is best, which of those is cheapest, and the line of code that makes it."""
    groups = groups_of(results)
    if not groups or not math.isfinite(groups[0][0].median):
        return ["No optimizer reached a finite loss."]
    best = groups[0]
    how = f"{_ties.DESCRIPTION}, {settings.seeds} fresh seeds"
    tied = f"Tied for best: {_listed([r.label for r in best])}" if len(best) > 1 else f"Best: {best[0].label}"
    lines = [f"{tied} ({how})."]
    chosen = min(best, key=lambda r: (round(r.state_bytes, 2), r.step_us or 0.0))
    if settings.seeds < _ties.SEEDS_NEEDED:
        lines.append(
            f"So few seeds cannot tell two optimizers apart, {_ties.SEEDS_NEEDED} can; the line below is the best median's."
        )
        chosen = best[0]
    elif len(best) > 1:
        lines.append(f"Cheapest of them in memory: {chosen.label}, {chosen.state_bytes:.2f} bytes of state per parameter.")
        lines += _fastest(best)
    return [*lines, "", f"    tx = {code(chosen, settings)}"]


def _fastest(results: Sequence[Result]) -> list[str]:
    times = {r.label: r.step_us for r in results if r.step_us is not None}
    if not times:
        return []
    label = min(times, key=times.__getitem__)
    return [f"Fastest of them: {label}, {times[label]:.0f} us per step."]


def code(result: Result, settings: Settings) -> str:
    """The line that makes a result's optimizer with its schedule."""
    (contestant,) = choose(result.label)
    made = contestant.code(schedule(settings.schedule, result.rate, settings.steps))
    return re.sub(r"(\w+_schedules?\()", r"gradxform.\1", made)


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"
