"""Labels: which leaf gets which treatment. Masks, partitions, freezing and multipliers all rest on `resolve`.

A label specification is one of

    by_path({"*/bias": "plain", "default": "decayed"})    patterns on paths, the first match wins; a plain dict will do
    by_ndim(2), by_leaf(lambda path, leaf: ...)             predicates on (path, leaf)
    a tree of labels, or a prefix of one                  as in Optax
    a function of the parameters that returns such a tree as in Optax
"""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
import functools
import inspect
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeGuard

import jax

from gradxform._errors import LabelError
from gradxform._types import Array, MaskOrFn, Tree, TreeDef
from gradxform.core._holes import flatten, is_gap, paths
from gradxform.core._transformation import frozen, show
from gradxform.tree._leafwise import MaskedNode

Label = Hashable | Array
"""What a leaf is called: True or False, the name of a group, a number."""


class _Patterns:
    """Shell patterns in order. A path is compared with those only whose longest plain run it contains."""

    def __init__(self, patterns: Iterable[str]):
        self.given, self.by_run = list(patterns), {}
        for i, pattern in enumerate(self.given):
            runs = re.split(r"[*?]", pattern.partition("[")[0])
            self.by_run.setdefault(max(runs, key=len), []).append(i)
        self.lengths = {len(run) for run in self.by_run}

    def first(self, path: str) -> str | None:
        """The first that matches a path, or the path with a `/` before it."""
        rooted = "/" + path
        runs = {rooted[k : k + n] for n in self.lengths for k in range(len(rooted) - n + 1)}
        tried = (self.given[i] for i in sorted(i for run in runs for i in self.by_run.get(run, ())))
        return next((x for x in tried if _matches(path, x) or _matches(rooted, x)), None)


def _matches(path: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(path, pattern) if any(c in pattern for c in "*?[") else path == pattern


@dataclasses.dataclass(frozen=True, eq=False)
class Labels:
    """A rule (path, leaf) -> label. Use `by_path`, `by_ndim` or `by_leaf`."""

    maker: str
    argument: Tree

    def __call__(self, path: str, leaf: Tree) -> Label:
        if self.maker == "by_ndim":
            return len(leaf.shape) == self.argument
        if self.maker == "by_leaf":
            return self.argument(path, leaf)
        return self.argument.get(self.patterns.first(path) or "default", _UNMATCHED)

    @functools.cached_property
    def patterns(self) -> _Patterns:
        return _Patterns(name for name in self.argument if name != "default")

    def __repr__(self) -> str:
        return f"{self.maker}({show(self.argument)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Labels) and self.maker == other.maker and frozen(self.argument) == frozen(other.argument)

    def __hash__(self) -> int:
        return hash((self.maker, frozen(self.argument)))


class _Unmatched:
    """The label of a leaf that no pattern matches."""


_UNMATCHED = _Unmatched()


def by_path(patterns: Mapping[str, Label]) -> Labels:
    """Label a leaf by the first shell pattern that matches its path, such as `encoder/0/bias`; `"default"` takes the rest.

    `*` also matches across `/`, and `*/bias` matches a `bias` at the root. Without a `"default"`, a leaf that matches nothing is
    an error, and so is a pattern that matches no leaf. The box of a parameter is no step of its path: the `bias` of Flax's NNX, in a
    variable, and that of Linen, with or without metadata, have the same one.

    Args:
      patterns: a dictionary from shell patterns of paths to labels; the first that matches counts.

    >>> tx = gx.adamw(1e-3, mask=gx.by_path({"b": False, "default": True}))
    """
    return Labels("by_path", dict(patterns))


def by_ndim(ndim: int) -> Labels:
    """True at leaves with that many axes: `masked(tx, by_ndim(2))` transforms matrices only.

    Args:
      ndim: the number of axes.

    >>> tx = gx.adamw(1e-3, mask=gx.by_ndim(2))  # decay matrices only
    """
    return Labels("by_ndim", ndim)


def by_leaf(predicate: Callable[[str, Tree], Label]) -> Labels:
    """Label a leaf by a function of its path and of the leaf, of which shape and dtype may be used.

    Args:
      predicate: (path, leaf) -> label.

    >>> tx = gx.masked(gx.clip(1.0), gx.by_leaf(lambda path, leaf: leaf.size > 2))
    """
    return Labels("by_leaf", predicate)


def is_patterns(spec: Tree, tree: Tree, partial: bool = False) -> TypeGuard[Mapping[str, Label]]:
    """Whether a mapping is one from patterns. If `partial`, it need not name all leaves, so that plain paths are patterns too."""
    if not isinstance(spec, Mapping) or not all(isinstance(k, str) for k in spec):
        return False
    if isinstance(tree, Mapping) and set(spec) == set(tree):
        return False
    return partial or any(k == "default" or any(c in k for c in "*?[/") for k in spec)


def is_function(spec: Tree, tree: Tree) -> TypeGuard[Callable[..., Tree]]:
    """Whether it is a function of the tree, rather than one laid out like it whose class happens to be callable, as a model's is.

    A function may be a tree itself: `jax.tree_util.Partial`, a module with numbers in it, a method of one.
    """
    if not callable(spec) or type(spec) is type(tree):
        return False
    leaves = flatten(spec)[0]
    alone = len(leaves) == 1 and leaves[0] is spec
    return alone or isinstance(spec, functools.partial) or any(_labels_by_name(spec, tree)[1:])


def resolve(owner: str, spec: MaskOrFn, tree: Tree, default: Label = _UNMATCHED) -> list[Label]:
    """One label per leaf of `tree` (gaps count as leaves; their labels are to be ignored).

    With a `default`, leaves that no pattern matches have that label.
    """
    cut = cut_by(owner, spec, tree, default)
    return [label for label, part in zip(cut.labels, cut.take(tree), strict=True) for _ in flatten(part)[0]]


class Cut(NamedTuple):
    """A tree in parts, with a label for each: leaves, or whole subtrees where the labels are a prefix."""

    treedef: TreeDef
    labels: Sequence[Label]

    def take(self, tree: Tree) -> list[Tree]:
        """The parts of a tree of the same structure."""
        return self.treedef.flatten_up_to(tree)

    def keep(self, tree: Tree, label: Label) -> Tree:
        """`tree` with a `MaskedNode` in place of each part that has another label."""
        parts = zip(self.take(tree), self.labels, strict=True)
        return self.treedef.unflatten([x if own == label or is_gap(x) else MaskedNode() for x, own in parts])

    def put(self, tree: Tree, label: Label, new: Tree) -> Tree:
        """`tree` with the parts of that label from `new`, which may have been kept."""
        parts = zip(self.take(tree), self.take(new), self.labels, strict=True)
        return self.treedef.unflatten([y if own == label and not is_gap(x) else x for x, y, own in parts])

    def fixed(self) -> Cut:
        """The same, to be hashed."""
        return self._replace(labels=tuple(self.labels))

    def named(self) -> list[tuple[str, Label]]:
        """Path and label of each part."""
        return list(zip(paths(self.treedef.unflatten(range(len(self.labels)))), self.labels, strict=True))


def cut_by(owner: str, spec: MaskOrFn, tree: Tree, default: Label = _UNMATCHED) -> Cut:
    """Cut a tree at the places where a specification has its labels."""
    if is_patterns(spec, tree, partial=default is not _UNMATCHED):
        spec = by_path(spec)
    if is_function(spec, tree) and not isinstance(spec, Labels):
        spec = by_leaf(spec) if _takes_path(spec) else _of_tree(owner, spec, tree)
    if not isinstance(spec, Labels):
        return _cut_by_tree(owner, spec, tree)
    (leaves, treedef), names = flatten(tree), paths(tree)
    labels = [None if is_gap(x) else spec(name, x) for name, x in zip(names, leaves, strict=True)]
    labels = [default if label is _UNMATCHED else label for label in labels]
    unmatched = [name for name, label in zip(names, labels, strict=True) if label is _UNMATCHED]
    if unmatched:
        near = "".join(suggest(name, [k.strip("*/") for k in spec.argument], list(spec.argument)) for name in unmatched[:1])
        raise LabelError(f"{owner}: no pattern of {spec!r} matches {_listed(unmatched)}.{near} Add a pattern, or a 'default'.")
    _check_patterns_used(owner, spec, names)
    return Cut(treedef, labels)


def suggest(name: object, candidates: Sequence[object], shown: Sequence[object] | None = None) -> str:
    """ " Did you mean ...?", if one of the candidates is near."""
    texts = [str(c) for c in candidates]
    near = difflib.get_close_matches(str(name), texts, n=1, cutoff=0.6)
    return f" Did you mean {(shown or candidates)[texts.index(near[0])]!r}?" if near else ""


def _of_tree(owner: str, spec: Callable[[Tree], Tree], tree: Tree) -> Tree:
    try:
        return spec(tree)
    except AttributeError as e:
        if e.obj is not tree:
            raise
        raise LabelError(
            f"{owner}: a function of one argument gets the whole tree, of which it asked `.{e.name}`, not a leaf. Give a function of "
            "path and leaf, `lambda path, leaf: ...`, or `by_ndim(2)` for matrices, or map it: `jax.tree.map(f, params)`."
        ) from e


def _takes_path(spec: Callable[..., Label]) -> bool:
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
    first = {spec.patterns.first(name) for name in names}
    for pattern in spec.patterns.given:
        if pattern not in first and not any(map(_Patterns([pattern]).first, names)):
            raise LabelError(
                f"{owner}: the pattern {pattern!r} matches no leaf.{_nearest(pattern, names)} The paths are {_listed(names)}."
            )


def _nearest(pattern: str, names: Sequence[str]) -> str:
    """A suggestion of a pattern of the same form that does match."""
    bare = pattern.strip("*/")
    before, after = pattern.split(bare, 1) if bare else (pattern, "")
    steps = [name.split("/") for name in names]
    n = bare.count("/") + 1
    parts = dict.fromkeys("/".join(path[i : i + n]) for path in steps for i in range(len(path)))
    fitting = [part for part in parts if any(map(_Patterns([before + part + after]).first, names))]
    return suggest(bare, fitting, [before + part + after for part in fitting])


def _cut_by_tree(owner: str, prefix: Tree, tree: Tree) -> Cut:
    """Cut a tree by a tree of labels, which may be a prefix of it, go deeper where the tree has a gap, or have other containers."""
    pruned = _pruned(prefix, tree) if any(map(is_gap, flatten(tree)[0])) else prefix
    labels, treedef = flatten(pruned)
    try:
        treedef.flatten_up_to(tree)
    except (ValueError, TypeError, KeyError) as e:
        by_name, missing, unused = _labels_by_name(pruned, tree)
        if not (missing or unused):
            return Cut(flatten(tree)[1], by_name)
        odd = f" No label for {_listed(missing)}." if missing else ""
        odd += f" No leaf for the label at {_listed(unused)}.{suggest(unused[0], missing)}" if unused else ""
        raise LabelError(
            f"{owner}: the labels should have the structure of the parameters, or of a prefix of them ({e!s:.300}).{odd} "
            f"Labels: {jax.tree.structure(prefix)}; parameters: {jax.tree.structure(tree)}; paths: {_listed(paths(tree))}."
        ) from e
    return Cut(treedef, labels)


def _pruned(prefix: Tree, tree: Tree) -> Tree:
    """The labels without those of what is a gap in the tree."""
    gaps = {path for path, x in jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_gap)[0] if is_gap(x)}
    return jax.tree.map_with_path(
        lambda path, label: None if path in gaps else label,
        prefix,
        is_leaf=lambda path, x: path in gaps or is_gap(x),
        is_leaf_takes_path=True,
    )


def _labels_by_name(prefix: Tree, tree: Tree) -> tuple[list[Label], list[str], list[str]]:
    """The labels of the leaves by their paths alone, as where one is a `dict` and the other a `FrozenDict`; what has no partner."""
    labels, found, missing = dict(zip(paths(prefix), flatten(prefix)[0], strict=True)), [], []
    unused = dict.fromkeys(labels)
    for name in paths(tree):
        steps = name.split("/")
        owner = next((p for n in range(len(steps), 0, -1) if (p := "/".join(steps[:n])) in labels), None)
        if owner is None:
            missing.append(name)
        else:
            unused.pop(owner, None)
            found.append(labels[owner])
    return found, missing, list(unused)


def _listed(names: list[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(n) for n in names[:most]) + more
