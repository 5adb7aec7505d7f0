"""Optimizers over several problems: who is fast to the target most often.

On each problem an optimizer's time is that of its steps to the target (the median over seeds, times the time of a step), and its ratio is
that time over the best optimizer's. The profile is the share of problems on which the ratio is at most tau, and the score its mean over
tau from 1 to `WORST`, as in AlgoPerf (Dahl et al. 2023, arXiv:2306.07179). A target that is missed is never reached: its ratio is
infinite. A problem that has no target, or whose target nobody reaches, says nothing and is left out.
"""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gradxform.race import _panels
from gradxform.race._extras import extra
from gradxform.race._figure import DPI, new_figure
from gradxform.race._fit import Heading, Row, fitted
from gradxform.race._records import write_csv
from gradxform.race._results import Cell, Result, Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console
    from rich.table import Table

WORST = 4.0


@dataclasses.dataclass(frozen=True)
class Profile:
    """How optimizers compare over problems.

    Attributes:
      seconds: to the target, by optimizer and by problem; infinite where it is missed.
      left_out: problems that say nothing.
    """

    seconds: Mapping[str, Mapping[str, float]]
    left_out: Sequence[str] = ()

    @property
    def problems(self) -> list[str]:
        return list(next(iter(self.seconds.values()), {}))

    @property
    def ratios(self) -> dict[str, dict[str, float]]:
        """Seconds over the best optimizer's."""
        best = {p: min(times[p] for times in self.seconds.values()) for p in self.problems}
        return {name: {p: times[p] / best[p] for p in best} for name, times in self.seconds.items()}

    @property
    def scores(self) -> dict[str, float]:
        """The mean height of the profile between 1 and `WORST`: 1 is best on every problem, 0 never near it; the best first."""
        means = {
            name: float(np.mean([max(0.0, (WORST - x) / (WORST - 1)) for x in of.values()])) for name, of in self.ratios.items()
        }
        return dict(sorted(means.items(), key=lambda item: -item[1]))

    def records(self) -> list[dict[str, Cell]]:
        """A row per optimizer: its score, and its seconds to each target."""
        return [
            {"optimizer": name, "score": score, **{p: x if math.isfinite(x) else None for p, x in self.seconds[name].items()}}
            for name, score in self.scores.items()
        ]

    def table(self, width: int) -> tuple[Table, list[str]]:
        headings = [Heading("optimizer"), Heading("score"), *(Heading(f"{p}\nseconds", i + 1) for i, p in enumerate(self.problems))]
        rows = []
        for name, score in self.scores.items():
            rows.append(
                Row([name, f"{score:.2f}", *(f"{x:.3g}" if math.isfinite(x) else "-" for x in self.seconds[name].values())])
            )
        return fitted(headings, rows, width)

    def show(self, screen: Console) -> None:
        """Print the table and what it means."""
        made, no_room = self.table(screen.width)
        screen.print(made)
        if no_room:
            screen.print(f"No room here for: {', '.join(no_room)}.", markup=False)
        screen.print(
            f"Seconds to the target of each problem; the score is the mean share of problems on which that is within tau times the best, "
            f"tau from 1 to {WORST:g}.",
            markup=False,
        )
        if self.left_out:
            screen.print(f"Left out, since there is no target or nobody reached it: {', '.join(self.left_out)}.", markup=False)

    def __str__(self) -> str:
        screen = extra("rich.console").Console(file=io.StringIO(), highlight=False, force_jupyter=False, color_system=None)
        self.show(screen)
        return screen.file.getvalue().rstrip("\n")

    def plot(self, path: str | Path | None = None) -> Figure:
        """The profiles as steps, the six best coloured; saved where a path is given."""
        figure = new_figure(8, 5)
        axes = figure.subplots()
        for rank, name in reversed(list(enumerate(self.scores))):
            ratios = sorted(self.ratios[name].values())
            places = [1.0, *(x for x in ratios if x <= WORST), WORST]
            heights = [sum(x <= place for x in ratios) / len(ratios) for place in places]
            coloured = rank < len(_panels.COLOURS)
            width = 1.6 + 0.4 * (len(_panels.COLOURS) - rank) if coloured else 1.0  # equal profiles are seen through each other
            named = _panels.label(name) if coloured else None
            axes.plot(places, heights, color=_panels.colour(rank), lw=width, drawstyle="steps-post", label=named)
        axes.set(xlim=(1, WORST), ylim=(-0.02, 1.02), xlabel="tau: seconds to the target / the best's", ylabel="share of problems")
        axes.set_title(f"Performance profile over {', '.join(self.problems)}", fontsize=11)
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(handles[::-1], labels[::-1], frameon=False, fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
        if path is not None:
            figure.savefig(path, dpi=DPI)
        return figure


def profile(races: Sequence[Results]) -> Profile:
    """Compare the optimizers that took part in every one of these races.

    Args:
      races: results on different problems.

    >>> one = gx.race.run("quadratic", "sgd,adam", steps=10, seeds=1, rates=1, quiet=True)
    >>> profile = gx.race.profile([one])
    """
    labels = [label for label in races[0] if all(label in race and not race[label].failed for race in races)]
    seconds: dict[str, dict[str, float]] = {label: {} for label in labels}
    left_out = []
    for race in races:
        times = {label: _seconds(race[label]) for label in labels}
        if not any(map(math.isfinite, times.values())):
            left_out.append(race.settings.problem)
            continue
        for label, time in times.items():
            seconds[label][race.settings.problem] = time
    return Profile(seconds, left_out)


def _seconds(r: Result) -> float:
    return math.inf if r.steps_to_target is None or r.step_us is None else r.steps_to_target * r.step_us * 1e-6


def report(races: Sequence[Results], folder: Path, screen: Console, figure: bool) -> None:
    """Print and save the profile of races that a command has run."""
    made = profile(races)
    if not made.problems:
        return
    screen.print("\nover all problems", style="bold")
    made.show(screen)
    folder.mkdir(parents=True, exist_ok=True)
    table = write_csv(made.records(), folder / "profile.csv")
    screen.print(f"\ntable:   {table}", markup=False, soft_wrap=True)
    if figure:
        made.plot(folder / "profile.png")
        screen.print(f"figure:  {folder / 'profile.png'}", markup=False, soft_wrap=True)
