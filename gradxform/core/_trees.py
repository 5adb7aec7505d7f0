"""`Trees`: the trees of one update, taken apart along the structure of the updates, checked, and put together again."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._errors import StructureError
from gradxform._messages import GRADIENTS, shape_of, unpacked
from gradxform._numerics import increment, is_inexact
from gradxform._types import Array, Shape, Tree, TreeDef, Updates
from gradxform.core._encoded import as_encoded
from gradxform.core._holes import as_array, dtype_of, flatten, is_array, is_gap, is_whole_array, paths, sparse_indices

VALUE_AND_GRADIENTS = "(value, gradients), as `jax.value_and_grad` returns. Write `value, grads = ...`, and pass `grads`."
GRADIENTS_AND_AUX = "(gradients, aux), as `jax.grad` with `has_aux` returns. Write `grads, aux = ...`, and pass `grads`."
UPDATES_AND_STATE = "(updates, state), as `update` returns. Write `updates, state = tx.update(...)`, and pass `updates`."

advance = jax.jit(lambda counts: [increment(t) for t in counts])
"""Clocks, each one update later, in one call."""
numbers_may_go = functools.partial(jax.transfer_guard_host_to_device, "allow")
"""A context in which hyperparameters, first states and what is done to counts go to the device, though `jax.transfer_guard` disallow it.

They are meant to; one by one `jax.device_put` takes as long as the update of a leaf.
"""

DENSE = (
    "A sparse array is a gradient of a parameter that is sparse too, element by element of its data. For any other parameter make it "
    "dense: `jax.tree.map(lambda g: g.todense(), grads, is_leaf=lambda g: isinstance(g, jax.experimental.sparse.JAXSparse))`."
)


class Trees:
    """The trees of one update, taken apart along the structure of the updates; gaps and non-arrays are skipped."""

    owner: str
    updates: Updates
    noun: str
    leaves: list[Tree]
    treedef: TreeDef
    present: list[int]
    shapes: list[Shape | None]

    def __init__(self, owner: str, updates: Updates, noun: str = "update"):
        self.owner, self.updates, self.noun = owner, updates, noun
        self.leaves, self.treedef = flatten(updates)
        self._look()

    def settle(self, *beside: Tree) -> None:
        """Decide what is a gradient, once for all that is done with these updates.

        Where the parameter is of whole numbers there is nothing to optimise: its update is 0 in its dtype. For any other parameter, and for
        an unknown one, whole numbers and flags are a gradient, in the dtype of the parameter or the default one. What the parameters are,
        the first of the trees `beside` that is laid out like the updates says: the parameters, or what a state keeps for each of them.
        """
        known = next((parts for tree in beside if tree is not None and (parts := self._parts(tree))), [])
        odd = len(self.present) < len(self.leaves) and any(map(is_whole_array, self.leaves))
        if not odd and all(dtype is not None and is_inexact(dtype) for dtype in {getattr(x, "dtype", None) for x in known}):
            return
        indices = sparse_indices(self.updates) if odd else set()
        parts = [self.leaves[i] if i in indices else p for i, p in enumerate(known or [UNKNOWN] * len(self.leaves))]
        self.leaves = [_settled(g, p) for g, p in zip(self.leaves, parts, strict=True)]
        self.updates = self.together(self.leaves)
        self._look()

    def _look(self) -> None:
        self.present = [i for i, x in enumerate(self.leaves) if is_array(x)]
        self.shapes = [getattr(x, "shape", None) for x in self.leaves]

    def _parts(self, tree: Tree) -> list[Tree] | None:
        """The parts of a tree that belong to the leaves of the updates; None where it is laid out otherwise."""
        try:
            return self.treedef.flatten_up_to(tree)
        except (ValueError, TypeError, KeyError):
            return None

    def entries(self, tree: Tree) -> tuple[list[Tree], TreeDef]:
        """The parts of a tree that belong to the leaves of the updates, and their structure; none where it is laid out otherwise."""
        return self._parts(tree) or [], self.treedef

    @functools.cached_property
    def paths(self) -> list[str]:
        return paths(self.updates)

    @property
    def arrays(self) -> list[Array]:
        """The leaves that are arrays with inexact numbers in them."""
        return [as_array(x) for x in self.pick(self.leaves)]

    def take(self, what: str, tree: Tree, advice: str = GRADIENTS) -> list[Tree]:
        """The parts of `tree` that belong to the leaves of the updates."""
        try:
            return self.treedef.flatten_up_to(tree)
        except (ValueError, TypeError, KeyError) as e:
            if packed := self._packed(what, tree):
                raise StructureError(f"{self.owner}: {packed}") from e
            ours, theirs = dict.fromkeys(self.paths), dict.fromkeys(paths(tree))
            odd = [p for p in ours if p not in theirs] + [p for p in theirs if p not in ours]
            at = f" They part at {', '.join(odd[:5])}." if odd else " Their containers are of different types."
            raise StructureError(
                f"{self.owner}: {what} should have the structure of the {self.noun}s, but has another.{at} "
                f"The {self.noun}s: {_outline(self.updates)}; {what}: {_outline(tree)}. {DENSE if sparse_indices(self.updates) else advice}"
            ) from e

    def _packed(self, what: str, tree: Tree) -> str:
        """What to say where one of the two is in a pair with something else."""
        ours, theirs = unpacked(self.updates, tree), unpacked(tree, self.updates)
        if ours is not None:
            return f"the {self.noun}s are a pair: {(GRADIENTS_AND_AUX, VALUE_AND_GRADIENTS)[ours]}"
        if theirs is not None:
            return f"{what} is a pair: {(UPDATES_AND_STATE, VALUE_AND_GRADIENTS)[theirs]}"
        return ""

    def like(self, what: str, tree: Tree, advice: str = GRADIENTS) -> list[Tree]:
        """As `take`, and each part must be an array of the update's shape."""
        parts = self.take(what, tree, advice)
        if [getattr(x, "shape", None) for x in parts] == self.shapes:
            return parts
        parts = [as_encoded(x) for x in parts]
        for i in self.present:
            part, g = parts[i], self.leaves[i]
            if getattr(part, "shape", ()) != getattr(g, "shape", ()) or not (hasattr(part, "dtype") or is_array(part)):
                came = "nothing" if is_gap(part) else shape_of(part)
                raise StructureError(
                    f"{self.owner}: at {self.paths[i]!r} the {self.noun} has shape {np.shape(g)}, but {what} has {came}. "
                    f"They must agree; nothing is broadcast. {advice}"
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

    def note(self, e: Exception, *which: int) -> None:
        """Add to an error at which of the present leaves it is."""
        e.add_note(f"gradxform: in {self.owner}, at leaf {', '.join(repr(self.paths[self.present[i]]) for i in which)}")

    def together(self, parts: Sequence[Tree]) -> Tree:
        return self.treedef.unflatten(parts)


UNKNOWN = object()
"""Stands for a parameter of which neither `params` nor a state says anything."""


def _settled(g: Tree, p: Tree) -> Tree:
    if not (is_array(g) or is_whole_array(g)):
        return g
    if is_whole_array(p):
        return jnp.zeros_like(p)
    if is_gap(p) and is_whole_array(g):  # a state keeps nothing for it, as for one of whole numbers that are Python's
        return jnp.zeros_like(g)
    return g if is_array(g) else jnp.asarray(g, dtype_of(p) if is_array(p) else jnp.result_type(float))


def _outline(tree: Tree) -> str:
    return f"{jax.tree.structure(tree)}"[:300]
