"""What the update itself costs: the stages that compute across a leaf, each traced for one leaf of every shape."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
from jax.sharding import PartitionSpec

from gradxform._errors import UnknownNameError
from gradxform._types import Tree
from gradxform.core._dealt import Deal
from gradxform.core._holes import flatten, is_array, paths, with_path
from gradxform.core._road import Spread
from gradxform.core._roles import Stack, is_numbers, of_one
from gradxform.core._spread import heard
from gradxform.core._stage import Stage
from gradxform.core._transformation import Spec
from gradxform.core._travel import Asked
from gradxform.distributed._derived import Derivation, spec_of
from gradxform.planning._collectives import Leaf
from gradxform.planning._dealt import Question, dealt
from gradxform.planning._dealt_state import Share, dealt_with_state
from gradxform.planning._mesh import Axes, split_of
from gradxform.planning._products import Split, Work, whole, work_of
from gradxform.planning._record import Assignment
from gradxform.surgery._summary import Visited


class Stated(NamedTuple):
    """A transformation that is traced, and a tree of parameters for it.

    Attributes:
      tx: a stage, or another library's transformation.
      seen: the tree, as shapes.
      leaves: the parameters by path, as they are changed.
      stored: the same, as the state is stored.
      times: how many such trees there are.
      held: by path how many leaves there are in a stack, apart from what fills it up.
    """

    tx: Any
    seen: Tree
    leaves: Mapping[str, Leaf]
    stored: Mapping[str, Leaf]
    times: int = 1
    held: Mapping[str, int] = MappingProxyType({})

    @property
    def members(self) -> tuple[int | None, ...]:
        """How many leaves each array is a stack of; None: it is none."""
        return tuple(self.held.get(path) for path, x in with_path(self.seen) if is_array(x))


def update_work(
    visited: Iterable[Visited], leaves: Mapping[str, Leaf], stored: Mapping[str, Leaf], axes: Axes, zero: tuple[str, ...]
) -> tuple[Work, list[Assignment]]:
    """The products and the collectives within an update, and who gets which matrices."""
    total, assignments = Work(), []
    for one in visited:
        questions: list[Question] = []
        shares: list[Share] = []
        for stated in _traceable(one, _with_stacks(one, leaves), _with_stacks(one, stored)):
            work, asked, split = _traced(stated, axes, zero)
            total.add(work, stated.times)
            questions += [Question(x, stated.times) for x in asked if not isinstance(x, Deal)]
            shares += [Share(x, stated.tx.update, stated.times, *split, stated.members) for x in asked if isinstance(x, Deal)]
        for found, count in ((questions, dealt), (shares, dealt_with_state)):
            if found:
                work, who = count(found, _spread_of(one, axes), axes)  # type: ignore[arg-type]
                total.add(work)
                assignments += who
    return total, assignments


def _spread_of(one: Visited, axes: Axes) -> Spread:
    """What a stage deals out over, if the mesh has it."""
    spread = one.tx.update.slot.spread  # type: ignore[union-attr]
    if missing := [a for a in spread.axes if a not in axes.sizes]:
        raise UnknownNameError(
            f"plan: {spread.owner} has `spread` {missing[0]!r}, but the mesh has the axes {', '.join(axes.sizes)}."
        )
    return spread


def _with_stacks(one: Visited, leaves: Mapping[str, Leaf]) -> Mapping[str, Leaf]:
    """The parameters by path, and by theirs the stacks in which a stage sees some."""
    seen, each, arrays, found = paths(one.seen), paths(one.each), flatten(one.seen)[0], dict(leaves)
    for first, *_ in one.groups:
        path, x, leaf = seen[first], arrays[first], leaves.get(each[first])
        if leaf is not None:
            split, state = ((), *leaf.split), ((), *leaf.state_split)
            found[path] = dataclasses.replace(leaf, path=path, shape=x.shape, split=split, state_split=state)
    return found


def _traceable(one: Visited, leaves: Mapping[str, Leaf], stored: Mapping[str, Leaf]) -> Iterator[Stated]:
    """A stage for one leaf of each kind, or for all where an argument says what each leaf gets; another library's transformation."""
    spec = getattr(one.tx, "update", None)
    if spec is None or (isinstance(spec, Spec) and not isinstance(spec, Stage)):
        return
    if not isinstance(spec, Stage):
        yield Stated(one.tx, one.seen, leaves, stored)
        return
    kernel = spec.kernel
    if kernel.whole or spec.own_scope == "elementwise" or any(n != "params" and not x.optional for n, x in kernel.needs.items()):
        return
    by_leaf = [not isinstance(spec.args[n], (kind, type(None))) for n, kind in kernel.leaf_args.items()]
    roles = [spec.args[n] for n, what in kernel.cutting.items() if what == "roles"]
    (bare, several), names = of_one(one.seen), paths(one.seen)
    held = {names[group[0]]: len(group) for group in one.groups}
    if any(by_leaf) or not all(x is None or is_numbers(x) for x in roles):
        yield Stated(one.tx, one.seen, leaves, stored, 1, held)
        return
    groups: dict[tuple[Any, ...], list[tuple[str, Any]]] = {}
    for name, path, x, is_stack in zip(names, paths(bare), flatten(one.seen)[0], several, strict=True):
        if is_array(x):
            leaf = leaves.get(name)
            kind = (x.shape, x.dtype, held.get(name), None if leaf is None else (leaf.split, leaf.state_split))
            groups.setdefault(kind, []).append((path, Stack(x) if is_stack else x))
    for group in groups.values():
        path, x = group[0]
        yield Stated(one.tx, {path: x}, leaves, stored, len(group), held)


def _traced(stated: Stated, axes: Axes, zero: tuple[str, ...]) -> tuple[Work, Sequence[Asked | Deal], tuple[Tree, Tree]]:
    """The work of an update of a tree, what it asks for whole or deals out, and how the tree and the state are split."""
    derivation = Derivation(axes.mesh, zero or None)
    leaves, treedef = jax.tree.flatten(stated.seen)

    def placed(given: Mapping[str, Leaf]) -> tuple[list[Split], Tree]:
        splits = [_split(given, path, x) for path, x in with_path(stated.seen)]
        specs = [PartitionSpec(*(one or None for one in split)) for split in splits]
        return splits, treedef.unflatten(map(derivation.split, leaves, specs))

    splits, params = placed(stated.leaves)
    state = derivation.state(stated.tx, placed(stated.stored)[1])
    args = (params, state, params)
    plain = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), args)
    with heard() as asked:
        jaxpr = jax.make_jaxpr(lambda *args: stated.tx.update(*args))(*plain)  # a new function, so that JAX traces it and we hear
    state_splits = [split_of(spec_of(x), x.ndim) for x in jax.tree.leaves(state)]
    work = work_of(jaxpr, [*splits, *state_splits, *splits], axes.sizes)
    if not any(isinstance(x, Deal) for x in asked):
        asked = (asked and _typed(derivation, stated.tx.update, args)) or asked
    return work, asked, (params, state)


def _typed(derivation: Derivation, update: Any, args: Tree) -> list[Asked]:
    """What it asks for, with types that say what splits the matrices; nothing where JAX cannot tell."""
    with heard() as asked:
        try:
            derivation.typed(update, *args)
        except Exception:  # it has no rule for how something before them is split; what is wrong itself has failed already
            return []
    return asked


def _split(leaves: Mapping[str, Leaf], path: str, x: Any) -> Split:
    leaf = leaves.get(path)
    return leaf.state_split if leaf is not None and leaf.shape == x.shape else whole(x.shape)
