"""Words around numbers and names."""

from __future__ import annotations

from collections.abc import Sequence

MOST_LISTED = 9  # names in a sentence


def counted(count: int, noun: str) -> str:
    """`1 seed`, `9 seeds`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`; of very many the first."""
    if len(names) > MOST_LISTED:
        names = [*names[: MOST_LISTED - 1], f"{len(names) - MOST_LISTED + 1} more"]
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
