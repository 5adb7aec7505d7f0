"""Reading and replacing the parts of a tree by name: a key of a dictionary, a field of a record, or the name of a NamedTuple class.

`get(opt_state, "count")` is the one value of that name, `set(opt_state, learning_rate=0.1)` a copy with every value of that name
replaced, and `filtering=lambda path, value: "ScaleByAdamState" in keystr(path)` narrows down what either finds.
"""

# ruff: noqa: A001

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import jax
from jax.tree_util import DictKey, GetAttrKey, keystr

from gradxform._types import Tree
from gradxform.tree._leafwise import is_encoded

Path = tuple[Any, ...]
Filter = Callable[[Path, Any], bool]


@dataclasses.dataclass(frozen=True)
class NamedTupleKey:
    """The entry of a path for a field of a NamedTuple; unlike JAX's own it knows the class.

    Attributes:
      tuple_name: name of the class.
      name: name of the field.
    """

    tuple_name: str
    name: str

    def __str__(self) -> str:
        return f"{self.tuple_name}.{self.name}"


def get_all_with_path(tree: Tree, key: Hashable, filtering: Filter | None = None) -> list[tuple[Path, Tree]]:
    """(path, value) for every value of that name, outer ones first, for which filtering(path, value) holds.

    Args:
      tree: a state, or any tree of named tuples, dictionaries and dataclasses.
      key: the name of a field, or of a dictionary's entry.
      filtering: (path, value) -> whether it counts; None: all do.

    >>> [value for path, value in gx.tree.get_all_with_path(gx.adam(1e-3).init(jnp.ones(2)), "count")]
    [Array(0, dtype=int32)]
    """
    found = [(path, node) for path, node in _walk((), tree) if key in _names(path, node) and _passes(filtering, path, node)]
    return sorted(found, key=lambda pair: len(pair[0]))


def get(tree: Tree, key: Hashable, default: Tree = None, filtering: Filter | None = None) -> Tree:
    """The value of that name, or the default if there is none; several are a `KeyError`.

    Args:
      tree: a state, or any tree of named tuples, dictionaries and dataclasses.
      key: the name of a field, or of a dictionary's entry.
      default: what is returned if there is none.
      filtering: (path, value) -> whether it counts; None: all do.

    >>> gx.tree.get(gx.adam(1e-3).init(jnp.ones(2)), "mu")
    Array([0., 0.], dtype=float32)
    """
    found = get_all_with_path(tree, key, filtering)
    if len(found) > 1:
        raise KeyError(
            f"tree.get: {key!r} is found at {len(found)} places: {_listed(found)}. Choose one with "
            "`filtering=lambda path, value: ...`, or take all of them with `get_all_with_path`."
        )
    return found[0][1] if found else default


def set(tree: Tree, filtering: Filter | None = None, /, **kwargs: Tree) -> Tree:
    """A copy in which every value of the given names for which filtering(path, value) holds is replaced.

    Args:
      tree: a state, or any tree of named tuples, dictionaries and dataclasses.
      filtering: (path, value) -> whether it counts; None: all do.
      kwargs: new values by name.

    >>> state = gx.tree.set(gx.adam(1e-3).init(jnp.ones(2)), count=jnp.array(7))
    >>> int(state[0].count)
    7
    """
    for name in kwargs:
        if not get_all_with_path(tree, name, filtering):
            raise KeyError(_absent(tree, name))

    def replace(path: Path, node: Tree) -> Tree:
        for name in _names(path, node):
            if name in kwargs and _passes(filtering, path, node):
                return kwargs[name]
        children, together = _children(path, node)
        return node if together is None else together([replace(*child) for child in children])

    return replace((), tree)


def _passes(filtering: Filter | None, path: Path, node: Tree) -> bool:
    return filtering is None or bool(filtering(path, node))


def _children(path: Path, node: Tree) -> tuple[list[tuple[Path, Tree]], Callable[[list[Tree]], Tree] | None]:
    """The children of a node with their paths, and how to put it together from new ones; `None` if it is a leaf."""
    if is_encoded(node):
        return [], None
    pairs, structure = jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda x: x is not node)
    if jax.tree_util.treedef_is_leaf(structure) and structure.num_leaves:
        return [], None
    owner = type(node).__name__ if hasattr(node, "_fields") else None
    return [((*path, NamedTupleKey(owner, key.name) if owner else key), child) for (key,), child in pairs], structure.unflatten


def _walk(path: Path, node: Tree) -> Iterator[tuple[Path, Tree]]:
    yield path, node
    for child in _children(path, node)[0]:
        yield from _walk(*child)


def _names(path: Path, node: Tree) -> list[Any]:
    """What a node may be called: by the last entry of its path, and by its class."""
    names: list[Any] = [type(node).__name__] if hasattr(node, "_fields") else []
    for last in path[-1:]:
        if isinstance(last, DictKey):
            names.append(last.key)
        elif isinstance(last, (GetAttrKey, NamedTupleKey)):
            names.append(last.name)
    return names


def _listed(found: Sequence[tuple[Path, Tree]]) -> str:
    return ", ".join(keystr(path, simple=True, separator="/") or "(root)" for path, _ in found)


def _absent(tree: Tree, name: str) -> str:
    found = get_all_with_path(tree, name)
    if found:
        return f"tree.set: {name!r} is found at {_listed(found)}, but `filtering` rejects every one of these."
    names = list(dict.fromkeys(str(n) for path, node in _walk((), tree) for n in _names(path, node)))
    near = difflib.get_close_matches(name, names, n=3)
    advice = f"Did you mean {' or '.join(map(repr, near))}?" if near else f"The names are {', '.join(names) or '(none)'}."
    return f"tree.set: there is no {name!r} in this tree. {advice}"
