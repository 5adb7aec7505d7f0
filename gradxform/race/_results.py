"""Results on disk: `results.json` in the output folder, saved after each optimizer, read again by `--resume`."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from gradxform._errors import GradxformError
from gradxform.race._settings import Settings

FORMAT = 1


class ResumeError(GradxformError, ValueError):
    """The saved results cannot be continued."""


@dataclasses.dataclass
class Result:
    """What one optimizer did. A loss that is not finite is infinite here and null on disk.

    Attributes:
      label: its name, with arguments if the user gave some.
      rate: the best learning rate (the schedule's peak).
      losses: final validation loss per fresh seed, at that rate.
      curves: validation losses per seed, at the settings' `evaluated_at`.
      final: all final scores per seed, held-out ones included.
      reached: per seed, steps to the problem's target; None: never.
      trials: (rate, loss) on the tuning seed.
      finals: (rate, losses per fresh seed) of the top third.
      runs: how many runs all that took.
      edge: `low` or `high` if tuning ended at the edge of the grid.
      good_decades: width of the range of good rates.
      state_bytes: optimizer state per parameter.
      step_us: microseconds per step of one run, measured alone; None: not yet.
      failed: why there is no result; then all else is empty.
    """

    label: str
    rate: float = math.nan
    losses: list[float] = dataclasses.field(default_factory=list)
    curves: list[list[float]] = dataclasses.field(default_factory=list)
    final: list[dict[str, float]] = dataclasses.field(default_factory=list)
    reached: list[int | None] = dataclasses.field(default_factory=list)
    trials: list[tuple[float, float]] = dataclasses.field(default_factory=list)
    finals: list[tuple[float, list[float]]] = dataclasses.field(default_factory=list)
    runs: int = 0
    edge: str = ""
    good_decades: float = 0.0
    state_bytes: float = math.nan
    step_us: float | None = None
    failed: str = ""

    @property
    def median(self) -> float:
        """The median final validation loss, by which optimizers are ranked."""
        return float(np.median(self.losses)) if self.losses else math.inf

    @property
    def steps_to_target(self) -> float | None:
        """The median over seeds; None when at least half of them miss."""
        steps = float(np.median([math.inf if s is None else s for s in self.reached])) if self.reached else math.inf
        return steps if math.isfinite(steps) else None

    def score(self, name: str) -> float | None:
        """The median over seeds of a final score; None when the problem does not give it."""
        values = [s[name] for s in self.final if name in s]
        return float(np.median(values)) if values else None


def ranked(results: list[Result]) -> list[Result]:
    """Those with a result, the best first."""
    return sorted((r for r in results if not r.failed), key=lambda r: r.median)


class Store:
    """The results of a race so far, and the file that they are saved in.

    With `resume`, results of the same settings are taken over, except failures.

    Raises:
      ResumeError: the saved results are of other settings, or not readable.
    """

    def __init__(self, folder: Path, settings: Settings, resume: bool = False):
        self.path, self.settings = folder / "results.json", settings
        self.results: dict[str, Result] = {}
        if resume and self.path.exists():
            self.results = {r.label: r for r in self._read() if not r.failed}
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, result: Result) -> None:
        self.results[result.label] = result
        self.save()

    def save(self) -> None:
        """Write the file anew, in one stroke."""
        content = {
            "format": FORMAT,
            "settings": dataclasses.asdict(self.settings),
            "evaluated_at": self.settings.evaluated_at,
            "results": [dataclasses.asdict(r) for r in self.results.values()],
        }
        draft = self.path.with_suffix(".part")
        draft.write_text(json.dumps(_finite(content), indent=1, allow_nan=False), encoding="utf-8")
        draft.replace(self.path)

    def _read(self) -> list[Result]:
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            theirs, results = content["settings"], [_result(r) for r in content["results"]]
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise ResumeError(
                f"--resume: {self.path} is not a file of race results ({e}). Remove it, or choose another --out."
            ) from e
        ours = dataclasses.asdict(self.settings)
        other = [f"{k} was {theirs.get(k)!r} and is now {v!r}" for k, v in ours.items() if theirs.get(k) != v]
        if other:
            raise ResumeError(
                f"--resume: {self.path} holds results of other settings, which cannot be compared: {'; '.join(other)}. "
                "Give the same settings, or another --out, or leave out --resume to start anew."
            )
        return results


def _finite(x: object) -> object:
    """The same data with null for each number that JSON cannot hold."""
    if isinstance(x, dict):
        return {k: _finite(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [_finite(v) for v in x]
    return None if isinstance(x, float) and not math.isfinite(x) else x


def _result(saved: dict[str, Any]) -> Result:
    """A result as it was before `_finite`."""
    back = lambda x: math.inf if x is None else float(x)
    fields = dict(saved)
    fields["rate"] = math.nan if saved["rate"] is None else saved["rate"]
    fields["state_bytes"] = math.nan if saved["state_bytes"] is None else saved["state_bytes"]
    fields["losses"] = [back(x) for x in saved["losses"]]
    fields["curves"] = [[back(x) for x in curve] for curve in saved["curves"]]
    fields["final"] = [{k: math.nan if v is None else v for k, v in s.items()} for s in saved["final"]]
    fields["trials"] = [(rate, back(loss)) for rate, loss in saved["trials"]]
    fields["finals"] = [(rate, [back(x) for x in losses]) for rate, losses in saved["finals"]]
    return Result(**fields)
