"""Where results lie on disk. A file belongs to one race: another race gets another file, and only `--resume` goes on with one."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path

from gradxform.race._environment import environment
from gradxform.race._results import Result, Results, ResultsError, load
from gradxform.race._settings import Settings


def numbered(folder: Path, stem: str) -> Iterator[Path]:
    """`results.json`, `results-2.json`, ... in a folder."""
    return (folder / f"{stem}{'' if i == 1 else f'-{i}'}.json" for i in itertools.count(1))


def reserve(folder: Path, stem: str) -> Path:
    """The first of those that is not there yet, created empty: whether the folder can be written in is known before the work."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in numbered(folder, stem):
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            continue
        return path
    raise AssertionError


class Store:
    """The results of a race so far, saved after each optimizer.

    Args:
      folder: where; None: nowhere.
      settings: the budget.
      resume: go on with the last file in the folder that is of these settings; failures are run again.

    Attributes:
      results: what there is so far.
      path: its file.
      resumed: the optimizers that an earlier session has done.

    Raises:
      ResultsError: there are files to resume, and none is of these settings.
    """

    def __init__(self, folder: Path | None, settings: Settings, resume: bool = False):
        self.settings, self.path = settings, None
        self.results, self.resumed = Results(settings, complete=False), ()
        if folder is None:
            return
        if resume:
            self._take_over(folder)
        self.path = self.path or reserve(folder, "results")
        self.results.sessions.append(environment())

    def _take_over(self, folder: Path) -> None:
        paths = list(itertools.takewhile(Path.exists, numbered(folder, "results")))
        told = ""
        for path in reversed(paths):
            if not path.read_bytes():  # of a race that is just beginning, or was killed before any optimizer finished
                continue
            old = load(path)
            other = _differences(old.settings, self.settings)
            if not other:
                self.path, self.results.sessions = path, old.sessions
                for result in old.values():
                    if not result.failed:
                        self.results.add(result)
                self.resumed = tuple(self.results)
                return
            told = told or f"{path} holds results of other settings, which cannot be compared: {'; '.join(other)}"
        if told:
            raise ResultsError(f"--resume: {told}. Give the same settings, or leave out --resume to start anew in another file.")

    def add(self, result: Result) -> None:
        self.results.add(result)
        self.save()

    def save(self) -> None:
        """Write the file anew, in one stroke."""
        if self.path is not None:
            draft = self.path.with_suffix(".part")
            draft.write_text(self.results.to_json(), encoding="utf-8")
            draft.replace(self.path)

    def close(self) -> None:
        """Nothing has finished: leave no empty file."""
        if self.path is not None and not self.results:
            self.path.unlink(missing_ok=True)


def _differences(old: Settings, new: Settings) -> list[str]:
    theirs, ours = dataclasses.asdict(old), dataclasses.asdict(new)
    return [f"{k} was {theirs[k]!r} and is now {v!r}" for k, v in ours.items() if theirs[k] != v]
