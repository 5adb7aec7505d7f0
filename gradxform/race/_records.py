"""Results as rows of plain values, for tables elsewhere: CSV, pandas."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from gradxform._errors import UnknownNameError
from gradxform.race._results import SEEDS, Cell, Results
from gradxform.race._table import groups_of, letter

Row = dict[str, Cell]


def records(results: Results, what: str) -> list[Row]:
    """The rows of one kind; a value that is not known is None, and so is a loss that is not finite."""
    if what not in KINDS:
        raise UnknownNameError(f"race: there are no records of {what!r}; there are {', '.join(KINDS)}.")
    return [{k: _known(v) for k, v in row.items()} for row in KINDS[what](results)]


def _known(x: Cell) -> Cell:
    return None if isinstance(x, float) and not math.isfinite(x) else x


def _summary(results: Results) -> Iterator[Row]:
    groups = groups_of(results.values())
    failed = [(None, r) for r in results.values() if r.failed]
    scores = list(dict.fromkeys(k for r in results.values() for s in r.final for k in s if k != "loss"))
    for tie, r in [*((letter(i), r) for i, group in enumerate(groups) for r in group), *failed]:
        low, high = r.step_range or (None, None)
        yield {
            "optimizer": r.label,
            "tie": tie,
            "loss": r.median,
            "loss_min": min(r.losses, default=None),
            "loss_max": max(r.losses, default=None),
            **{score: r.score(score) for score in scores},
            "steps_to_target": r.steps_to_target,
            "step_us": r.step_us,
            "step_us_low": low,
            "step_us_high": high,
            "state_bytes_per_parameter": r.state_bytes,
            "runs": r.runs,
            "learning_rate": r.rate,
            "edge": r.edge or None,
            "good_decades": r.good_decades if r.trials else None,
            "failed": r.failed or None,
            "code": r.code or None,
        }


def _runs(results: Results) -> Iterator[Row]:
    for r in results.values():
        reached = r.reached or [None] * len(r.losses)
        for seed, loss, scores, steps in zip(SEEDS, r.losses, r.final, reached, strict=False):
            yield {"optimizer": r.label, "seed": seed, **scores, "loss": loss, "steps_to_target": steps}


def _curves(results: Results) -> Iterator[Row]:
    at = results.settings.evaluated_at
    for r in results.values():
        accuracies: Sequence[Sequence[float | None]] = r.accuracies or [[None] * len(at)] * len(r.curves)
        for seed, losses, of_seed in zip(SEEDS, r.curves, accuracies, strict=False):
            for step, loss, accuracy in zip(at, losses, of_seed, strict=True):
                seconds = None if r.step_us is None else 1e-6 * step * r.step_us
                yield {"optimizer": r.label, "seed": seed, "step": step, "seconds": seconds, "loss": loss, "acc": accuracy}


def _trials(results: Results) -> Iterator[Row]:
    for r in results.values():
        yield from ({"optimizer": r.label, "learning_rate": rate, "loss": loss} for rate, loss in r.trials)


KINDS: dict[str, Callable[[Results], Iterator[Row]]] = {"summary": _summary, "runs": _runs, "curves": _curves, "trials": _trials}


def write_csv(rows: Sequence[Row], path: Path) -> Path:
    """Write rows that have the same keys."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)
    return path
