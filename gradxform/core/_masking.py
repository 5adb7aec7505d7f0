"""`masked`, `partition` and `freeze`: a transformation for some of the leaves."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from gradxform._errors import LabelError, StructureError
from gradxform.core._chain import check_transformation
from gradxform.core._evaluate import After, evaluated
from gradxform.core._holes import MaskedNode, flatten, is_array, is_gap, on_the_mesh_of, paths
from gradxform.core._labels import resolve
from gradxform.core._lift import elementwise
from gradxform.core._run import Trees
from gradxform.core._transformation import (
    GradientTransformation,
    GradientTransformationExtraArgs,
    Spec,
    extra_args_for,
    transformation,
)
from gradxform.tree._params import is_stand_in


class MaskedState(NamedTuple):
    """The state of a masked transformation: the inner one's, with a `MaskedNode` for each leaf that it does not see."""

    inner_state: Any


class PartitionState(NamedTuple):
    """The states of a partition's transformations, by label."""

    inner_states: Mapping[Hashable, Any]


def _keep(tree: Any, chosen: Sequence[bool]) -> Any:
    """`tree` with a `MaskedNode` in place of every leaf that is not chosen."""
    leaves, treedef = flatten(tree)
    return treedef.unflatten([x if keep or is_gap(x) else MaskedNode() for x, keep in zip(leaves, chosen, strict=True)])


def _extra_for(extra: Mapping[str, Any], like: Any, chosen: Sequence[bool]) -> dict[str, Any]:
    """Extra arguments with the structure of the updates are masked as they are; the others pass."""
    treedef = flatten(like)[1]
    masked = {}
    for name, value in extra.items():
        same = not is_array(value) and not callable(value) and flatten(value)[1] == treedef
        masked[name] = _keep(value, chosen) if same else value
    return masked


def _update_group(
    tx: Any, chosen: Sequence[bool], trees: Trees, state: Any, params: Any, extra: Mapping[str, Any]
) -> tuple[list[Any], Any]:
    """Update the chosen leaves; the result has their updates at their places."""
    extra = _extra_for(extra_args_for(tx.update, extra), trees.updates, chosen)
    kept = None if params is None else _keep(params, chosen)
    updates, state = tx.update(_keep(trees.updates, chosen), state, kept, **extra)
    return trees.take("the inner transformation's updates", updates), state


def _eval_group(tx: Any, chosen: Sequence[bool], state: Any, params: Any, after: After) -> Any:
    """`params` with the chosen leaves as they are to be evaluated."""
    kept = _keep(params, chosen)
    found = evaluated(tx, state, kept, after)
    if found is kept:
        return params
    leaves, treedef = flatten(params)
    return treedef.unflatten([f if keep else p for f, p, keep in zip(flatten(found)[0], leaves, chosen, strict=True)])


def _flags(owner: str, mask: Any, tree: Any) -> list[bool]:
    flags = resolve(owner, mask, tree)
    for path, leaf, flag in zip(paths(tree), flatten(tree)[0], flags, strict=True):
        if not is_gap(leaf) and not isinstance(flag, (bool, np.bool_, int)):
            raise LabelError(f"{owner}: the mask must be True or False at every leaf, but at {path!r} it is {flag!r}.")
    return [bool(f) for f in flags]


class Masked(Spec):
    """The update of `masked`."""

    def __init__(self, inner: Any, mask: Any, mask_compatible_extra_args: bool):
        self.inner, self.mask, self.mask_compatible_extra_args = inner, mask, mask_compatible_extra_args

    def name(self) -> str:
        return "masked"

    def arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        return (self.inner, self.mask), {}

    def init(self, params: Any) -> MaskedState:
        if is_stand_in(params):
            return MaskedState(self.inner.init(params))
        return on_the_mesh_of(params, MaskedState(self.inner.init(_keep(params, _flags("masked", self.mask, params)))))

    def __call__(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        trees = Trees("masked", updates)
        chosen = _flags("masked", self.mask, updates)
        inner, new = _update_group(self.inner, chosen, trees, _inner_state(state), params, extra)
        leaves = [u if keep else g for u, g, keep in zip(inner, trees.leaves, chosen, strict=True)]
        return trees.together(leaves), state._replace(inner_state=new)

    def eval_params(self, state: Any, params: Any, after: After) -> Any:
        return _eval_group(self.inner, _flags("masked", self.mask, params), _inner_state(state), params, after)


def _inner_state(state: Any) -> Any:
    if not hasattr(state, "inner_state"):
        raise StructureError(f"masked: the state should be a MaskedState, but is {state!r:.200}.")
    return state.inner_state


class Partition(Spec):
    """The update of `partition`."""

    def __init__(self, transforms: Mapping[Hashable, Any], param_labels: Any):
        self.transforms, self.param_labels = dict(transforms), param_labels

    def name(self) -> str:
        return "partition"

    def arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        return (self.transforms, self.param_labels), {}

    def groups(self, tree: Any) -> dict[Hashable, list[bool]]:
        """For each label, which leaves have it."""
        labels = resolve("partition", self.param_labels, tree)
        for path, leaf, label in zip(paths(tree), flatten(tree)[0], labels, strict=True):
            if not is_gap(leaf) and label not in self.transforms:
                raise LabelError(
                    f"partition: the leaf {path!r} has the label {label!r}, but there are transformations only for "
                    f"{list(self.transforms)}. Add one for {label!r}, or label the leaf otherwise."
                )
        return {name: [label == name for label in labels] for name in self.transforms}

    def init(self, params: Any) -> PartitionState:
        if is_stand_in(params):
            return PartitionState({name: MaskedState(tx.init(params)) for name, tx in self.transforms.items()})
        groups = self.groups(params)
        states = {name: MaskedState(tx.init(_keep(params, groups[name]))) for name, tx in self.transforms.items()}
        return on_the_mesh_of(params, PartitionState(states))

    def __call__(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        trees, groups, new = Trees("partition", updates), self.groups(updates), {}
        leaves = list(trees.leaves)
        for name, tx in self.transforms.items():
            old = state.inner_states[name]
            inner, inner_state = _update_group(tx, groups[name], trees, _inner_state(old), params, extra)
            leaves = [u if mine else x for u, x, mine in zip(inner, leaves, groups[name], strict=True)]
            new[name] = old._replace(inner_state=inner_state)
        return trees.together(leaves), state._replace(inner_states=new)

    def eval_params(self, state: Any, params: Any, after: After) -> Any:
        for name, chosen in self.groups(params).items():
            params = _eval_group(self.transforms[name], chosen, _inner_state(state.inner_states[name]), params, after)
        return params


def masked(
    inner: GradientTransformation, mask: Any, *, mask_compatible_extra_args: bool = False
) -> GradientTransformationExtraArgs:
    """Transform the leaves where the mask is True; pass the others on as they are.

    State    MaskedState(inner_state). For a leaf that is masked out nothing is stored.
    Masks    everything that `gradxform.core._labels` describes: `by_ndim(2)`, `{"*/bias": False, "default": True}`, trees,
             prefixes, functions. A function of the parameters is called with the parameters in `init`, with the updates in `update`.
    Source   Optax.
    Differs  extra arguments with the structure of the updates are always masked like them: `mask_compatible_extra_args` is not
             needed. Masks may be nested.
    Raises   LabelError: the mask does not fit the tree, or is not True or False at some leaf.
    """
    check_transformation(inner, "masked")
    return transformation(Masked(inner, mask, mask_compatible_extra_args))


def partition(
    transforms: Mapping[Hashable, GradientTransformation],
    param_labels: Any,
    *,
    mask_compatible_extra_args: bool = False,
) -> GradientTransformationExtraArgs:
    """Give each leaf to the transformation of its label.

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


@elementwise()
def set_to_zero(g, s, p, c):
    """Replace every update by zero.

        u = 0

    Source   Optax.
    Differs  no.
    """
    return jnp.zeros_like(g), s


def freeze(mask: Any) -> GradientTransformationExtraArgs:
    """Set the updates to zero where the mask is True, and so keep those parameters as they are.

        u = 0 where mask, g elsewhere

    State    MaskedState(EmptyState()).
    Masks    as in `masked`.
    Source   Optax.
    Differs  no.
    Raises   LabelError: the mask does not fit the tree.
    """
    return masked(set_to_zero(), mask)
