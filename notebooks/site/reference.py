"""The reference: a page for every public name, made from its docstring."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gradxform._docs import doc_lines

ROOMS = {
    "optimizers": "Optimizers and their primitives",
    "transforms": "Primitives",
    "wrappers": "Wrappers",
    "schedules": "Schedules",
    "core": "Combining",
    "surgery": "Changing a run",
    "precision": "Narrow dtypes",
    "distributed": "Across devices",
    "linesearch": "Line searches",
    "losses": "Losses",
    "projections": "Projections",
    "microbatching": "Microbatching",
    "assignment": "Assignment",
    "linear_algebra": "Linear algebra",
    "numerics": "Numerics",
    "tree": "Trees",
    "dialects.keras": "As in Keras",
    "dialects.keras.schedules": "Schedules, as in Keras",
    "dialects.mxnet": "As in MXNet",
    "dialects.neon": "As in neon",
    "dialects.torch": "As in PyTorch",
    "dialects.torch.lr_scheduler": "Schedules, as in PyTorch",
    "kernels": "For authors",
    "testing": "Testing",
    "race": "Racing",
    "": "Types, errors, the registry",
}
WIDE = 88  # columns
HEADINGS = "State|Cost|Units|Shapes|Sharded|Masks|Labels|Keys|Holes|Sent|Source|Differs|Raises|Memory|where|axis|Limits"
Names = dict[str, str]


@dataclass
class Thing:
    """What a public name stands for.

    Attributes:
      name: its shortest address behind `gradxform.`.
      value: the thing itself.
      room: the folder that it stands in.
      others: its other addresses.
    """

    name: str
    value: Any
    room: str
    others: list[str] = field(default_factory=list)

    @property
    def page(self) -> str:
        return self.name.replace(".", "/")

    @functools.cached_property
    def lines(self) -> list[str]:
        own = getattr(self.value, "__doc__", None)
        generic = type(self.value).__doc__ == own and not isinstance(self.value, type)
        return [] if generic or not own or _is_generated(self.value, own) else doc_lines(self.value)


def _is_generated(value: Any, doc: str) -> bool:
    """Whether a NamedTuple or a dataclass was given its signature for a docstring."""
    return isinstance(value, type) and doc.startswith(f"{value.__name__}(")


def things() -> list[Thing]:
    """Every public name, once."""
    found: dict[Any, Thing] = {}
    for room in ("", *(name for name in ROOMS if name not in ("", "core"))):  # whose names are public here, or for authors
        module = importlib.import_module(f"gradxform.{room}".rstrip("."))
        for name in getattr(module, "__all__", None) or _own_names(module) or _listed(module):
            value = getattr(module, name)
            if isinstance(value, types.ModuleType):
                continue
            address = f"{room}.{name}".lstrip(".")
            key = id(value)
            if key in found:
                found[key].others.append(address)
            else:
                found[key] = Thing(address, value, _room(value, room))
    return sorted(found.values(), key=lambda thing: thing.name.lower())


def _own_names(module: types.ModuleType) -> list[str]:
    """The public names of a module without a list of them: what it defines."""
    return [n for n, x in vars(module).items() if not n.startswith("_") and getattr(x, "__module__", "") == module.__name__]


def _listed(module: types.ModuleType) -> list[str]:
    """The names of a module that defines nothing, but gathers what others do."""
    return [n for n, x in vars(module).items() if not n.startswith("_") and type(x).__module__ != "__future__"]


def _room(value: Any, asked: str) -> str:
    """Where a thing belongs: the folder that defines it, or the room that it was found in."""
    defined = str(getattr(value, "__module__", "")).removeprefix("gradxform.")
    inside = [room for room in ROOMS if room and (defined == room or defined.startswith(f"{room}."))]
    return max(inside, key=len, default=asked)


def write(folder: Path) -> Names:
    """Write the reference into a folder: an index, a page for each room, a page for each name. Returns the pages by the names."""
    every = things()
    names = {other.rpartition(".")[2]: thing.page for thing in every for other in [thing.name, *thing.others]}
    names |= {thing.name: thing.page for thing in every}  # these last: `adam` is ours, not a dialect's
    for thing in every:
        path = folder / f"{thing.page}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_page(thing, names), encoding="utf-8")
    functions_first = sorted(every, key=lambda thing: isinstance(thing.value, type))
    rooms = {room: [thing for thing in functions_first if thing.room == room] for room in ROOMS}
    for room, inside in rooms.items():
        if inside:
            (folder / f"{_file(room)}.md").write_text(_room_page(room, inside, names), encoding="utf-8")
    tree = "\n".join(_file(room) for room, inside in rooms.items() if inside)
    (folder / "index.md").write_text(f"# Reference\n\n```{{toctree}}\n:maxdepth: 1\n\n{tree}\n```\n", encoding="utf-8")
    return names


def _file(room: str) -> str:
    return f"room-{room.replace('.', '-') or 'others'}"


def _room_page(room: str, inside: list[Thing], names: Names) -> str:
    rows = [f"| [`{t.name}`]({t.page}.md) | {_prose(t.lines[0], names, '') if t.lines else ''} |" for t in inside]
    tree = "\n".join(f"{t.name} <{t.page}>" for t in inside)
    table = "\n".join(["| | |", "|---|---|", *(row.replace("||", "\\|\\|") for row in rows)])
    return f"# {ROOMS[room]}\n\n{table}\n\n```{{toctree}}\n:hidden:\n\n{tree}\n```\n"


def _page(thing: Thing, names: Names) -> str:
    up = "../" * thing.name.count(".")
    others = ", ".join(f"`gradxform.{other}`" for other in thing.others)
    parts = [
        f"# {thing.name}",
        f"```{'python' if callable(thing.value) else 'text'}\n{_signature(thing)}\n```",
        "\n".join(_markdown(thing.lines, names, up)),
        _fields(thing.value),
        f"Also {others}." if others else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _signature(thing: Thing) -> str:
    """The call, over several lines where one is too long."""
    name = f"gradxform.{thing.name}"
    try:
        signature = inspect.signature(thing.value)
    except (TypeError, ValueError):
        return f"{name} = {_shown(thing.value)}" if not isinstance(thing.value, type) else f"class {name}"
    plain = [p.replace(annotation=p.empty, default=_default(p.default)) for p in signature.parameters.values()]
    short = f"{name}{signature.replace(parameters=plain, return_annotation=inspect.Signature.empty)}"
    if len(short) <= WIDE:
        return short
    return f"{name}(\n" + "".join(f"    {p},\n" for p in plain) + ")"


class _Shown:
    """A default, as it prints here: functions by their names, nothing with an address in memory."""

    def __init__(self, text: str):
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _default(value: Any) -> Any:
    return value if value is inspect.Parameter.empty else _Shown(_shown(value))


def _shown(value: Any) -> str:
    text = getattr(value, "__name__", None) if callable(value) and " at 0x" in repr(value) else repr(value)
    return re.sub(r"<class '(?:[\w.]*\.)?(\w+)'>", r"\1", str(text))


def _fields(value: Any) -> str:
    """The fields of a state."""
    fields = getattr(value, "_fields", None) if isinstance(value, type) else None
    return "Fields: " + ", ".join(f"`{name}`" for name in fields) + "." if fields else ""


def _markdown(lines: list[str], names: Names, up: str) -> list[str]:
    """A docstring as Markdown: equations and examples in blocks of their own, arguments and headings as lists."""
    made: list[str] = []
    i = 0
    while i < len(lines):
        line = lines[i]
        if line.startswith("    "):
            block, i = _taken(lines, i, lambda x: x.startswith("    ") or not x.strip())
            made += ["", "```text", *(x for line in block for x in _narrow(line[4:])), "```", ""]
        elif line.startswith(">>>"):
            block, i = _taken(lines, i, lambda x: bool(x.strip()))
            made += ["", "```python", *block, "```", ""]
        elif re.fullmatch(r"(Args|Attributes|Returns|Yields):", line):
            block, i = _taken(lines, i + 1, lambda x: x.startswith("  "))
            made += ["", f"**{line[:-1]}**", "", *_entries(block, names, up), ""]
        elif found := re.match(rf"({HEADINGS}) +(.*)", line):
            block, i = _taken(lines, i + 1, lambda x: x.startswith("     "))
            text = " ".join([found[2], *(x.strip() for x in block)])
            made += ["", f"**{found[1]}**", f": {_prose(text, names, up)}", ""]
        else:
            made.append(_prose(line, names, up))
            i += 1
    return made


def _narrow(line: str) -> list[str]:
    """A line of an equation, and below it what stands far to its right where the line is too wide for a page."""
    beside = re.match(r"(.*\S) {8,}(\S.*)", line) if len(line) > WIDE else None
    return [beside[1], f"    {beside[2]}"] if beside else [line]


def _taken(lines: list[str], i: int, inside: Callable[[str], bool]) -> tuple[list[str], int]:
    """The lines from i on that belong together, without empty ones at their end, and where they end."""
    j = i
    while j < len(lines) and inside(lines[j]):
        j += 1
    block = lines[i:j]
    while block and not block[-1].strip():
        block.pop()
    return block, j


def _entries(block: list[str], names: Names, up: str) -> list[str]:
    """`name: text` over one or several lines, as a list."""
    joined: list[str] = []
    for line in block:
        if not joined or not line.startswith("   "):
            joined.append(line.strip())
        else:
            joined[-1] += f" {line.strip()}"
    made = []
    for entry in joined:
        name, colon, text = entry.partition(": ")
        named = bool(colon) and re.fullmatch(r"[\w*, ]+", name)
        made.append(f"`{name}`\n: {_prose(text, names, up)}\n" if named else f"{_prose(entry, names, up)}\n")
    return made


def _prose(line: str, names: Names, up: str) -> str:
    """Text with its marks escaped, and names in backticks linked to their pages."""
    parts = line.split("`")
    for k, part in enumerate(parts):
        if k % 2 == 0:
            parts[k] = re.sub(r"([\\*_<>\[\]#$~|{}])", r"\\\1", part)
        else:
            page = names.get(part.removeprefix("gradxform.").removeprefix("gx.").partition("(")[0])
            parts[k] = f"[`{part}`]({up}{page}.md)" if page else f"`{part}`"
    return "".join(parts)
