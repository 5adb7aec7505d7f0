"""`names` and `show`: the registry in the terminal. Plain text; headings in bold where rich is installed."""

from __future__ import annotations

import difflib
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

import gradxform
from gradxform import dialects, registry
from gradxform._docs import explained
from gradxform._errors import UnknownNameError
from gradxform._parameters import Parameter
from gradxform.core import GradientTransformation

if TYPE_CHECKING:
    from rich.console import Console

SHAPE = (64, 64)  # of the parameter whose state is measured

EXPLAINED = 64  # columns of what an argument is


def names(pattern: str, kind: str = "optimizer", as_markdown: bool = False) -> int:
    """Print name and summary of each match, or everything as a table."""
    if as_markdown:
        print(markdown())
        return 0
    found = registry.names(pattern, kind)
    if not found:
        near = difflib.get_close_matches(pattern, registry.names(kind=kind), n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise UnknownNameError(f"No {kind if kind != '*' else 'name'} matches {pattern!r}.{hint}")
    width = max(map(len, found))
    for name in found:
        _print(name.ljust(width), registry.entry(name).summary)
    return 0


def markdown(kind: str = "*") -> str:
    """The registry as a table: name, equation, memory in units of the parameters, source, dialects."""
    served: dict[str | None, list[str]] = {}
    for e in dialects.entries():
        served.setdefault(e.core, []).append(f"`{e.full_name}`")
    lines = ["| name | equation | memory | source | dialects |", "|---|---|---|---|---|"]
    found = sorted(registry.names(kind=kind), key=lambda n: (registry.entry(n).kind, n))
    for entry in map(registry.entry, found):
        equation = "<br>".join(_cell(line) for line in entry.equation().split("\n") if line.strip())
        memory = entry.section("State").partition("Memory: ")[2].rstrip(".")
        cells = [
            f"`{entry.name}`",
            equation.replace("|", "\\|"),
            memory,
            entry.source,
            ", ".join(served.get(entry.name, [])),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(line: str) -> str:
    """A line of an equation: code, and the remark to its right as text."""
    code, remark = (*re.split(r" {3,}(?![ =])", line.strip(), maxsplit=1), "")[:2]
    return f"`{' '.join(code.split())}` {' '.join(remark.split())}".strip()


def show(name: str) -> int:
    """Print all that is known about one: what is registered by its entry, any other public function by its documentation."""
    try:
        entry = registry.entry(name)
    except UnknownNameError:
        function = _public(name)
        if function is None:
            raise
        return _show_function(name, function)
    _print(entry.full_name, entry.summary)
    print()
    print("\n".join("    " + line for line in entry.equation().split("\n")))
    print()
    names = max([23, *map(len, entry.parameters)])
    _section("arguments", [line for p in entry.parameters.values() for line in _argument(p, names, explained(entry.make))])
    _section("made of", [repr(_typical(entry))])
    _section("state", [_state_bytes(entry)])
    if entry.rates:
        _section("rates", [", ".join(f"{rate:g} ({task})" for task, rate in entry.rates.items())])
    _section("needs", [", ".join(entry.needs)] if entry.needs else [])
    _section("source", [entry.section("Source") or entry.source])
    _section("differs", [text] if (text := entry.section("Differs")) else [])
    return 0


def _argument(p: Parameter, names: int, texts: Mapping[str, str]) -> list[str]:
    """A hyperparameter with its default and its range, and below it what it is."""
    first = f"{p.name:<{names}} {_default(p):<11} {_range(p)}".rstrip()
    return [first, *(f"  {line}" for line in textwrap.wrap(texts.get(p.name, ""), EXPLAINED))]


def _public(name: str) -> Callable[..., object] | None:
    """A public function of the library that is not registered: a schedule, a combinator, a loss, a dialect's."""
    thing: object = dialects if name.partition(".")[0] in registry.SYSTEMS else gradxform
    for part in name.split("."):
        if part.startswith("_"):
            return None
        thing = getattr(thing, part, None)
    return thing if callable(thing) else None


def _show_function(name: str, function: Callable[..., object]) -> int:
    summary, *rest = (inspect.getdoc(function) or "").split("\n")
    _print(name, summary)
    print()
    plain = [p.replace(annotation=p.empty) for p in inspect.signature(function).parameters.values()]
    print(f"    {name}{inspect.Signature(plain)}")
    print("\n".join("    " + line if line else "" for line in rest).rstrip())
    return 0


def _typical(entry: registry.Entry) -> GradientTransformation:
    """The transformation with its defaults, and example values for what has none."""
    parameters = entry.parameters
    return entry.make(**{n: v for n, v in entry.example.items() if parameters[n].required or parameters[n].default is None})


def _default(p: Parameter) -> str:
    return "required" if p.required else repr(p.default)


def _range(p: Parameter) -> str:
    if p.parts and any(part.range for part in p.parts):
        ranges = [part.range.text if part.range else "any" for part in p.parts]
        return f"each in {ranges[0]}" if p.any_number else f"in ({', '.join(ranges)})"
    if p.range is None:
        return ""
    return f"in {p.range.text}" + (", whole" if p.counts else "")


def _state_bytes(entry: registry.Entry) -> str:
    try:
        state = jax.eval_shape(lambda p: _typical(entry).init(p), jax.ShapeDtypeStruct(SHAPE, jnp.float32))
    except Exception:
        return "depends on the parameters"
    size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))
    return f"{size / (SHAPE[0] * SHAPE[1]):.2f} bytes per parameter, for a float32 matrix of {SHAPE[0]} x {SHAPE[1]}"


def _section(heading: str, lines: Iterable[str]) -> None:
    for i, line in enumerate(lines):
        _print("" if i else heading, line, width=11)


def _print(heading: str, text: str, width: int = 0) -> None:
    """A line that starts with a heading, in bold on a terminal."""
    heading = heading.ljust(width)
    screen = _rich_console()
    if screen is None:
        print(f"{heading}  {text}")
    else:
        from rich.text import Text

        screen.print(Text.assemble((heading, "bold"), "  ", text), soft_wrap=True)


def _rich_console() -> Console | None:
    if not sys.stdout.isatty():
        return None
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console(highlight=False)
