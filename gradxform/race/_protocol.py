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
from gradxform.race._idle import idle
from gradxform.race._results import SEEDS, Result
from gradxform.race._settings import schedule
from gradxform.race._trainer import TUNING_SEED, Job, Run, Trainer, Updater
from gradxform.race._words import counted

SPACING = 0.5  # decades
AS_IT_IS = 1.0  # stands for the rate of an optimizer that takes none
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
        """So many more runs, or rounds, than announced will be done."""

    def begin(self, label: str, phase: str) -> None:
        """A contestant enters a phase."""

    def done(self, label: str, runs: int) -> None:
        """Some of its runs are done."""

    def finish(self, result: Result) -> None:
        """A contestant has finished, or failed."""

    def timing(self, rounds: int) -> None:
        """The contestants are done; their step times are measured in so many rounds."""

    def timed(self) -> None:
        """A round is over."""


def compete(contestant: Contestant, trainer: Trainer, watch: Watch) -> Result:
    """Tune one contestant, run it on the fresh seeds, and sum up. One without a free learning rate is run as it is."""
    settings, updater = trainer.settings, Updater(contestant, trainer.problem.loss)

    def try_rates(rates: Sequence[float]) -> list[float]:
        if len(rates) < settings.rates:
            watch.expect(len(rates))
        runs = trainer.train(updater, [Job(rate, TUNING_SEED) for rate in rates], only_final=True)
        watch.done(contestant.label, len(runs))
        return [run.losses[-1] for run in runs]

    grid, rates = None, [AS_IT_IS]
    if contestant.tuned:
        watch.begin(contestant.label, f"tuning, {counted(settings.rates, 'rate')}")
        grid = tune(try_rates, contestant.centre(trainer.problem.rates_of or trainer.problem.name), settings.rates)
        rates = grid.top(settings.finalists)
    tried = f"{'as it is' if grid is None else 'best rate'}" if len(rates) == 1 else f"top {len(rates)} rates"
    watch.begin(contestant.label, f"{tried} x {counted(settings.seeds, 'seed')}")
    finals: dict[float, list[Run]] = {}
    for rate in rates:
        finals[rate] = trainer.train(updater, [Job(rate, seed) for seed in SEEDS[: settings.seeds]])
        watch.done(contestant.label, settings.seeds)
    return _summary(updater, trainer, grid, finals)


def _summary(updater: Updater, trainer: Trainer, grid: Grid | None, finals: dict[float, list[Run]]) -> Result:
    best = min(finals, key=lambda rate: float(np.median([run.losses[-1] for run in finals[rate]])))
    runs, settings, contestant = finals[best], trainer.settings, updater.contestant
    accuracies = [run.values("acc") for run in runs]
    start = trainer.start(TUNING_SEED)
    result = Result(
        label=contestant.label,
        code=contestant.code(schedule(settings.schedule, best, settings.steps)),
        modules=list(contestant.expression.modules),
        losses=[run.losses[-1] for run in runs],
        curves=[run.losses for run in runs],
        accuracies=accuracies if all(accuracies) else [],
        final=[run.scores[-1] for run in runs],
        reached=_steps_to(trainer.problem.target, runs, settings.evaluated_at),
        finals=[(rate, [run.losses[-1] for run in some]) for rate, some in finals.items()],
        runs=sum(map(len, finals.values())),
        idle=idle(contestant.make(1.0), updater.init(start)),
        state_bytes=_state_bytes(updater, trainer),
    )
    if grid is None:
        return result
    return dataclasses.replace(
        result, rate=best, trials=grid.trials, runs=result.runs + len(grid.losses), edge=grid.edge, good_decades=grid.good_decades
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
