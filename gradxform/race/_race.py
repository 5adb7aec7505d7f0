"""A race from a program: `run`, and `load` for what one has saved.

import gradxform as gx
from gradxform import race

results = race.run("digits", {
    "adamw": "adamw",
    "clipped": "chain(clip_by_global_norm(1.0), adamw)",
    "mine": lambda rate: gx.chain(gx.clip(1.0), gx.sgd(rate, momentum=0.9)),
})
print(results)
results.plot("race.png")
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gradxform._errors import ProblemError
from gradxform.race import _runner
from gradxform.race._contestants import Contestant, Optimizers, choose
from gradxform.race._environment import data_of
from gradxform.race._problem import Problem, load
from gradxform.race._protocol import Watch
from gradxform.race._results import Results
from gradxform.race._settings import DESCRIPTIONS, Settings
from gradxform.race._store import Store
from gradxform.race._trainer import Trainer
from gradxform.race._words import counted, listed

if TYPE_CHECKING:
    from rich.console import Console


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a race; `results` has what had finished."""

    def __init__(self, results: Results):
        super().__init__(f"{counted(len(results), 'optimizer')} had finished")
        self.results = results


def run(
    problem: str | Problem,
    optimizers: Optimizers = None,
    *,
    steps: int | None = None,
    seeds: int | None = None,
    rates: int | None = None,
    schedule: str = "cosine",
    quick: bool = False,
    lanes: int | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    quiet: bool = False,
) -> Results:
    """Race optimizers on a problem.

    Args:
      problem: a `Problem`, or the name of one: a built-in's, `module:function` or `file.py`.
      optimizers: a mapping from names to texts (`"adamw"`, `"chain(clip(1.0), adamw)"`, `"torch.adamw"`, `"module:function"`), to
        functions of the learning rate, or to transformations, which keep their own rate; or texts alone, in one string with commas and
        shell patterns or in a sequence. None: the classics.
      steps: updates of a run; None: the problem's own number.
      seeds: fresh seeds for the best third of the rates; None: 9.
      rates: learning rates tried per optimizer, half a decade apart; None: 9.
      schedule: how the rate runs: `cosine`, `linear`, both with a warm-up, or `constant`.
      quick: half the steps, 5 rates and 6 seeds where none are given.
      lanes: runs trained side by side; fewer take less memory.
      out: a folder in which the results are saved after each optimizer; None: they are not. Another race there gets another file.
      resume: go on with the race of these settings in `out`.
      quiet: print nothing while it runs.

    Returns:
      The results; they print as the table, and `plot`, `to_pandas`, `to_csv` and `to_html` themselves.

    Raises:
      UnknownNameError, HyperparameterError: a problem or an optimizer that is not known or cannot be read.
      ProblemError: the problem misbehaves, or is only a picture.
      ResultsError: the race in `out` cannot be resumed.
      Interrupted: Ctrl-C; the exception has the `results` of those that had finished.

    >>> results = gx.race.run("quadratic", "sgd", steps=10, seeds=1, rates=1, quiet=True)
    >>> round(results["sgd"].median, 1)
    3.0
    """
    loaded = load(problem)
    if not isinstance(loaded, Problem):
        raise ProblemError(f"race: {problem!r} is a picture of paths; draw it with `python -m gradxform race {problem}`.")
    contestants = choose(optimizers)
    settings = settings_for(loaded, steps, seeds, rates, schedule, quick)
    screen = None
    if not quiet:
        from gradxform.race._board import console

        screen = console()
        screen.print(f"gradxform race {loaded.name}", markup=False)
    store = Store(None if out is None else Path(out), settings, resume)
    try:
        compete(loaded, contestants, store, lanes, screen)
    except KeyboardInterrupt as e:
        raise Interrupted(store.results) from e
    return store.results


def settings_for(problem: Problem, steps: int | None, seeds: int | None, rates: int | None, schedule: str, quick: bool) -> Settings:
    """The budget of a race on a problem."""
    if schedule not in DESCRIPTIONS:
        raise ValueError(f"race: `schedule` must be one of {', '.join(DESCRIPTIONS)}, but is {schedule!r}.")
    return Settings(
        problem=problem.name,
        steps=steps or max(10, problem.steps // (2 if quick else 1)),
        seeds=seeds or (6 if quick else 9),
        rates=rates or (5 if quick else 9),
        schedule=schedule,
        data=data_of(problem),
    )


def compete(problem: Problem, contestants: list[Contestant], store: Store, lanes: int | None, screen: Console | None) -> None:
    """Run those that have no result yet, and keep the results; without a screen, in silence."""
    try:
        trainer = Trainer(problem, store.settings, lanes)
        if screen is None:
            _runner.race(trainer, contestants, store, Watch())
            return
        from gradxform.race._board import Board

        screen.print(_about(problem, contestants, store, trainer.size), markup=False)
        runs = sum(c.label not in store.results for c in contestants) * store.settings.runs
        with Board(screen, runs) as board:
            _runner.race(trainer, contestants, store, board)
    finally:
        store.close()


def _about(problem: Problem, contestants: list[Contestant], store: Store, size: int) -> str:
    s, described = store.settings, f"{problem.description}, " if problem.description else ""
    line = (
        f"{counted(len(contestants), 'optimizer')}  {s.steps} steps  {counted(s.runs, 'run')} each  {DESCRIPTIONS[s.schedule]}   "
        f"{described}{size:,} parameters"
    )
    if store.resumed:
        line += f"\nresumed: {listed(store.resumed)} finished before, in {store.path}; all are ranked together"
    return line
