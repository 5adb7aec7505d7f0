"""Stacks: matrices of one shape, each a leaf of its own, are held as one array, with their state.

So they can rest each on one device (`_dealt`), as layers in one leaf do, and nothing of a state is put together at every step. A stage
sees a tree in which a `Stack` stands in the place of the first of them, and holes in those of the others.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from gradxform._numerics import promote
from gradxform._types import OptState, Params, Tree, TreeDef, Updates
from gradxform.core._blocks import blocks_of, roles_in
from gradxform.core._evaluate import After, evaluated
from gradxform.core._explicit import at, place_of
from gradxform.core._holes import MaskedNode, dtype_of, flatten, is_array, is_whole_array
from gradxform.core._parts import Known, Part
from gradxform.core._roles import Role, Stack, beginning, warn_of_turned
from gradxform.core._stage import Stage
from gradxform.core._transformation import GradientTransformation, Spec, transformation
from gradxform.core._trees import Trees, numbers_may_go
from gradxform.core._views import View
from gradxform.core._whole import Bound
from gradxform.tree._params import is_stand_in


@dataclasses.dataclass(frozen=True)
class Group:
    """The leaves of a stack, by their positions, and how long it is with what fills it up."""

    leaves: tuple[int, ...]
    length: int


@dataclasses.dataclass(frozen=True)
class Stacks(View):
    """A tree with stacks in the places of some leaves."""

    groups: tuple[Group, ...]

    def see(self, tree: Tree) -> Tree:
        leaves, treedef = flatten(tree)
        return treedef.unflatten(self.together(leaves))

    def put(self, tree: Tree, seen: Tree) -> Tree:
        leaves, treedef = flatten(tree)
        found = self.apart(treedef.flatten_up_to(seen))
        like = lambda x, new: at(place_of(x), new.astype(dtype_of(x)), x) if is_array(x) and is_array(new) else new
        return treedef.unflatten(map(like, leaves, found))

    def together(self, entries: Sequence[Tree]) -> list[Tree]:
        """Entries of leaves, arrays or trees of them, as they are in what is seen."""
        found = list(entries)
        for group in self.groups:
            first, *others = group.leaves
            found[first] = Stack(jax.tree.map(functools.partial(_stacked, group.length), *(entries[i] for i in group.leaves)))
            for i in others:
                found[i] = MaskedNode()
        return found

    def apart(self, entries: Sequence[Tree]) -> list[Tree]:
        """The inverse."""
        found = list(entries)
        for group in self.groups:
            members = entries[group.leaves[0]].members
            for k, i in enumerate(group.leaves):
                found[i] = jax.tree.map(lambda x, k=k: _member(k, x), members)
        return found

    def filled(self, leaves: Sequence[Tree], params: Sequence[Tree]) -> tuple[list[Tree], set[int]]:
        """Gradients with 0 where a member of a stack has none, and which have none."""
        found, absent = list(leaves), set[int]()
        for i in (i for group in self.groups for i in group.leaves if not is_array(leaves[i])):
            if is_whole_array(leaves[i]):
                found[i] = jnp.asarray(leaves[i], dtype_of(params[i]))
            else:
                found[i] = jnp.zeros_like(params[i])
                absent.add(i)
        return found, absent

    def fits(self, leaves: Sequence[Tree]) -> bool:
        """Whether the members of each stack are of one shape."""
        return all(len({np.shape(leaves[i]) for i in group.leaves}) == 1 for group in self.groups)

    def kept(self, absent: Collection[int], new: Sequence[Tree], old: Sequence[Tree]) -> list[Tree]:
        """New entries, and old ones of what had no gradient."""
        found = list(new)
        for group in self.groups:
            first, stays = group.leaves[0], np.isin(group.leaves, list(absent))
            stays = np.concatenate([stays, stays[-1:].repeat(group.length - len(stays))])  # what fills up copies the last
            choose = lambda x, y, stays=stays: jnp.where(stays.reshape(-1, *(1,) * (y.ndim - 1)), y, x)
            found[first] = jax.tree.map(choose, new[first], old[first]) if stays.any() else new[first]
        return found

    def regained(self, entries: Sequence[Tree]) -> list[Tree]:
        """Entries with stacks and holes where these are mappings: Flax's NNX hands records back as such."""
        found, fields = list(entries), {*Stack._fields}
        for first, *others in (group.leaves for group in self.groups):
            if isinstance(entries[first], Mapping) and {*entries[first]} == fields:
                found[first] = Stack(**entries[first])
                for i in others:
                    found[i] = MaskedNode()
        return found


def _stacked(length: int, *xs: Tree) -> Tree:
    """Arrays along a new first axis, split as the first is, with copies of the last one behind them."""
    if isinstance(xs[0], jax.ShapeDtypeStruct):
        return jax.eval_shape(functools.partial(_stacked, length), *xs)
    dtype, place = functools.reduce(promote, map(dtype_of, xs)), place_of(xs[0])
    return jnp.stack([at(place, jnp.asarray(x, dtype), x) for x in (*xs, *xs[-1:] * (length - len(xs)))])


def _member(k: int, x: Tree) -> Tree:
    if isinstance(x, jax.ShapeDtypeStruct):
        return jax.eval_shape(functools.partial(_member, k), x)
    place = place_of(x)
    if place is not None and place.spec and place.spec[0] is not None:
        x = jax.sharding.reshard(x, place.update(spec=PartitionSpec(None, *place.spec[1:])))
    return jax.lax.index_in_dim(x, k, keepdims=False)


def said_stacking(stage: Stage) -> int | None:
    """To a multiple of how many a stage asks that its stacks be filled up; None: it has none."""
    return next((stage.args[p.name] for p in stage.kernel.parameters.values() if p.engine == "stacking"), None)


class Stacked(Spec):
    """The update of a stage whose argument marked `Stacking` says to how many, or a multiple of it, its stacks are filled up."""

    def __init__(self, stage: Stage):
        self.stage, self.inner = stage, transformation(stage)

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.stage,), {"maker": self.maker})

    def name(self) -> str:
        return self.stage.name()

    def arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        return self.stage.arguments()

    def key(self) -> Hashable:
        return (type(self), self.stage.key())

    @property
    def own_scope(self) -> str:
        return "per_leaf"

    @property
    def averages(self) -> bool:
        return self.stage.averages

    @property
    def members(self) -> Sequence[GradientTransformation]:
        return [self.inner]

    def parts(self, state: OptState) -> list[Part]:
        return [Part("", self.inner, state)]

    def joined(self, state: OptState, parts: Sequence[Part]) -> tuple[Spec, OptState]:
        [part] = parts
        spec = getattr(part.tx, "update", None)
        return (Stacked(spec) if isinstance(spec, Stage) and spec is not self.stage else self), part.state

    def view(self, tree: Tree) -> Stacks:
        """What the stage sees of a tree that is laid out like this one: in a stack matrices of one shape and role, unless most of it
        would only fill it up.
        """
        leaves, found = flatten(tree)[0], dict[Hashable, list[int]]()
        roles = [None] * len(leaves) if is_stand_in(tree) else self._roles(tree, leaves)
        for i, (x, role) in enumerate(zip(leaves, roles, strict=True)):
            if role is not None:
                found.setdefault((np.shape(x), role, np.iscomplexobj(x)), []).append(i)
        multiple = said_stacking(self.stage)
        assert multiple is not None
        filled = lambda n: -(-n // multiple) * multiple
        groups = [Group(tuple(some), filled(len(some))) for some in found.values()]
        return Stacks(tuple(group for group in groups if len(group.leaves) > 1 and group.length <= 2 * len(group.leaves)))

    def _roles(self, tree: Tree, leaves: Sequence[Tree]) -> list[Role | None]:
        """The roles of those leaves that are one matrix; where nothing is said, of those of two axes that are not joined."""
        said = roles_in(self.stage, tree)
        merge = next((self.stage.args[n] for n, what in self.stage.kernel.cutting.items() if what == "merge_dims"), None)
        is_matrix = lambda x: is_array(x) and np.ndim(x) == 2 and len(blocks_of(np.shape(x), None, None, merge).seen) == 2
        found = said or [Role((), (0,), (1,)) if is_matrix(x) else None for x in leaves]
        return [None if role is None or role.batch else role for role in found]

    def seen(self, params: Params, parts: int) -> Sequence[Params]:
        return [self.view(params).see(params)] * parts

    def init(self, params: Params) -> OptState:
        with numbers_may_go(), beginning(params):
            warn_of_turned(self.owner, roles_in(self.stage, params, assumed=True), params)
            return self.inner.init(self.view(params).see(params))

    def __call__(self, updates: Updates, state: OptState, params: Params | None = None, **extra: Tree) -> tuple[Updates, OptState]:
        (leaves, treedef), like = flatten(updates), updates if params is None else params
        view = self.view(like if flatten(like)[1].num_leaves == treedef.num_leaves else updates)
        inside = Bound(self.inner, self.maker or self.name(), view, extra)
        with numbers_may_go():
            filled, absent = view.filled(leaves, flatten(like)[0])
            if not view.fits(filled):
                Trees(self.owner, updates).like("`params`", params)  # says where they differ
            u, new = inside.update(treedef.unflatten(filled), self._converted(state, treedef, view.regained), params)
            if absent:
                rest = [g if i in absent else x for i, (g, x) in enumerate(zip(leaves, flatten(u)[0], strict=True))]
                u, new = treedef.unflatten(rest), self._converted(new, treedef, functools.partial(view.kept, absent), state)
        return u, new

    def eval_params(self, state: OptState, params: Params, after: After) -> Params:
        if self.stage.kernel.evaluate is None:
            return params
        view = self.view(params)
        return view.put(params, evaluated(self.inner, state, view.see(params), view.after(after, params)))

    def of_each(self, state: OptState, params: Params) -> OptState:
        """The state with an entry for each leaf, as the stage has it of all leaves."""
        return self._converted(state, flatten(params)[1], self.view(params).apart)

    def of_stacks(self, state: OptState, params: Params) -> OptState:
        """The inverse."""
        return self._converted(state, flatten(params)[1], self.view(params).together)

    def _converted(self, state: OptState, treedef: TreeDef, convert: Callable[..., list[Tree]], *others: OptState) -> OptState:
        """The state with other entries of each field at the leaves, made of its own and those of other states."""
        layout = self.stage.layout
        records = [layout.read(one, self.stage.owner) for one in (state, *others)]
        fields = {name: [getattr(record, name) for record in records] for name in layout.leaf}
        converted = lambda xs: xs[0] if xs[0] is None else treedef.unflatten(convert(*map(treedef.flatten_up_to, xs)))
        return layout.write(state, {name: converted(xs) for name, xs in fields.items()})


def leaf_by_leaf(tx: GradientTransformation, state: OptState, params: Params) -> OptState:
    """A state, with an entry for each leaf where it holds stacks, as its stages have them without."""
    return _converted(tx, state, params, Stacked.of_each)


def in_stacks(tx: GradientTransformation, state: OptState, params: Params) -> OptState:
    """The inverse."""
    return _converted(tx, state, params, Stacked.of_stacks)


def _converted(tx: Known, state: OptState, params: Params, convert: Callable[[Stacked, OptState, Params], OptState]) -> OptState:
    spec = getattr(tx, "update", None)
    if isinstance(spec, Stacked):
        return convert(spec, state, params)
    if not _has_stacks(spec):
        return state
    assert isinstance(spec, Spec)
    parts = spec.parts(state)
    views = jax.eval_shape(lambda p: list(spec.seen(p, len(parts))), params)
    new = [p._replace(state=_converted(p.tx, p.state, seen, convert)) for p, seen in zip(parts, views, strict=True)]
    return spec.joined(state, new)[1]


def _has_stacks(spec: object) -> bool:
    inside = [tx.update for tx in spec.members] if isinstance(spec, Spec) else []
    return isinstance(spec, Stacked) or any(map(_has_stacks, inside))
