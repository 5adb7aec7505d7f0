"""The lines of `argument_lines`, each of which stands in the source of all functions that it is of.

    python -m tests.arguments    writes the lines into the docstrings

Readers of a hover, of `help` and of `show` see the docstring and nothing else, so nothing is composed at import.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import pathlib
import re
import textwrap
import typing
from collections.abc import Callable, Iterator
from typing import Any

from gradxform._docs import explained
from notebooks.site.reference import things
from tests.argument_lines import DIALECTS, SHARED

WIDTH = 132


@functools.cache
def public() -> dict[str, Callable[..., Any]]:
    """Every public function, by its shortest address behind `gradxform.`."""
    return {thing.name: thing.value for thing in things() if _is_function(thing.value)}


def _is_function(x: Any) -> bool:
    return callable(x) and hasattr(x, "__name__") and not inspect.isclass(x) and typing.get_origin(x) is None


def shared() -> Iterator[tuple[str, str, str]]:
    """(function, argument, line) of the table."""
    rows = re.findall(r"^(\w+): (.*(?:\n    .*)*)((?:\n  \| .*)+)", SHARED + DIALECTS, re.MULTILINE)
    for argument, line, functions in rows:
        words = functions.replace("|", " ").split()
        for function in (name for word in words if not word.startswith("-") for name in _meant(word, argument)):
            if f"-{function}" not in words:
                yield function, argument, " ".join(line.split())


def _meant(word: str, argument: str) -> list[str]:
    """The function of that name, or all of a room that have the argument."""
    room, _, star = word.rpartition(".")
    if star != "*":
        return [word]
    return [f for f, x in public().items() if f.rpartition(".")[0] == room and argument in inspect.signature(x).parameters]


def write() -> None:
    """Put the table's lines into the docstrings whose own differ."""
    functions = public()
    for function, argument, line in shared():
        f = functions[function]
        if explained(f).get(argument) != line:
            path = pathlib.Path(importlib.import_module(f.__module__).__file__ or "")
            path.write_text(_replaced(path.read_text(encoding="utf-8"), f.__name__, argument, line), encoding="utf-8")
            print(f"{function}: {argument}")


def _replaced(source: str, function: str, argument: str, line: str) -> str:
    """The source with another line for an argument that the function's docstring explains."""
    entry = textwrap.indent("\n".join(textwrap.wrap(f"{argument}: {line}", WIDTH - 6, subsequent_indent="  ")), " " * 6)

    def changed(doc: str) -> str:
        doc, count = re.subn(rf"^ {{6}}{argument}: .*(?:\n {{8}}.*)*", lambda _: entry, doc, count=1, flags=re.MULTILINE)
        if not count:
            raise SystemExit(f"{function}: no line for {argument} under Args")
        return doc

    return docstring_changed(source, function, changed)


def docstring_changed(source: str, function: str, change: Callable[[str], str]) -> str:
    """The source with the lines of a function's docstring as `change` makes them."""
    nodes = [n for n in ast.parse(source).body if isinstance(n, ast.FunctionDef) and n.name == function and ast.get_docstring(n)]
    doc, lines = nodes[-1].body[0], source.split("\n")
    before, inside = lines[: doc.lineno - 1], "\n".join(lines[doc.lineno - 1 : doc.end_lineno])
    return "\n".join([*before, change(inside), *lines[doc.end_lineno :]])


if __name__ == "__main__":
    write()
