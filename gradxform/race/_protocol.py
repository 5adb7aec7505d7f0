"""How one optimizer is tuned and tried. The same budget for all; `race` in `_runner.py` sets them against each other.

1. Rates half a decade apart, around a centre declared by the optimizer, each run once on the tuning seed.
2. While the best rate is at the edge, the grid slides until it is in the middle: at most twice.
3. The top third of the rates on fresh seeds. The best median of the final validation losses is the optimizer's result.

A loss that is not finite counts as infinitely bad.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import jax
import numpy as np

from gradxform.race._contestants import Contestant
from gradxform.race._results import Result
from gradxform.race._trainer import TUNING_SEED, Job, Run, Trainer, Updater

SPACING = 0.5  # decades
MOST_SLIDES = 2
GOOD = 0.25  # a rate is good when its loss is within this fraction of the best


@dataclasses.dataclass(frozen=True)
class Grid:
    """The rates that were tried on the tuning seed.

    Attributes:
      centre: the rate at exponent 0.
      losses: final validation loss by exponent, in steps of `SPACING` decades.
      slides: how often the grid was moved.
    """

    centre: float
    losses: dict[int, float]
    slides: int

    def rate(self, exponent: int) -> float:
        return float(f"{self.centre * 10 ** (SPACING * exponent):.3g}")

    @property
    def best(self) -> int:
        return min(sorted(self.losses), key=self.losses.__getitem__)

    @property
    def edge(self) -> str:
        """`low` or `high` when the best rate is the outermost that was tried."""
        if len(self.losses) > 1 and self.best == min(self.losses):
            return "low"
        return "high" if len(self.losses) > 1 and self.best == max(self.losses) else ""

    @property
    def trials(self) -> list[tuple[float, float]]:
        """(rate, loss) pairs, by rate."""
        return [(self.rate(e), self.losses[e]) for e in sorted(self.losses)]

    def top(self, count: int) -> list[float]:
        """The `count` best rates, by rate."""
        return [self.rate(e) for e in sorted(sorted(self.losses, key=self.losses.__getitem__)[:count])]

    @property
    def good_decades(self) -> float:
        """How wide the range of rates is, around the best, whose loss is within `GOOD` of the best loss."""
        least = self.losses[self.best]
        if not math.isfinite(least):
            return 0.0
        good = {e for e, loss in self.losses.items() if loss <= least + GOOD * abs(least)}
        low = high = self.best
        while low - 1 in good:
            low -= 1
        while high + 1 in good:
            high += 1
        return SPACING * (high - low + 1)


def tune(try_rates: Callable[[Sequence[float]], Sequence[float]], centre: float, count: int) -> Grid:
    """Try `count` rates around `centre`, and slide the grid while the best is at its edge."""
    grid = Grid(centre, {}, 0)
    wanted = range(-(count // 2), count - count // 2)
    while True:
        new = [e for e in wanted if e not in grid.losses]
        grid.losses.update(zip(new, try_rates([grid.rate(e) for e in new]), strict=True))
        if not grid.edge or grid.slides == MOST_SLIDES:
            return grid
        grid = dataclasses.replace(grid, slides=grid.slides + 1)
        wanted = range(grid.best - count // 2, grid.best + count - count // 2)


class Watch:
    """Hears how the race goes on; this one ignores it."""

    def expect(self, runs: int) -> None:
        """So many more runs than announced will be done."""

    def begin(self, label: str, phase: str) -> None:
        """A contestant enters a phase."""

    def done(self, label: str, runs: int) -> None:
        """Some of its runs are done."""

    def finish(self, result: Result) -> None:
        """A contestant has finished, or failed."""


def compete(contestant: Contestant, trainer: Trainer, watch: Watch) -> Result:
    """Tune one contestant, run it on the fresh seeds, and sum up."""
    settings, updater = trainer.settings, Updater(contestant, trainer.problem.loss)

    def try_rates(rates: Sequence[float]) -> list[float]:
        if len(rates) < settings.rates:
            watch.expect(len(rates))
        runs = trainer.train(updater, [Job(rate, TUNING_SEED) for rate in rates], only_final=True)
        watch.done(contestant.label, len(runs))
        return [run.losses[-1] for run in runs]

    watch.begin(contestant.label, f"tuning, {settings.rates} rates")
    grid = tune(try_rates, contestant.centre(trainer.problem.rates_of or settings.problem), settings.rates)
    rates = grid.top(settings.finalists)
    watch.begin(contestant.label, f"top {len(rates)} rates x {settings.seeds} seeds")
    finals: dict[float, list[Run]] = {}
    for rate in rates:
        finals[rate] = trainer.train(updater, [Job(rate, TUNING_SEED + 1 + i) for i in range(settings.seeds)])
        watch.done(contestant.label, settings.seeds)
    return _summary(updater, trainer, grid, finals)


def _summary(updater: Updater, trainer: Trainer, grid: Grid, finals: dict[float, list[Run]]) -> Result:
    best = min(finals, key=lambda rate: float(np.median([run.losses[-1] for run in finals[rate]])))
    runs, at = finals[best], trainer.settings.evaluated_at
    return Result(
        label=updater.contestant.label,
        rate=best,
        losses=[run.losses[-1] for run in runs],
        curves=[run.losses for run in runs],
        final=[run.scores[-1] for run in runs],
        reached=_steps_to(trainer.problem.target, runs, at),
        trials=grid.trials,
        finals=[(rate, [run.losses[-1] for run in some]) for rate, some in finals.items()],
        runs=len(grid.losses) + sum(map(len, finals.values())),
        edge=grid.edge,
        good_decades=grid.good_decades,
        state_bytes=_state_bytes(updater, trainer),
    )


def _steps_to(target: float | None, runs: Sequence[Run], at: Sequence[int]) -> list[int | None]:
    """Per seed, the step at which the validation loss was first at or below the target; None: it never was."""
    if target is None:
        return []
    return [next((step for step, loss in zip(at, run.losses, strict=True) if loss <= target), None) for run in runs]


def _state_bytes(updater: Updater, trainer: Trainer) -> float:
    """Bytes of optimizer state per parameter."""
    state = jax.eval_shape(updater.init, trainer.start(TUNING_SEED))
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state)) / trainer.size
