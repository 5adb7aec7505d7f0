"""The race in the terminal while it runs: a table that fills and a progress bar."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from gradxform.race._extras import extra
from gradxform.race._protocol import Watch
from gradxform.race._results import Result
from gradxform.race._table import number, standings

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

WIDTH_WITHOUT_TERMINAL = 132
BAR = 20  # columns


def console() -> Console:
    """Where to print; wide when the output goes to a file."""
    made = extra("rich.console").Console(highlight=False)
    if not made.is_terminal:
        made.width = WIDTH_WITHOUT_TERMINAL
    return made


class Board(Watch):
    """Shows what is running, runs done, time and time to go; where there is no terminal, a line per finished optimizer.

    The bar counts the runs, and then, anew, the rounds in which step times are measured.
    """

    def __init__(self, out: Console, runs: int):
        progress = extra("rich.progress")
        self.out, self.running, self.results = out, {}, []
        self._lock = threading.RLock()
        self.bar = progress.Progress(
            progress.BarColumn(bar_width=BAR),
            progress.TextColumn("{task.completed:.0f}/{task.total:.0f} {task.fields[unit]}"),
            progress.TimeElapsedColumn(),
            progress.TextColumn("eta"),
            progress.TimeRemainingColumn(compact=True),
            console=out,
        )
        self.task = self.bar.add_task("", total=runs, unit="runs")
        self.live = extra("rich.live").Live(get_renderable=self._render, console=out, transient=True, refresh_per_second=4)

    def __enter__(self) -> Board:
        if self.out.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.out.is_terminal:
            self.live.stop()

    def _render(self) -> RenderableType:
        group, text = extra("rich.console").Group, extra("rich.text").Text
        with self._lock:
            shown = [standings(self.results, self.out.width)] if self.results else []
            running = [text.assemble((label, "bold"), f" {phase}") for label, phase in self.running.items()]
            return group(*shown, *running, self.bar)

    def expect(self, runs: int) -> None:
        with self._lock:
            self.bar.update(self.task, total=(self.bar.tasks[0].total or 0) + runs)

    def begin(self, label: str, phase: str) -> None:
        with self._lock:
            self.running[label] = phase

    def done(self, label: str, runs: int) -> None:
        self.bar.advance(self.task, runs)

    def finish(self, result: Result) -> None:
        with self._lock:
            self.running.pop(result.label, None)
            self.results.append(result)
        if not self.out.is_terminal:
            rate = "" if not result.trials else f" at rate {number(result.rate)}"
            said = "failed" if result.failed else f"loss {number(result.median)}{rate}"
            self.out.print(f" {result.label}  {said}", markup=False)

    def timing(self, rounds: int) -> None:
        with self._lock:
            self.running = {"measuring step times": "alone, one after the other"}
            self.bar.reset(self.task, total=rounds, unit="rounds")
        if not self.out.is_terminal:
            self.out.print(" measuring step times", markup=False)

    def timed(self) -> None:
        self.bar.advance(self.task, 1)
