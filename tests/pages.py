"""The generated pages, each in the README of the folder where its maker lives: `python -m tests.pages` makes them again."""

from __future__ import annotations

import importlib
import json
import pathlib
import sys
from collections.abc import Callable
from types import ModuleType

ROOT = pathlib.Path(__file__).parent.parent


def _catalogue() -> str:
    return importlib.import_module("gradxform.race._catalogue").markdown()


def _compatibility() -> str:
    return importlib.import_module("tests.optax_suite.compatibility").render()


def _benchmarks() -> str:
    results = json.loads((ROOT / "benchmarks" / "results" / "cpu.json").read_text(encoding="utf-8"))
    return importlib.import_module("benchmarks.table").render(results).strip()


def _beside(script: str) -> ModuleType:
    """A benchmark, which finds its parts beside itself."""
    if (folder := str(ROOT / "benchmarks")) not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module(script)


def _traffic() -> str:
    traffic = _beside("traffic")
    return traffic.render(traffic.load()).strip()


def _guides() -> str:
    return importlib.import_module("notebooks.guides").gallery()


def _matrices() -> str:
    return _beside("matrices").render()


def _races() -> str:
    return importlib.import_module("benchmarks.races").render()


def _plans() -> str:
    return importlib.import_module("benchmarks.plans").render()


PAGES: dict[str, tuple[str, Callable[[], str]]] = {
    "catalogue": ("gradxform/optimizers/README.md", _catalogue),
    "compatibility": ("tests/optax_suite/README.md", _compatibility),
    "benchmarks": ("benchmarks/README.md", _benchmarks),
    "traffic": ("benchmarks/README.md", _traffic),
    "guides": ("notebooks/README.md", _guides),
    "matrices": ("benchmarks/README.md", _matrices),
    "plans": ("benchmarks/README.md", _plans),
    "races": ("benchmarks/README.md", _races),
}


def parts(name: str) -> tuple[str, str, str]:
    """The file before the generated part, that part, and the rest."""
    path = PAGES[name][0]
    begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
    before, found, rest = (ROOT / path).read_text(encoding="utf-8").partition(begin)
    page, closed, after = rest.partition(end)
    if not (found and closed):
        raise SystemExit(f"{path}: no {begin.strip()} followed by {end}")
    return before + begin, page.strip(), end + after


def write(name: str) -> None:
    path, render = PAGES[name]
    before, _, after = parts(name)
    (ROOT / path).write_text(f"{before}{render()}\n{after}", encoding="utf-8")


if __name__ == "__main__":
    for chosen in sys.argv[1:] or PAGES:
        write(chosen)
        print(PAGES[chosen][0])
