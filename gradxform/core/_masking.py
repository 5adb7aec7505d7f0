"""`masked`, `partition` and `freeze`: a transformation for some of the leaves."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from gradxform._errors import LabelError
from gradxform._messages import wrong_state
from gradxform._types import Inner, MaskOrFn, OptState, Params, Tree, Updates
from gradxform.core._evaluate import After, evaluated
from gradxform.core._holes import is_gap, on_the_mesh_of
from gradxform.core._labels import Cut, cut_by, suggest
from gradxform.core._lift import elementwise, wrapper
from gradxform.core._parts import Part
from gradxform.core._placement import in_turn
from gradxform.core._roles import beginning
from gradxform.core._state import as_record
from gradxform.core._transformation import (
    GradientTransformation,
    GradientTransformationExtraArgs,
    Spec,
    check_transformation,
    transformation,
)
from gradxform.core._views import View
from gradxform.core._whole import Bound
from gradxform.tree._params import is_stand_in


class MaskedState(NamedTuple):
    """The state of a masked transformation: the inner one's, with a `MaskedNode` for each leaf that it does not see."""

    inner_state: Inner


class PartitionState(NamedTuple):
    """The states of a partition's transformations, by label."""

    inner_states: Inner


def _mask(owner: str, mask: Tree, tree: Tree) -> Cut:
    cut = cut_by(owner, mask, tree)
    is_flag = lambda x: np.ndim(x) == 0 and np.asarray(x).dtype.kind in "bi"
    flags = [bool(x) if is_flag(x) else x for x in cut.labels]
    for (path, label), flag, part in zip(cut.named(), flags, cut.take(tree), strict=True) if set(map(type, flags)) - {bool} else ():
        if not (is_gap(part) or isinstance(flag, bool)):
            raise LabelError(f"{owner}: the mask must be True or False at every leaf, but at {path!r} it is {label!r}.")
    return cut._replace(labels=flags)


@dataclasses.dataclass(frozen=True)
class Group(View):
    """The parts of a tree that have a label, with a `MaskedNode` for each of the others."""

    cut: Cut
    label: Hashable

    def see(self, tree: Tree) -> Tree:
        return self.cut.keep(tree, self.label)

    def put(self, tree: Tree, seen: Tree) -> Tree:
        return self.cut.put(tree, self.label, seen)


class Partition(Spec):
    """The update of `partition`: each group of leaves has its transformation."""

    def __init__(self, transforms: Mapping[Hashable, Any], param_labels: Tree):
        self.transforms, self.param_labels = dict(transforms), param_labels

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (*self.arguments()[0], *self.arguments()[1].values()), {"maker": self.maker})

    def name(self) -> str:
        return "partition"

    def arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        return (self.transforms, self.param_labels), {}

    @property
    def members(self) -> Sequence[Any]:
        return list(self.transforms.values())

    @property
    def own_scope(self) -> str:
        return "per_leaf"

    def parts(self, state: OptState) -> list[Part]:
        return [
            Part(str(name), tx, s.inner_state) for (name, tx), s in zip(self.transforms.items(), self.states(state), strict=True)
        ]

    def states(self, state: OptState) -> list[MaskedState]:
        """The states of the groups, checked to be those of these labels."""
        inner = getattr(as_record(PartitionState, state), "inner_states", None)
        if not isinstance(inner, Mapping) or not set(self.transforms) <= set(inner):
            raise wrong_state(self.maker or self.name(), f"a PartitionState with the labels {list(self.transforms)}", state)
        return [inner[name] for name in self.transforms]

    def joined(self, state: OptState, parts: Sequence[Part]) -> tuple[Spec, OptState]:
        new = copy.copy(self)
        new.transforms = dict(zip(self.transforms, [p.tx for p in parts], strict=True))
        return new, self._renewed(state, {name: p.state for name, p in zip(self.transforms, parts, strict=True)})

    def _renewed(self, state: OptState, inner: Mapping[Hashable, OptState]) -> OptState:
        old = {name: as_record(MaskedState, state.inner_states[name]) for name in inner}
        return state._replace(inner_states={name: old[name]._replace(inner_state=s) for name, s in inner.items()})

    def cut(self, tree: Tree) -> Cut:
        """The tree in parts, each with a label that has a transformation."""
        cut = cut_by("partition", self.param_labels, tree)
        if any(label not in self.transforms for label in cut.labels):
            for (path, label), part in zip(cut.named(), cut.take(tree), strict=True):
                if not is_gap(part) and label not in self.transforms:
                    raise LabelError(
                        f"partition: the leaf {path!r} has the label {label!r}, but there are transformations only for "
                        f"{list(self.transforms)}.{suggest(label, list(self.transforms))} Add one for {label!r}, or label the leaf "
                        "otherwise."
                    )
        return cut

    def views(self, tree: Tree) -> Iterator[tuple[Hashable, Any, View]]:
        """Label, transformation and view of each group."""
        cut = None if is_stand_in(tree) else self.cut(tree)
        return ((name, tx, View() if cut is None else Group(cut.fixed(), name)) for name, tx in self.transforms.items())

    def seen(self, params: Params, parts: int) -> Sequence[Params]:
        return [view.see(params) for _, _, view in self.views(params)]

    def init(self, params: Params) -> OptState:
        with beginning(params):
            states = {name: MaskedState(tx.init(view.see(params))) for name, tx, view in self.views(params)}
        return on_the_mesh_of(params, PartitionState(states))

    def __call__(self, updates: Updates, state: OptState, params: Params | None = None, **extra: Tree) -> tuple[Updates, OptState]:
        new, u, state = [], updates, as_record(PartitionState, state)
        for (_, tx, view), s in zip(self.views(updates), in_turn(self.states(state), new), strict=True):
            found, inner = Bound(tx, self.maker or self.name(), view, extra).update(updates, s.inner_state, params)
            new.append(inner)
            u = view.put(u, found)
        return u, self._renewed(state, dict(zip(self.transforms, new, strict=True)))

    def eval_params(self, state: OptState, params: Params, after: After) -> Params:
        for (_, tx, view), s in zip(self.views(params), self.states(state), strict=True):
            seen = view.see(params)
            found = evaluated(tx, s.inner_state, seen, view.after(after, params))
            params = params if found is seen else view.put(params, found)
        return params


def _seen(tree: Tree, mask: MaskOrFn) -> View:
    return Group(_mask("masked", mask, tree).fixed(), True)


@wrapper(MaskedState, scope="per_leaf", view=_seen)
def masked(g, s, p, c, inner: GradientTransformation, mask: MaskOrFn, *, mask_compatible_extra_args: bool = False):
    """Transform the leaves where the mask is True; pass the others on as they are.

    Args:
      inner: the transformation of the chosen leaves.
      mask: which leaves are transformed: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function.
      mask_compatible_extra_args: mask also the extra arguments that are laid out like the parameters.

    >>> tx = gx.chain(gx.masked(gx.clip(1.0), {"w": True, "default": False}), gx.adam(1e-3))

    State    MaskedState(inner_state). For a leaf that is masked out nothing is stored.
    Masks    `by_ndim(2)`, `{"*/bias": False, "default": True}`, trees,
             prefixes, functions. A function of the parameters is called with the parameters in `init`, with the updates in `update`.
    Source   Optax.
    Differs  extra arguments with the structure of the updates are always masked like them, and functions of the parameters (`value_fn`)
             take masked ones: `mask_compatible_extra_args` is not needed. Masks may be nested, in either order, and a mask need not
             have the containers of the parameters (`dict`, `FrozenDict`) if the paths agree.
    Raises   LabelError: the mask does not fit the tree, or is not True or False at some leaf.
    """
    u, inner_state = inner.update(g, s.inner_state, p)
    return u, s._replace(inner_state=inner_state)


def partition(
    transforms: Mapping[Hashable, GradientTransformation],
    param_labels: MaskOrFn,
    *,
    mask_compatible_extra_args: bool = False,
) -> GradientTransformationExtraArgs:
    """Give each leaf to the transformation of its label.

    Args:
      transforms: a dictionary from labels to transformations.
      param_labels: a label for each leaf: patterns, a tree, or a function, as in `masked`.
      mask_compatible_extra_args: mask also the extra arguments that are laid out like the parameters.

    >>> tx = gx.multi_transform({"slow": gx.sgd(0.01), "fast": gx.adam(0.1)}, {"w": "fast", "default": "slow"})

    State    PartitionState(inner_states), a MaskedState for each label.
    Labels   as in `masked`, with the keys of `transforms` for True and False.
    Source   Optax.
    Differs  as `masked`.
    Raises   LabelError, with the paths: a leaf has no label, or one without a transformation.
    """
    del mask_compatible_extra_args
    for name, tx in transforms.items():
        check_transformation(tx, f"partition, label {name!r}")
    return transformation(Partition(transforms, param_labels))


class Selective(Partition):
    """The update of `selective_transform`."""

    def __init__(self, optimizer: GradientTransformation, freeze_mask: Tree):
        super().__init__({"train": optimizer, "freeze": set_to_zero()}, freeze_mask)

    def name(self) -> str:
        return "selective_transform"

    def arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        return (self.transforms["train"],), {"freeze_mask": self.param_labels}

    def cut(self, tree: Tree) -> Cut:
        cut = _mask("selective_transform", self.param_labels, tree)
        return cut._replace(labels=["freeze" if frozen else "train" for frozen in cut.labels])


MultiTransformState = PartitionState
multi_transform = partition


@elementwise()
def set_to_zero(g, s, p, c):
    """Replace every update by zero.

        u = 0

    >>> tx = gx.partition({"train": gx.adam(1e-3), "freeze": gx.set_to_zero()}, {"b": "freeze", "default": "train"})

    Source   Optax.
    Differs  no.
    """
    return jnp.zeros_like(g), s


def freeze(mask: MaskOrFn) -> GradientTransformationExtraArgs:
    """Set the updates to zero where the mask is True, and so keep those parameters as they are.

        u = 0 where mask, g elsewhere

    Args:
      mask: which leaves stay: patterns such as `{"embed/*": True, "default": False}`, `by_ndim(2)`, a tree, a function.

    >>> tx = gx.chain(gx.adam(1e-3), gx.freeze({"b": True, "default": False}))

    State    MaskedState(EmptyState()).
    Masks    as in `masked`.
    Source   Optax.
    Differs  no.
    Raises   LabelError: the mask does not fit the tree.
    """
    return masked(set_to_zero(), mask)


def selective_transform(optimizer: GradientTransformation, *, freeze_mask: MaskOrFn) -> GradientTransformationExtraArgs:
    """Transform the leaves where the mask is False, and keep the others as they are.

        u = 0 where freeze_mask, optimizer(g) elsewhere

    Args:
      optimizer: the transformation of the leaves that do not stay.
      freeze_mask: which leaves stay: patterns such as `{"embed/*": True, "default": False}`, `by_ndim(2)`, a tree, a function.

    >>> tx = gx.selective_transform(gx.adam(1e-3), freeze_mask={"b": True, "default": False})

    State    PartitionState, with the labels "train" and "freeze".
    Masks    as in `masked`.
    Source   Optax.
    Differs  a function of the parameters, or patterns, may stand for the mask.
    Raises   LabelError: the mask does not fit the tree, or is not True or False at some leaf.
    """
    check_transformation(optimizer, "selective_transform")
    return transformation(Selective(optimizer, freeze_mask))
