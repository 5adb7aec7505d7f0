"""The command line: `python -m gradxform race | names | show`."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gradxform._errors import GradxformError
from gradxform.race import _catalogue, _settings
from gradxform.race._contestants import Contestant, choose
from gradxform.race._problem import Problem, builtin_names, load
from gradxform.race._settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

    from gradxform.race._results import Store

USER_ERROR, INTERRUPTED = 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status: 0, 2 for a mistake of the user, 130 after Ctrl-C."""
    args = _parser().parse_args(argv)
    try:
        return args.command(args)
    except (GradxformError, OSError) as e:
        print(f"error: {e}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m gradxform", description="Composable gradient transformations for JAX.")
    commands = parser.add_subparsers(required=True, metavar="race | names | show")

    race = commands.add_parser("race", help="train optimizers on one problem with equal budgets, and say which differ")
    race.set_defaults(command=_race)
    race.add_argument(
        "problem", nargs="?", default="digits", help=f"{', '.join(builtin_names())}, or your own as module:function (digits)"
    )
    race.add_argument("--optimizers", metavar="LIST", help="names, shell patterns and calls: 'adam*,sgd,sgd(momentum=0.9)'")
    race.add_argument("--steps", type=_at_least(10), help="updates per run (the problem's own)")
    race.add_argument("--seeds", type=_at_least(1), help="fresh seeds for the top third of the rates (9)")
    race.add_argument("--rates", type=_at_least(1), help="learning rates tried per optimizer, half a decade apart (9)")
    race.add_argument("--schedule", choices=sorted(_settings.DESCRIPTIONS), default="cosine")
    race.add_argument("--quick", action="store_true", help="half the steps, 5 rates, 6 seeds")
    race.add_argument("--lanes", type=_at_least(1), help="runs trained side by side; fewer take less memory")
    race.add_argument("--out", type=Path, metavar="DIR", help="folder for results.json and the figure (race-PROBLEM)")
    race.add_argument("--resume", action="store_true", help="take finished optimizers over from the folder")
    race.add_argument("--no-figure", action="store_true")

    names = commands.add_parser("names", help="list the registry, a line each")
    names.set_defaults(command=lambda args: _catalogue.names(args.pattern, args.kind, args.markdown))
    names.add_argument("pattern", nargs="?", default="*", help="a shell pattern such as 'adam*'")
    names.add_argument("--kind", choices=["optimizer", "transform", "*"], default="optimizer")
    names.add_argument("--markdown", action="store_true", help="the whole registry as a table")

    show = commands.add_parser("show", help="equation, hyperparameters, memory and source of one")
    show.set_defaults(command=lambda args: _catalogue.show(args.name))
    show.add_argument("name")
    return parser


def _at_least(least: int) -> Callable[[str], int]:
    def whole_number(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}")
        return int(text)

    return whole_number


def _race(args: argparse.Namespace) -> int:
    contestants, problem = choose(args.optimizers), load(args.problem)
    out = args.out or Path("race-" + re.sub(r"\W+", "-", args.problem))
    if not isinstance(problem, Problem):
        from gradxform.race import _surfaces

        return _surfaces.run(problem, contestants, out, args.steps, figure=not args.no_figure)
    return _race_on(problem, contestants, out, args)


def _race_on(problem: Problem, contestants: list[Contestant], out: Path, args: argparse.Namespace) -> int:
    from gradxform.race import _board, _runner
    from gradxform.race._results import Store
    from gradxform.race._trainer import Trainer

    screen, settings = _board.console(), _settings_of(problem, args)
    trainer = Trainer(problem, settings, args.lanes)
    store = Store(out, settings, args.resume)
    screen.print(_header(problem, contestants, settings, trainer.size), markup=False)
    if store.results:
        screen.print(f"resumed: {', '.join(store.results)} finished before, in {store.path}", markup=False)
    elif store.path.exists():
        screen.print(f"{store.path} is of an earlier race and will be replaced; --resume would continue it", markup=False)
    waiting = sum(c.label not in store.results for c in contestants)
    try:
        with _board.Board(screen, waiting * settings.runs) as board:
            _runner.race(trainer, contestants, store, board)
    except KeyboardInterrupt:
        _report(screen, store, figure=False)
        screen.print(f"Interrupted. {store.path} keeps what had finished; continue with --resume.", markup=False)
        return INTERRUPTED
    except GradxformError:
        _report(screen, store, figure=False)
        raise
    _report(screen, store, figure=not args.no_figure)
    return 0


def _settings_of(problem: Problem, args: argparse.Namespace) -> Settings:
    quick = args.quick
    return Settings(
        problem=args.problem,
        steps=args.steps or max(10, problem.steps // (2 if quick else 1)),
        seeds=args.seeds or (6 if quick else 9),
        rates=args.rates or (5 if quick else 9),
        schedule=args.schedule,
        data=problem.data,
    )


def _header(problem: Problem, contestants: list[Contestant], settings: Settings, size: int) -> str:
    described = f"{problem.description}, " if problem.description else ""
    return (
        f"gradxform race {settings.problem}   {len(contestants)} optimizers  {settings.steps} steps  {settings.runs} runs each  "
        f"{_settings.DESCRIPTIONS[settings.schedule]}   {described}{size:,} parameters"
    )


def _report(screen: Console, store: Store, figure: bool) -> None:
    """Print the table and what it means; draw the figure."""
    from gradxform.race import _figure, _table

    results = list(store.results.values())
    if not results:
        return
    screen.print(_table.table(results))
    for line in [*_table.remarks(results), *_table.verdict(results, store.settings)]:
        screen.print(line, markup=False, soft_wrap=True)
    screen.print(f"\nresults: {store.path}", markup=False)
    if figure:
        screen.print(f"figure:  {_figure.draw(results, store.settings, store.path.with_name('race.png'))}", markup=False)
