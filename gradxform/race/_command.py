"""The command `race`: one problem or several, from the arguments to the files."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gradxform._errors import GradxformError
from gradxform.race._cli import DONE, FAILED, INTERRUPTED
from gradxform.race._extras import extra

if TYPE_CHECKING:
    from rich.console import Console

    from gradxform.race._contestants import Contestant
    from gradxform.race._problem import Problem
    from gradxform.race._results import Results
    from gradxform.race._store import Store


def race(problems: Sequence[str], args: argparse.Namespace) -> int:
    """Race on each problem, and over all of them if they are several."""
    with extra("rich.status").Status(" importing JAX, loading the problem", console=extra("rich.console").Console()):
        from gradxform.race._board import console
        from gradxform.race._contestants import choose
        from gradxform.race._imported import imported
        from gradxform.race._problem import load

        loaded = [load(name) for name in problems]  # before the optimizers, which they may register
        for module in args.modules:
            imported("--import", module)
        contestants = choose(args.optimizers)
    screen, statuses, finished = console(), [], []
    for name, problem in zip(problems, loaded, strict=True):
        out = _folder(name, args.out, len(problems) > 1)
        if len(problems) > 1:
            screen.print(f"\n{name}", style="bold", markup=False)
        status, results = _on(name, problem, contestants, out, args, screen)
        statuses.append(status)
        if status == INTERRUPTED:
            return status
        finished += [results] if results is not None else []
    if len(finished) > 1:
        from gradxform.race import _profile

        _profile.report(finished, _folder("profile", args.out, True), screen, figure=not args.no_figure)
    return max(statuses)


def _folder(name: str, out: Path | None, several: bool) -> Path:
    own = "race-" + re.sub(r"\W+", "-", name).strip("-")
    return Path(own) if out is None else out / own if several else out


def _on(
    name: str, problem: Problem | tuple, contestants: list[Contestant], out: Path, args: argparse.Namespace, screen: Console
) -> tuple[int, Results | None]:
    from gradxform.race._problem import Problem

    if not isinstance(problem, Problem):
        from gradxform.race import _surfaces

        unused = [f"--{o}" for o in ("seeds", "rates", "quick", "lanes", "resume") if getattr(args, o)]
        if unused:
            screen.print(f"{name} is a picture, which has no use for {', '.join(unused)}", markup=False)
        return _surfaces.run(problem, contestants, out, args.steps, screen, figure=not args.no_figure), None
    from gradxform.race._race import compete, settings_for
    from gradxform.race._store import Store
    from gradxform.race._words import counted

    store = Store(out, settings_for(problem, args.steps, args.seeds, args.rates, args.schedule, args.quick), args.resume)
    try:
        compete(problem, contestants, store, args.lanes, screen)
    except KeyboardInterrupt:
        _report(screen, store, figure=False)
        if store.results:
            done = f"{len(store.results)} of {counted(len({*store.results, *(c.label for c in contestants)}), 'optimizer')} had finished"
            screen.print(f"\nInterrupted: {done}. Go on with --resume.", markup=False)
        return INTERRUPTED, store.results
    except GradxformError:
        _report(screen, store, figure=False)
        raise
    _report(screen, store, figure=not args.no_figure)
    return (DONE if store.results.any_finished else FAILED), store.results


def _report(screen: Console, store: Store, figure: bool) -> None:
    """Print the table and what it means; write what belongs beside the results."""
    from gradxform.race import _verdict

    results, path = store.results, store.path
    if not results or path is None:
        return
    _verdict.show(results, screen)
    screen.print()
    written = {"results": path, "table": results.to_csv(path.with_suffix(".csv"))}
    if figure:
        picture = path.with_suffix(".png")
        results.plot(picture)
        written |= {"figure": picture, "report": results.to_html(path.with_suffix(".html"))}
    for what, where in written.items():
        screen.print(f"{what + ':':<9}{where}", markup=False, soft_wrap=True)
