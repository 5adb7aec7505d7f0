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


def console() -> Console:
    """Where to print; wide when the output goes to a file."""
    made = extra("rich.console").Console(highlight=False)
    if not made.is_terminal:
        made.width = WIDTH_WITHOUT_TERMINAL
    return made


class Board(Watch):
    """Shows what is running, runs done, time and time to go; where there is no terminal, a line per finished optimizer."""

    def __init__(self, out: Console, runs: int):
        progress = extra("rich.progress")
        self.out, self.running, self.results = out, {}, []
        self._lock = threading.Lock()
        self.bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=30),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TextColumn("eta"),
            progress.TimeRemainingColumn(),
            console=out,
        )
        self.task = self.bar.add_task("", total=runs)
        self.live = extra("rich.live").Live(get_renderable=self._render, console=out, transient=True, refresh_per_second=4)

    def __enter__(self) -> Board:
        if self.out.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.out.is_terminal:
            self.live.stop()

    def _render(self) -> RenderableType:
        group = extra("rich.console").Group
        with self._lock:
            return group(standings(self.results), self.bar) if self.results else self.bar

    def expect(self, runs: int) -> None:
        with self._lock:
            self.bar.update(self.task, total=(self.bar.tasks[0].total or 0) + runs)

    def begin(self, label: str, phase: str) -> None:
        with self._lock:
            self.running[label] = phase
            self._describe()

    def done(self, label: str, runs: int) -> None:
        self.bar.advance(self.task, runs)

    def finish(self, result: Result) -> None:
        with self._lock:
            self.running.pop(result.label, None)
            self.results.append(result)
            self._describe()
        if not self.out.is_terminal:
            said = f"failed: {result.failed}" if result.failed else f"loss {number(result.median)} at rate {number(result.rate)}"
            self.out.print(f" {result.label}  {said}", markup=False)

    def _describe(self) -> None:
        running, escape = list(self.running.items()), extra("rich.markup").escape
        shown = "  ".join(f"[bold]{escape(label)}[/bold] {phase}" for label, phase in running[:2])
        self.bar.update(self.task, description=" " + shown + (" ..." if len(running) > 2 else ""))
