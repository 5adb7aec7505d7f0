"""The text of a summary: a table that fits in 80 columns."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import jax.core
import numpy as np

from gradxform._types import Array

if TYPE_CHECKING:
    from gradxform.core._roles import Role
    from gradxform.surgery._summary import FieldSummary, HyperparamSummary, StageSummary, Summary

WIDTH = 80
Roles = Sequence[tuple[str, "Role | None"]]
UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def report(s: Summary) -> str:
    return "\n".join([*_head(s), *_state(s), *_rates(s.hyperparams)])


def size_text(n: float) -> str:
    """Bytes in the unit in which they are below 1024, exactly or to four digits."""
    power = 0
    while n >= 1024 and power < len(UNITS) - 1:
        n, power = n / 1024, power + 1
    return f"{n:.0f} {UNITS[power]}" if n == int(n) else f"{n:.4g} {UNITS[power]}"


def _number(x: Array | float) -> str:
    if isinstance(x, jax.core.Tracer):
        return "(traced)"
    return f"{np.asarray(x).item():.6g}" if np.ndim(x) == 0 else f"(array of shape {np.shape(x)})"


def _wrapped(text: str, indent: int, more: int = 4) -> Iterator[str]:
    """Lines of a text that is broken at spaces, and a word that is longer than a line after parentheses, slashes and equals signs too."""
    line, room = " " * indent, WIDTH - indent - more
    words = [[word] if len(word) <= room else re.split(r"(?<=[(/=])", word) for word in re.split(r"(?<= )", text)]
    for part in (part for word in words for part in word):
        if len(line) + len(part.rstrip()) > WIDTH and line.strip():
            yield line.rstrip()
            line = " " * (indent + more)
        line += part
    yield line.rstrip()


def _names(names: Sequence[str], most: int = 6) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest


def _head(s: Summary) -> list[str]:
    one = "leaf" if len(s.leaves) == 1 else "leaves"
    return [f"{s.parameters:,} parameters in {len(s.leaves)} {one}, {size_text(s.parameter_bytes)}", ""]


def _row(name: str, stored: str, leaves: str, size: str, share: str) -> str:
    return f"{name:<34} {stored:<17} {leaves:>7} {size:>11} {share:>7}".rstrip()


def _state(s: Summary) -> Iterator[str]:
    yield _row("stage and state", "stored as", "leaves", "size", "B/param")
    yield "-" * WIDTH
    above: list[StageSummary] = []
    for stage in s.stages:
        before = above[stage.depth].roles if len(above) > stage.depth else ()
        yield from _stage(stage, above[: stage.depth], s, before)
        above[stage.depth :] = [stage]
    yield "-" * WIDTH
    yield _row("state", "", "", size_text(s.bytes), f"{s.bytes_per_parameter:.2f}")


def _stage(stage: StageSummary, above: Sequence[StageSummary], s: Summary, before: Roles) -> Iterator[str]:
    """Of the leaves that it sees, and of its labels, what the stage around it does not say, and of roles what that before does not."""
    indent, labels, sees = 2 * stage.depth, (), s.leaves
    if above:
        labels, sees = above[-1].labels, above[-1].sees
    label = "".join(f"{name}: " for name in stage.labels[len(labels) :])
    yield from _wrapped(label + stage.title, indent)
    if stage.sees != sees:
        of = f" of {len(s.leaves)}" if set(stage.sees) <= set(s.leaves) else ""
        yield from _wrapped(f"sees {len(stage.sees)}{of} leaves: {_names(stage.sees) or 'none'}", indent + 2)
    yield from _roles(stage.roles, indent + 2) if stage.roles != before else ()
    for field in stage.fields:
        yield from _field(field, indent + 2, s)


def _roles(roles: Roles, indent: int) -> Iterator[str]:
    alike: dict[str, list[str]] = {}
    for path, role in roles:
        alike.setdefault("no matrix" if role is None else str(role), []).append(path)
    for role, names in alike.items():
        yield from _wrapped(f"{role}: {_names(names)}", indent)


def _field(field: FieldSummary, indent: int, s: Summary) -> Iterator[str]:
    share = f"{field.bytes / s.parameters:.2f}" if s.parameters else "-"
    leaves = str(field.leaves) if field.kind == "leaf" else ""
    first, *others = field.stored or ("",)
    name = " " * indent + field.name
    if len(name) > 34:
        yield name
        name = ""
    yield _row(name, first, leaves, size_text(field.bytes), share)
    yield from (_row("", other, "", "", "") for other in others)
    is_stored = any(" " in stored for stored in field.stored)
    if is_stored and field.wide:
        yield from _wrapped(f"left wide: {_names(field.wide)}", indent + 2)
    if field.saturated:
        yield from _wrapped(f"{field.saturated:,} numbers at the end of the range that is stored", indent + 2)


def _rates(hyperparams: Sequence[HyperparamSummary]) -> Iterator[str]:
    if hyperparams:
        yield ""
        yield "hyperparameters"
        yield "-" * WIDTH
    fixed = [f"{h.name} {_number(h.now)}" for h in hyperparams if h.schedule is None]
    yield from _wrapped(", ".join(fixed), 0, 2) if fixed else ()
    for h in hyperparams:
        if h.schedule is not None:
            yield from _wrapped(f"{h.name} {_number(h.now)}, follows {h.schedule}", 0, 2)
            course = [f"{_number(value)} at {step:,}" for step, value in h.course]
            yield from _wrapped(f"over the run: {', '.join(course)}", 2, 2) if course else ()
