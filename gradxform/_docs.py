"""Docstrings, read alike on every Python: since 3.13 the compiler strips their indentation, before it leaves it."""

from __future__ import annotations

import inspect
import re


def doc_lines(thing: object) -> list[str]:
    """The lines of a docstring without its indentation."""
    return inspect.cleandoc(thing.__doc__ or "").split("\n")


def section(thing: object, heading: str) -> str:
    """The text under a docstring's heading, such as `State` or `Source`, on one line; empty if it is not there."""
    taken: list[str] = []
    for line in doc_lines(thing):
        if line.startswith(heading + " "):
            taken.append(line[len(heading) :].strip())
        elif taken and line.startswith("         "):
            taken.append(line.strip())
        elif taken:
            break
    return " ".join(taken)


def explained(thing: object) -> dict[str, str]:
    """What a docstring says of each argument under `Args:`."""
    found: dict[str, str] = {}
    names: list[str] = []
    _, _, text = "\n".join(doc_lines(thing)).partition("Args:\n")
    for line in text.split("\n"):
        if line.strip() and not line.startswith("  "):
            break
        start = re.match(r"  ([\w*, ]+): (.*)", line)
        if start and not line.startswith("   "):
            names = [name.strip().lstrip("*") for name in start[1].split(",")]
            found |= dict.fromkeys(names, start[2])
        elif line.strip():
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found
