"""A plan as tables: what lies on a device, what travels, and what a step takes at least."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from gradxform.surgery._report import WIDTH, size_text

if TYPE_CHECKING:
    from gradxform.planning._record import Assignment, Plan

MOST = 6  # leaves that are named
SHARE = 0.05  # of the parameters' bytes, from which leaves that stay whole are worth a line each

FEW = 1e-4  # of all bytes that travel, below which a line is not worth it


class Table(NamedTuple):
    """A table: the first column has names, the others are aligned to the right.

    Attributes:
      headings: of the columns.
      rows: their texts.
      total: the last row, below a line.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    total: Sequence[str]


def heading(plan: Plan) -> str:
    mesh = " x ".join(f"{name} {n}" for name, n in plan.mesh.items())
    zero = f", state split over {' x '.join(plan.zero)} too" if plan.zero else ""
    return f"{plan.parameters:,} parameters on {plan.devices:,} {plan.hardware.name}: {mesh}{zero}"


def tables(plan: Plan) -> list[Table]:
    return [_bytes(plan), *([_travels(plan)] if plan.collectives else []), *map(_assigned, plan.assignments), _seconds(plan)]


def notes(plan: Plan) -> list[str]:
    """Sentences below the tables."""
    binds = f"A step takes at least {duration(plan.step_seconds)}: {plan.binds} {_verb(plan.binds)}."
    return [
        binds,
        *_idle(plan),
        *_whole(plan),
        *_others(plan),
        *([plan.advice] if plan.advice else []),
        f"Not counted: {plan.left_out}.",
    ]


def report(plan: Plan) -> str:
    lines = textwrap.wrap(heading(plan), WIDTH, subsequent_indent="  ")
    for table in tables(plan):
        lines += ["", *_text(table)]
    lines += ["", *(line for note in notes(plan) for line in textwrap.wrap(note, WIDTH, subsequent_indent="  "))]
    return "\n".join(lines)


def duration(seconds: float) -> str:
    """Three digits, in the unit in which they are below 1000."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns" if seconds else "0 s"


def _verb(resource: str) -> str:
    return "binds" if resource == "memory traffic" else "bind"


def _bytes(plan: Plan) -> Table:
    rows = [("parameters", "", size_text(plan.parameter_bytes)), ("gradients", "", size_text(plan.gradient_bytes))]
    rows += [(f"{f.stage}: {f.name}", f.stored[0] if f.stored else "", size_text(f.bytes)) for f in plan.fields]
    share = f"{plan.bytes / plan.hardware.memory:.0%} of {size_text(plan.hardware.memory)}"
    return Table(("on one device", "stored as", "bytes"), rows, ("all", share, size_text(plan.bytes)))


def _travels(plan: Plan) -> Table:
    least = FEW * plan.collective_bytes
    rows = [
        (f"{c.part}: {c.kind} over {' x '.join(c.axes)}", c.link.removeprefix("links "), size_text(c.bytes), duration(c.seconds))
        for c in plan.collectives
        if c.bytes >= least
    ]
    if few := [c for c in plan.collectives if c.bytes < least]:
        rows.append((f"{len(few)} smaller", "", size_text(sum(c.bytes for c in few)), duration(sum(c.seconds for c in few))))
    total = ("all", "", size_text(plan.collective_bytes), duration(sum(c.seconds for c in plan.collectives)))
    return Table(("what travels in a step", "slower link", "bytes", "at least"), rows, total)


def _assigned(found: Assignment) -> Table:
    """Who gets which matrices: on how many devices how many of each kind."""
    rows = []
    for i, (tall, wide, number) in enumerate(found.matrices):
        devices: dict[int, int] = {}
        for n, gets, _ in found.groups:
            devices[gets[i]] = devices.get(gets[i], 0) + n
        each = ", ".join(f"{n} x {k}" for k, n in sorted(devices.items(), reverse=True) if k)
        rows.append((f"{tall:,} x {wide:,}", f"{number:,}", each))
    title = f"matrices of {found.stage} over {' x '.join(found.axes)}"
    padded = f"{size_text(found.padded_bytes)} of {size_text(found.bytes)} padded"
    return Table((title, "number", "devices x matrices"), rows, (f"devices work {found.busy:.0%} of the time", "", padded))


def _seconds(plan: Plan) -> Table:
    rows = [(resource, duration(seconds)) for resource, seconds in plan.seconds.items() if seconds]
    return Table(("what a step needs", "at least"), rows, ("the longest", duration(plan.step_seconds)))


def _idle(plan: Plan) -> list[str]:
    """Axes that are for parameters and split none of them."""
    if not plan.idle:
        return []
    axes = " and ".join(f"{name} = {plan.mesh[name]}" for name in plan.idle)
    return [f"{axes}: no parameter is split over {'it' if len(plan.idle) == 1 else 'them'}; each is on all of its devices."]


def _whole(plan: Plan) -> list[str]:
    """Which leaves stay whole, where they are more than a small part."""
    nbytes = sum(n for _, n in plan.whole)
    if not nbytes:
        return []
    paths = [path for path, _ in sorted(plan.whole, key=lambda one: -one[1])]
    named = ", ".join(paths[:MOST]) + (f" and {len(paths) - MOST} more" if len(paths) > MOST else "")
    those = f": {named}" if nbytes > SHARE * plan.parameter_bytes else ""
    share = nbytes / plan.parameter_bytes
    return [
        f"{len(paths)} leaves, {share:.2g} of the bytes, stay whole, since {' x '.join(plan.zero)} divides none of their axes{those}."
    ]


def _others(plan: Plan) -> list[str]:
    """Where more travels: if the axes of a mesh are automatic, or however they are."""
    return list(dict.fromkeys(_holds(one) for one in plan.assignments if one.stacks or one.holds != "any mesh"))


def _holds(one: Assignment) -> str:
    if one.holds == "at least":
        return (
            f"What travels for {one.stage} is a lower bound: matrices of one shape are split in several ways, or along the axis that "
            "counts them and not so that each device has as many. XLA then finds ways of its own, which may be several times as long."
        )
    known = f"What travels for {one.stage} is that of a mesh with explicit axes. If they are automatic, JAX does not say"
    over, gathered = (
        " x ".join(one.stacks),
        "gathered whole, there and back, but for GPUs whose compiler leaves that out if one axis is crossed",
    )
    if one.stacks and one.holds == "any mesh":
        return (
            f"The mesh is automatic: leaves of {one.stage}, which are split over {over} where they count matrices, are {gathered}."
        )
    if one.stacks:
        return f"{known} that leaves are split over {over} where they count matrices: these are {gathered}."
    how = f"that matrices are split over {' x '.join(one.others)} too" if one.others else "how matrices are split"
    return f"{known} {how}: XLA then finds ways of its own, which may be several times as long."


def _text(table: Table) -> Iterator[str]:
    rows = [table.headings, *table.rows, table.total]
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.headings))]
    room = WIDTH - sum(w + 2 for w in widths[1:])
    for i, row in enumerate(rows):
        if i in (1, len(rows) - 1):
            yield "-" * WIDTH
        *above, name = textwrap.wrap(row[0], room, subsequent_indent="  ", break_on_hyphens=False)
        yield from above
        yield (name.ljust(room) + "".join(f"  {cell:>{w}}" for cell, w in zip(row[1:], widths[1:], strict=True))).rstrip()
