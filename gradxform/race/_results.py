"""What a race found, as data: a `Result` for each optimizer, and `Results`, which prints, draws, and is written in several forms."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradxform._errors import GradxformError
from gradxform.race._extras import extra
from gradxform.race._settings import Settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Cell = str | int | float | None

FORMAT = 2
SEEDS = range(1, 1000)  # the fresh seeds are the first of these; tuning has seed 0


class ResultsError(GradxformError, ValueError):
    """A file is not one of race results, or its race cannot be continued."""


@dataclasses.dataclass
class Result:
    """What one optimizer did. A loss that is not finite is infinite here and null on disk.

    Attributes:
      label: its name, with arguments if the user gave some.
      code: the line of Python that makes what was raced.
      modules: what that line needs to be imported.
      rate: the best learning rate (the schedule's peak); NaN: none was tuned.
      losses: final validation loss per fresh seed, at that rate.
      curves: validation losses per seed, at the settings' `evaluated_at`.
      accuracies: the same of the validation accuracy, if the problem gives it.
      final: all final scores per seed, held-out ones included.
      reached: per seed, steps to the problem's target; None: never.
      trials: (rate, loss) on the tuning seed.
      finals: (rate, losses per fresh seed) of the top third.
      runs: how many runs all that took.
      edge: `low` or `high` if tuning ended at the edge of the grid.
      good_decades: width of the range of good rates.
      state_bytes: optimizer state per parameter.
      idle: stages that have nothing to act on in the problem's parameters.
      step_us: microseconds per step of one run, measured alone, the median of several rounds; None: not yet.
      step_range: between these lie the middle half of the rounds.
      failed: why there is no result; then all else is empty.
    """

    label: str
    code: str = ""
    modules: list[str] = dataclasses.field(default_factory=list)
    rate: float = math.nan
    losses: list[float] = dataclasses.field(default_factory=list)
    curves: list[list[float]] = dataclasses.field(default_factory=list)
    accuracies: list[list[float]] = dataclasses.field(default_factory=list)
    final: list[dict[str, float]] = dataclasses.field(default_factory=list)
    reached: list[int | None] = dataclasses.field(default_factory=list)
    trials: list[tuple[float, float]] = dataclasses.field(default_factory=list)
    finals: list[tuple[float, list[float]]] = dataclasses.field(default_factory=list)
    runs: int = 0
    edge: str = ""
    good_decades: float = 0.0
    idle: list[str] = dataclasses.field(default_factory=list)
    state_bytes: float = math.nan
    step_us: float | None = None
    step_range: tuple[float, float] | None = None
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


def ranked(results: Iterable[Result]) -> list[Result]:
    """Those with a result, the best first."""
    return sorted((r for r in results if not r.failed), key=lambda r: r.median)


class Results(Mapping[str, Result]):
    """The results of a race by the names of the optimizers.

        results["adam"].median              one optimizer
        print(results)                      the table, and what it means
        results.plot()                      the figure
        results.to_pandas("curves")         as data frames
        results.to_html("report.html")      all of it in one file

    Attributes:
      settings: the budget, the same for all.
      sessions: when, with which versions and on which machine it ran; several where it was resumed.
      complete: whether all that were to run have.
    """

    def __init__(self, settings: Settings, sessions: Sequence[Mapping[str, str]] = (), complete: bool = True):
        self.settings, self.sessions, self.complete = settings, list(sessions), complete
        self._by_label: dict[str, Result] = {}

    def __getitem__(self, label: str) -> Result:
        return self._by_label[label]

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._by_label))

    def __len__(self) -> int:
        return len(self._by_label)

    def add(self, result: Result) -> None:
        """Put a result in, in the place of an earlier one of that optimizer."""
        self._by_label[result.label] = result

    @property
    def any_finished(self) -> bool:
        """Whether some optimizer reached a finite loss."""
        return any(math.isfinite(r.median) for r in self.values())

    def __repr__(self) -> str:
        best = ranked(self.values())[:1]
        ahead = f", ahead: {best[0].label}" if best else ""
        return f"<race of {len(self)} optimizers on {self.settings.problem}{ahead}>"

    def __str__(self) -> str:
        from gradxform.race import _verdict

        return _verdict.text(self)

    def _repr_html_(self) -> str:
        from gradxform.race import _html

        return _html.fragment(self)

    def plot(self, path: str | Path | None = None) -> Figure:
        """The figure of the race, which Matplotlib's user may change; saved as well where a path is given."""
        from gradxform.race import _figure

        return _figure.figure(self, path)

    def records(self, what: str = "summary") -> list[dict[str, Cell]]:
        """Rows of a table: of the `summary` (by optimizer), the `runs` (and seed), the `curves` (and step), or the `trials` (and rate)."""
        from gradxform.race import _records

        return _records.records(self, what)

    def to_pandas(self, what: str = "summary") -> Any:
        """`records` as a pandas `DataFrame`. Pandas is the user's to install."""
        return extra("pandas", install="pandas").DataFrame(self.records(what))

    def to_csv(self, path: str | Path, what: str = "summary") -> Path:
        """Write `records` as comma-separated values."""
        from gradxform.race import _records

        return _records.write_csv(self.records(what), Path(path))

    def to_html(self, path: str | Path) -> Path:
        """Write the whole report, the figure within it, as one file that needs no other."""
        from gradxform.race import _html

        return _html.write(self, Path(path))

    def to_json(self) -> str:
        """All of it, as `load` reads it."""
        content = {
            "format": FORMAT,
            "settings": dataclasses.asdict(self.settings),
            "sessions": self.sessions,
            "seeds": {"tuning": SEEDS[0] - 1, "fresh": list(SEEDS[: self.settings.seeds])},
            "evaluated_at": self.settings.evaluated_at,
            "complete": self.complete,
            "results": [dataclasses.asdict(r) for r in self.values()],
        }
        return json.dumps(_finite(content), indent=1, allow_nan=False)


def load(path: str | Path) -> Results:
    """The results in a file that a race has written, or in a folder's `results.json`.

    Args:
      path: of the file, or of the folder.

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = gx.race.run("quadratic", "sgd", steps=10, seeds=1, rates=1, out=folder, quiet=True)
    ...     list(gx.race.load(folder))
    ['sgd']

    Raises:
      ResultsError: it is not such a file.
    """
    path = Path(path)
    path = path / "results.json" if path.is_dir() else path
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        results = Results(Settings(**content["settings"]), content.get("sessions", ()), content.get("complete", True))
        for saved in content["results"]:
            results.add(_result(saved))
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise ResultsError(f"{path} is not a file of race results ({type(e).__name__}: {e}).") from e
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
    fields["step_range"] = tuple(saved["step_range"]) if saved.get("step_range") else None
    fields["losses"] = [back(x) for x in saved["losses"]]
    fields["curves"] = [[back(x) for x in curve] for curve in saved["curves"]]
    fields["accuracies"] = [[math.nan if x is None else x for x in curve] for curve in saved.get("accuracies", ())]
    fields["final"] = [{k: math.nan if v is None else v for k, v in s.items()} for s in saved["final"]]
    fields["trials"] = [(rate, back(loss)) for rate, loss in saved["trials"]]
    fields["finals"] = [(rate, [back(x) for x in losses]) for rate, losses in saved["finals"]]
    return Result(**fields)
