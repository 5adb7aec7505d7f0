"""What a race's table means, in words: who is best, which of those is cheapest, and the code that makes it."""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from gradxform.race import _table, _ties
from gradxform.race._code import laid_out
from gradxform.race._extras import extra
from gradxform.race._results import Result, Results
from gradxform.race._words import counted, listed

if TYPE_CHECKING:
    from rich.console import Console

NARROWEST = 40  # of the width of text that is printed into a string


def show(results: Results, screen: Console) -> None:
    """Print the table and all that is to be said about it, in lines that break between words."""
    made, left_out = _table.table(results.values(), screen.width)
    screen.print(made)
    if left_out:
        screen.print(f"No room here for: {', '.join(left_out)}.", markup=False)
    for line in [*remarks(results.values()), *verdict(results)]:
        screen.print(line, markup=False)
    for line in code(results, screen.width):
        screen.print(line, markup=False, no_wrap=True, overflow="ignore", crop=False)


def text(results: Results, width: int | None = None) -> str:
    """What `show` prints, as a string; as wide as the terminal."""
    console = functools.partial(extra("rich.console").Console, force_jupyter=False, color_system=None)
    screen = console(file=io.StringIO(), width=max(NARROWEST, width or console().width), highlight=False)
    show(results, screen)
    return "\n".join(line.rstrip() for line in screen.file.getvalue().rstrip().splitlines())


def remarks(results: Iterable[Result]) -> list[str]:
    """What the table needs to be understood."""
    results = list(results)
    lines = [f"{r.label} failed: {r.failed}" for r in results if r.failed]
    if any(r.edge for r in results):
        lines.append("<=, >=: the best rate was still at the edge after the grid had slid twice; a better one may lie beyond.")
    if any(r.losses and not all(map(math.isfinite, r.losses)) for r in results):
        lines.append("diverged: the loss was not finite, which counts as infinitely bad.")
    if untuned := [r.label for r in results if r.losses and not r.trials]:
        lines.append(f"Not tuned, since no learning rate was left free: {listed(untuned)}.")
    for r in results:
        if r.idle:
            lines.append(nothing_to_act_on(r.label, r.idle))
    return lines


def nothing_to_act_on(label: str, stages: Sequence[str]) -> str:
    """An optimizer that could not do what it is for."""
    return f"{label}: its {listed([f'`{stage}`' for stage in stages])} found nothing to act on in these parameters."


def verdict(results: Results) -> list[str]:
    """Who is best, and which of those is cheapest."""
    groups, seeds = _table.groups_of(results.values()), results.settings.seeds
    if not groups or not math.isfinite(groups[0][0].median):
        return ["No optimizer reached a finite loss."]
    best = groups[0]
    so_far = "" if results.complete else "So far, "
    tied = f"{so_far}tied for best: {listed([r.label for r in best])}" if len(best) > 1 else f"{so_far}best: {best[0].label}"
    lines = [f"{tied[0].upper()}{tied[1:]} ({_ties.DESCRIPTION}, {counted(seeds, 'fresh seed')})."]
    if seeds < _ties.SEEDS_NEEDED:
        lines.append(
            f"So few seeds cannot tell two optimizers apart, {_ties.SEEDS_NEEDED} can; the code below is the best median's."
        )
    elif len(best) > 1:
        cheapest = choice(results)
        lines.append(f"Cheapest of them in memory: {cheapest.label}, {cheapest.state_bytes:.2f} bytes of state per parameter.")
        lines += _said_of_time(best)
    return lines


def choice(results: Results) -> Result:
    """The optimizer to recommend: of the best group the cheapest in memory, then the fastest, then the best median.

    With few seeds the best median alone.
    """
    best = _table.groups_of(results.values())[0]
    if results.settings.seeds < _ties.SEEDS_NEEDED:
        return best[0]
    least = min(round(r.state_bytes, 2) for r in best)
    cheap = [r for r in best if round(r.state_bytes, 2) == least]
    return next((r for r in cheap if r.label in _fastest(cheap)), cheap[0])


def code(results: Results, width: int) -> list[str]:
    """The lines that make the recommended optimizer, with its schedule, as it was raced; none where there is none."""
    if not results.any_finished:
        return []
    chosen = choice(results)
    if not chosen.code:  # saved before results had it
        return []
    modules = [m for m in chosen.modules if m != "gradxform"]
    lines = [f"import {module}" for module in ["gradxform", *modules] if modules]
    return ["", *lines, *laid_out(chosen.code, width, before="tx = ")]


def _fastest(results: Sequence[Result]) -> list[str]:
    """The names of those that may be the fastest, the least median first: the middle halves of their rounds overlap with its."""
    timed = [(r.step_us, r.step_range or (r.step_us, r.step_us), r.label) for r in results if r.step_us is not None]
    timed.sort(key=lambda each: each[0])
    return [label for _, (low, _), label in timed if low <= timed[0][1][1]]


def _said_of_time(results: Sequence[Result]) -> list[str]:
    alike = _fastest(results)
    if not alike:
        return []
    time = next(r.step_us for r in results if r.label == alike[0])
    beside = f", no faster for certain than {listed(alike[1:])}" if alike[1:] else ""
    return [f"Fastest of them: {alike[0]}, {time:.0f} us per step{beside}."]
