"""Labels: which leaf gets which treatment. Masks, partitions, freezing and multipliers all rest on `resolve`.

A label specification is one of

    by_path({"*/bias": "plain", "default": "decayed"})    patterns on paths, the first match wins; a plain dict will do
    by_ndim(2), by_leaf(lambda path, leaf: ...)             predicates on (path, leaf)
    a tree of labels, or a prefix of one                  as in Optax
    a function of the parameters that returns such a tree as in Optax
"""

from __future__ import annotations

import dataclasses
import fnmatch
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax

from gradxform._errors import LabelError
from gradxform.core._holes import flatten, is_gap, paths
from gradxform.core._transformation import frozen, show


@dataclasses.dataclass(frozen=True, eq=False)
class Labels:
    """A rule (path, leaf) -> label. Use `by_path`, `by_ndim` or `by_leaf`."""

    maker: str
    argument: Any

    def __call__(self, path: str, leaf: Any) -> Any:
        if self.maker == "by_ndim":
            return len(leaf.shape) == self.argument
        if self.maker == "by_leaf":
            return self.argument(path, leaf)
        for pattern, label in self.argument.items():
            if pattern != "default" and (fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase("/" + path, pattern)):
                return label
        return self.argument.get("default", _UNMATCHED)

    def __repr__(self) -> str:
        return f"{self.maker}({show(self.argument)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Labels) and self.maker == other.maker and frozen(self.argument) == frozen(other.argument)

    def __hash__(self) -> int:
        return hash((self.maker, frozen(self.argument)))


class _Unmatched:
    """The label of a leaf that no pattern matches."""


_UNMATCHED = _Unmatched()


def by_path(patterns: Mapping[str, Any]) -> Labels:
    """Label a leaf by the first shell pattern that matches its path, such as `encoder/0/bias`; `"default"` takes the rest.

    `*` also matches across `/`, and `*/bias` matches a `bias` at the root. Without a `"default"`, a leaf that matches nothing is
    an error, and so is a pattern that matches no leaf.
    """
    return Labels("by_path", dict(patterns))


def by_ndim(ndim: int) -> Labels:
    """True at leaves with that many axes: `masked(tx, by_ndim(2))` transforms matrices only."""
    return Labels("by_ndim", ndim)


def by_leaf(predicate: Callable[[str, Any], Any]) -> Labels:
    """Label a leaf by a function of its path and of the leaf, of which shape and dtype may be used."""
    return Labels("by_leaf", predicate)


def _is_patterns(spec: Any, tree: Any, partial: bool = False) -> bool:
    """Whether a mapping is one from patterns. If `partial`, it need not name all leaves, so that plain paths are patterns too."""
    if not isinstance(spec, Mapping) or not all(isinstance(k, str) for k in spec):
        return False
    if isinstance(tree, Mapping) and set(spec) == set(tree):
        return False
    return partial or any(k == "default" or any(c in k for c in "*?[/") for k in spec)


def _is_function(spec: Any) -> bool:
    """A function of the parameters, rather than a tree whose nodes happen to be callable."""
    if not callable(spec):
        return False
    leaves = jax.tree.leaves(spec)
    return (len(leaves) == 1 and leaves[0] is spec) or (bool(leaves) and all(callable(x) for x in leaves))


def resolve(owner: str, spec: Any, tree: Any, default: Any = _UNMATCHED) -> list[Any]:
    """One label per leaf of `tree` (gaps count as leaves; their labels are to be ignored).

    With a `default`, leaves that no pattern matches have that label.
    """
    if _is_patterns(spec, tree, partial=default is not _UNMATCHED):
        spec = by_path(spec)
    if _is_function(spec) and not isinstance(spec, Labels):
        spec = by_leaf(spec) if _takes_path(spec) else spec(tree)
    leaves, names = flatten(tree)[0], paths(tree)
    if isinstance(spec, Labels):
        labels = [None if is_gap(x) else spec(name, x) for name, x in zip(names, leaves, strict=True)]
        labels = [default if label is _UNMATCHED else label for label in labels]
        unmatched = [name for name, label in zip(names, labels, strict=True) if label is _UNMATCHED]
        if unmatched:
            raise LabelError(f"{owner}: no pattern of {spec!r} matches {_listed(unmatched)}. Add a pattern, or a 'default'.")
        _check_patterns_used(owner, spec, names)
        return labels
    return _broadcast(owner, spec, tree)


def _takes_path(spec: Callable[..., Any]) -> bool:
    try:
        needed = [
            p for p in inspect.signature(spec).parameters.values() if p.default is p.empty and p.kind <= p.POSITIONAL_OR_KEYWORD
        ]
    except (ValueError, TypeError):
        return False
    return len(needed) == 2


def _check_patterns_used(owner: str, spec: Labels, names: list[str]) -> None:
    if spec.maker != "by_path" or not names:
        return
    for pattern in spec.argument:
        if pattern != "default" and not any(
            fnmatch.fnmatchcase(n, pattern) or fnmatch.fnmatchcase("/" + n, pattern) for n in names
        ):
            raise LabelError(f"{owner}: the pattern {pattern!r} matches no leaf. The paths are {_listed(names)}.")


def _broadcast(owner: str, prefix: Any, tree: Any) -> list[Any]:
    """Spread a tree of labels, which may be a prefix of `tree`, over the leaves of `tree`."""
    tops, treedef = jax.tree.flatten(prefix, is_leaf=is_gap)
    try:
        parts = treedef.flatten_up_to(tree)
    except (ValueError, TypeError, KeyError) as e:
        raise LabelError(
            f"{owner}: the labels should have the structure of the parameters, or of a prefix of them. "
            f"Labels: {jax.tree.structure(prefix)}; parameters: {jax.tree.structure(tree)}; paths: {_listed(paths(tree))}."
        ) from e
    return [top for top, part in zip(tops, parts, strict=True) for _ in flatten(part)[0]]


def _listed(names: list[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(n) for n in names[:most]) + more
