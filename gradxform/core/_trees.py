"""`Trees`: the trees of one update, taken apart along the structure of the updates, checked, and put together again."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import numpy as np

from gradxform._errors import StructureError
from gradxform._numerics import increment
from gradxform._types import Array, Shape, Tree, TreeDef, Updates
from gradxform.core._holes import as_array, flatten, is_array, is_gap, paths

advance = jax.jit(lambda counts: [increment(t) for t in counts])
"""Clocks, each one update later, in one call."""


class Trees:
    """The trees of one update, taken apart along the structure of the updates; gaps and non-arrays are skipped."""

    owner: str
    updates: Updates
    leaves: list[Tree]
    treedef: TreeDef
    present: list[int]
    shapes: list[Shape | None]

    def __init__(self, owner: str, updates: Updates):
        self.owner, self.updates = owner, updates
        self.leaves, self.treedef = flatten(updates)
        self.present = [i for i, x in enumerate(self.leaves) if is_array(x)]
        self.shapes = [getattr(x, "shape", None) for x in self.leaves]

    @functools.cached_property
    def paths(self) -> list[str]:
        return paths(self.updates)

    @property
    def arrays(self) -> list[Array]:
        """The leaves that are arrays with inexact numbers in them."""
        return [as_array(x) for x in self.pick(self.leaves)]

    def take(self, what: str, tree: Tree) -> list[Tree]:
        """The parts of `tree` that belong to the leaves of the updates."""
        try:
            return self.treedef.flatten_up_to(tree)
        except (ValueError, TypeError, KeyError) as e:
            theirs = paths(tree)
            odd = [p for p in self.paths if p not in set(theirs)] + [p for p in theirs if p not in set(self.paths)]
            at = f" They part at {', '.join(odd[:5])}." if odd else " Their containers are of different types."
            raise StructureError(
                f"{self.owner}: {what} should have the structure of the updates, but has another.{at} "
                f"Updates: {_outline(self.updates)}; {what}: {_outline(tree)}. Pass gradients of the parameters that `init` saw."
            ) from e

    def like(self, what: str, tree: Tree) -> list[Tree]:
        """As `take`, and each part must be an array of the update's shape."""
        parts = self.take(what, tree)
        if [getattr(x, "shape", None) for x in parts] == self.shapes:
            return parts
        for i in self.present:
            part, g = parts[i], self.leaves[i]
            if getattr(part, "shape", ()) != getattr(g, "shape", ()) or not (hasattr(part, "dtype") or is_array(part)):
                came = "nothing" if is_gap(part) else f"shape {np.shape(part)}"
                raise StructureError(
                    f"{self.owner}: at {self.paths[i]!r} the update has shape {np.shape(g)}, but {what} has {came}. "
                    "They must agree; nothing is broadcast."
                )
        return parts

    def pick(self, parts: list[Tree]) -> list[Tree]:
        """The parts at the present leaves."""
        return parts if len(self.present) == len(parts) else [parts[i] for i in self.present]

    def put(self, parts: list[Tree], new: Sequence[Tree]) -> list[Tree]:
        """The parts, with new ones at the present leaves."""
        if len(new) == len(parts):
            return list(new)
        parts = list(parts)
        for i, x in zip(self.present, new, strict=True):
            parts[i] = x
        return parts

    def together(self, parts: Sequence[Tree]) -> Tree:
        return self.treedef.unflatten(parts)


def _outline(tree: Tree) -> str:
    return f"{jax.tree.structure(tree)}"[:300]
