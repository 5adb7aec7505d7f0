"""Where a state differs from what a transformation makes, and of what kind each difference is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._types import Params, Tree
from gradxform.core._encoded import is_encoded, is_entry
from gradxform.core._holes import dtype_of, flatten, is_box, is_gap
from gradxform.distributed._per_device import PerDeviceState

KINDS = ("optimizer", "tree", "shape", "arguments", "unread", "storage", "containers", "classes")
"""What can differ, what explains most first: the state of another optimizer has other trees too."""


class Difference(NamedTuple):
    """A place at which two states differ: of what kind it is, its path, what should be there and what is."""

    kind: str
    path: str
    wanted: str
    found: str


class Place(NamedTuple):
    """Where a comparison is.

    Attributes:
      path: the steps on the way there.
      params: the parameters' leaves and structure.
      field: whether it is within a field that has something for each parameter.
      rows: whether arrays have a first axis for devices, whose number `init` does not know.
    """

    path: tuple[str, ...]
    params: tuple[list[Tree], Any]
    field: bool = False
    rows: bool = False

    def differs(self, kind: str, wanted: Tree, found: Tree) -> Difference:
        say = _full_name if kind == "classes" else outline
        return Difference(kind, "/".join(self.path) or "(root)", say(wanted), "abstract" if _is_abstract(found) else say(found))

    def inside(self, parent: Tree, step: str, child: Tree) -> Place:
        """The place of a child."""
        path = self.path if is_box(parent) else (*self.path, step)
        field = self.field or (_is_record(parent) and self._for_each_parameter(child))
        return Place(path, self.params, field, self.rows or isinstance(parent, PerDeviceState))

    def _for_each_parameter(self, x: Tree) -> bool:
        if _has_records(x):
            return False
        try:
            self.params[1].flatten_up_to(x)
        except (ValueError, TypeError, KeyError):
            return False
        return True


def differences(like: Tree, state: Tree, params: Params) -> list[Difference]:
    """Where a state differs from one of shapes and dtypes; what explains most comes first, of one kind in the order of the leaves."""
    found = list(_compared(like, state, Place((), flatten(params))))
    return sorted(found, key=lambda d: KINDS.index(d.kind))


def _is_abstract(x: Tree) -> bool:
    return isinstance(x, jax.ShapeDtypeStruct)


def _full_name(x: Tree) -> str:
    return f"{type(x).__module__}.{type(x).__qualname__}"


def _is_record(x: Tree) -> bool:
    return isinstance(x, tuple) and hasattr(x, "_fields") and not is_entry(x)


def _is_plain(x: Tree) -> bool:
    """A container that says nothing of what is in it."""
    return isinstance(x, (Mapping, list, tuple)) and not _is_record(x) and not is_entry(x)


def _is_code(x: Tree) -> bool:
    """An encoded entry, also as a mapping of its fields."""
    return is_entry(x) and not is_gap(x)


def _has_records(x: Tree) -> bool:
    return any(map(_is_record, jax.tree.leaves(x, is_leaf=lambda y: _is_record(y) or is_entry(y))))


def children(x: Tree) -> dict[str, Tree] | None:
    """What is one level down, by the steps there; None for a leaf."""
    found = jax.tree_util.tree_flatten_with_path(x, is_leaf=lambda y: y is not x)[0]
    if len(found) == 1 and not found[0][0]:
        return None
    return {jax.tree_util.keystr(path, simple=True, separator="/"): child for path, child in found}


def outline(x: Tree) -> str:
    """What stands at a place, in a few words."""
    if x is None:
        return "nothing"
    if is_gap(x):
        return "nothing, as of a leaf that is masked"
    if is_encoded(x):
        return f"{type(x).__name__} {dtype_of(x[0]).name}{list(x.shape)}"
    parts = x._fields if _is_record(x) else children(x)
    if parts is not None:
        return f"{type(x).__name__}({', '.join(list(parts)[:6])}{', ...' * (len(parts) > 6)})"
    if isinstance(x, (bool, int, float, complex)) or hasattr(x, "dtype"):
        return f"{dtype_of(x).name}{list(np.shape(x))}"
    return f"{x!r:.60}"


def _compared(like: Tree, state: Tree, at: Place) -> Iterator[Difference]:
    mine, theirs = children(like), children(state)
    if type(like) is not type(state) and (is_encoded(like) or _is_code(state)):
        yield from _of_entry(like, state, at)
    elif mine is None and theirs is None:
        yield from _of_leaf(like, state, at)
    elif mine == {} and theirs == {} and (state is None or _is_plain(state)):
        if type(like) is not type(state):  # what is empty, stores leave out
            yield at.differs("containers", like, state)
    elif mine is None or theirs is None or is_gap(like) != is_gap(state):
        yield at.differs(_of_structure(at), like, state)
    else:
        kind = _of_class(like, state, at)
        if kind is not None:
            yield at.differs(kind, like, state)
        if kind in (None, "classes", "containers"):
            yield from _of_children(mine, theirs, at, like)


def _of_structure(at: Place) -> str:
    return "tree" if at.field else "optimizer"


def _of_children(mine: Mapping[str, Tree], theirs: Mapping[str, Tree], at: Place, like: Tree) -> Iterator[Difference]:
    for step in dict.fromkeys((*mine, *theirs)):
        there = at.inside(like, step, mine.get(step, theirs.get(step)))
        if step in mine and step in theirs:
            yield from _compared(mine[step], theirs[step], there)
        else:
            yield there.differs(_of_structure(at), mine.get(step), theirs.get(step))


def _of_entry(like: Tree, state: Tree, at: Place) -> Iterator[Difference]:
    """Between an entry that is encoded, and one that is not, or otherwise; the fields of a codec may stand in a dictionary."""
    if isinstance(state, Mapping) and is_encoded(like) and set(state) == set(like._fields):
        yield at.differs("containers", like, state)
        yield from _of_children(like._asdict(), state, at, like)
    elif _is_code(state) or hasattr(state, "dtype"):
        same = isinstance(state, Mapping) or np.shape(like) == np.shape(state)
        yield at.differs("storage" if same else _of_shape(like, at), like, state)
    else:
        yield at.differs(_of_structure(at), like, state)


def _of_class(like: Tree, state: Tree, at: Place) -> str | None:
    """The kind of a difference between two classes of nodes; None where it is one."""
    if type(like) is type(state):
        return None
    if _is_record(like) and _is_record(state):
        same = type(like).__name__ == type(state).__name__ and like._fields == state._fields
        return "classes" if same else "optimizer"
    if is_gap(like):  # two gaps, one of each library
        return "classes" if type(like).__name__ == type(state).__name__ else "tree"
    return "containers" if _is_plain(state) and not _has_records(state) else _of_structure(at)


def _of_shape(like: Tree, at: Place) -> str:
    """Whether another shape is that of another parameter, as far as can be told."""
    return "shape" if at.field and np.shape(like) in map(np.shape, at.params[0]) else "arguments"


def _of_leaf(like: Tree, state: Tree, at: Place) -> Iterator[Difference]:
    is_number = isinstance(state, (bool, int, float, complex))
    if _is_abstract(state) or not (is_number or (hasattr(state, "shape") and hasattr(state, "dtype"))):
        yield at.differs("unread", like, state)
    elif np.shape(like)[at.rows :] != np.shape(state)[at.rows :] or np.ndim(like) != np.ndim(state):
        yield at.differs(_of_shape(like, at), like, state)
    elif dtype_of(like) != dtype_of(state):
        yield at.differs("storage" if jnp.issubdtype(dtype_of(like), jnp.number) else "arguments", like, state)
