"""`masked`, `partition` and `freeze`: a transformation for some of the leaves."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._errors import LabelError, StructureError
from gradxform.core._chain import check_transformation
from gradxform.core._evaluate import After, evaluated
from gradxform.core._holes import flatten, is_array, is_gap, on_the_mesh_of
from gradxform.core._labels import Cut, cut_by, suggest
from gradxform.core._lift import elementwise
from gradxform.core._parts import Part, with_attributes
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


def _extra_for(extra: Mapping[str, Any], cut: Cut, label: Any, like: Any, params: Any) -> dict[str, Any]:
    """Extra arguments as the inner transformation sees them.

    Those with the structure of the updates are masked as they are. A function of the parameters, such as `value_fn`, may be called
    with masked ones: the others are filled in, and a result with the structure of the parameters is masked. The rest passes.
    """
    treedef, is_leaf = flatten(like)[1], lambda x: any(leaf is x for leaf in flatten(x)[0])
    alike = {k: x for k, x in extra.items() if not is_leaf(x) and flatten(x)[1] == treedef}
    found = {**extra, **{k: cut.keep(x, label) for k, x in alike.items()}}
    for name, f in extra.items():
        if callable(f) and name not in alike and params is not None:
            found[name] = FilledIn(f, params, extra_args_for(f, alike), cut, label)
    return found


@jax.tree_util.register_pytree_node_class
class FilledIn:
    """A function of the parameters, such as `value_fn`, for callers that have only those of one group.

    The other parameters are filled in, extra arguments that were masked on their way are whole again, and a result with the structure of
    the parameters is masked. It is a tree, so that a compiled caller takes the parameters as arguments.
    """

    def __init__(self, f: Callable[..., Any], params: Any, extra: Mapping[str, Any], cut: Cut, label: Any):
        self.__wrapped__, self.params, self.extra, self.cut, self.label = f, params, extra, cut, label

    def tree_flatten(self) -> tuple[Any, Any]:
        return (self.__wrapped__, self.params, self.extra), (self.cut._replace(labels=tuple(self.cut.labels)), self.label)

    @classmethod
    def tree_unflatten(cls, aux: Any, children: Any) -> FilledIn:
        return cls(*children, *aux)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        masked = flatten(self.cut.keep(self.params, self.label))[1]
        if args and flatten(args[0])[1] == masked:
            args = (self.cut.put(self.params, self.label, args[0]), *args[1:])
        out = self.__wrapped__(*args, **{k: self.extra.get(k, x) for k, x in kwargs.items()})
        whole = flatten(self.params)[1]
        return self.cut.keep(out, self.label) if flatten(out)[1] == whole and not is_array(out) else out


def _update_group(
    tx: Any, cut: Cut, label: Any, whole: Any, updates: Any, state: Any, params: Any, extra: Mapping[str, Any]
) -> tuple[Any, Any]:
    """`updates` with those of the group transformed; `whole` is what came in."""
    extra = _extra_for(extra_args_for(tx.update, extra), cut, label, whole, params)
    kept = None if params is None else cut.keep(params, label)
    mine = cut.keep(whole, label)
    found, state = tx.update(mine, state, kept, **extra)
    Trees("masked", mine).take("the inner transformation's updates", found)
    return cut.put(updates, label, found), state


def _eval_group(tx: Any, cut: Cut, label: Any, state: Any, params: Any, after: After) -> Any:
    """`params` with those of the group as they are to be evaluated."""
    kept = cut.keep(params, label)
    found = evaluated(tx, state, kept, after)
    return params if found is kept else cut.put(params, label, found)


def _mask(owner: str, mask: Any, tree: Any) -> Cut:
    cut = cut_by(owner, mask, tree)
    flags = [bool(x) if np.ndim(x) == 0 and np.asarray(x).dtype.kind in "bi" else x for x in cut.labels]
    if not all(isinstance(x, bool) for x in flags):
        for (path, label), flag, part in zip(cut.named(), flags, cut.take(tree), strict=True):
            if not (is_gap(part) or isinstance(flag, bool)):
                raise LabelError(f"{owner}: the mask must be True or False at every leaf, but at {path!r} it is {label!r}.")
    return cut._replace(labels=flags)


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
        return on_the_mesh_of(params, MaskedState(self.inner.init(_mask("masked", self.mask, params).keep(params, True))))

    def __call__(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        cut = _mask("masked", self.mask, updates)
        u, new = _update_group(self.inner, cut, True, updates, updates, _inner_state(state), params, extra)
        return u, state._replace(inner_state=new)

    def eval_params(self, state: Any, params: Any, after: After) -> Any:
        return _eval_group(self.inner, _mask("masked", self.mask, params), True, _inner_state(state), params, after)


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

    def parts(self, state: Any) -> list[Part]:
        return [Part(str(name), tx, _inner_state(state.inner_states[name])) for name, tx in self.transforms.items()]

    def joined(self, state: Any, parts: Sequence[Part]) -> tuple[Spec, Any]:
        old = state.inner_states
        new = {name: old[name]._replace(inner_state=p.state) for name, p in zip(self.transforms, parts, strict=True)}
        transforms = dict(zip(self.transforms, [p.tx for p in parts], strict=True))
        return with_attributes(self, {"transforms": transforms}), state._replace(inner_states=new)

    def cut(self, tree: Any) -> Cut:
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

    def init(self, params: Any) -> PartitionState:
        if is_stand_in(params):
            return PartitionState({name: MaskedState(tx.init(params)) for name, tx in self.transforms.items()})
        cut = self.cut(params)
        states = {name: MaskedState(tx.init(cut.keep(params, name))) for name, tx in self.transforms.items()}
        return on_the_mesh_of(params, PartitionState(states))

    def __call__(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        cut, new, u = self.cut(updates), {}, updates
        for name, tx in self.transforms.items():
            old = state.inner_states[name]
            u, inner = _update_group(tx, cut, name, updates, u, _inner_state(old), params, extra)
            new[name] = old._replace(inner_state=inner)
        return u, state._replace(inner_states=new)

    def eval_params(self, state: Any, params: Any, after: After) -> Any:
        cut = self.cut(params)
        for name, tx in self.transforms.items():
            params = _eval_group(tx, cut, name, _inner_state(state.inner_states[name]), params, after)
        return params


def masked(
    inner: GradientTransformation, mask: Any, *, mask_compatible_extra_args: bool = False
) -> GradientTransformationExtraArgs:
    """Transform the leaves where the mask is True; pass the others on as they are.

    State    MaskedState(inner_state). For a leaf that is masked out nothing is stored.
    Masks    everything that `gradxform.core._labels` describes: `by_ndim(2)`, `{"*/bias": False, "default": True}`, trees,
             prefixes, functions. A function of the parameters is called with the parameters in `init`, with the updates in `update`.
    Source   Optax.
    Differs  extra arguments with the structure of the updates are always masked like them, and functions of the parameters (`value_fn`)
             take masked ones: `mask_compatible_extra_args` is not needed. Masks may be nested, in either order, and a mask need not
             have the containers of the parameters (`dict`, `FrozenDict`) if the paths agree.
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


class Selective(Partition):
    """The update of `selective_transform`."""

    def __init__(self, optimizer: Any, freeze_mask: Any):
        super().__init__({"train": optimizer, "freeze": set_to_zero()}, None)
        self.freeze_mask = freeze_mask

    def name(self) -> str:
        return "selective_transform"

    def arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        return (self.transforms["train"],), {"freeze_mask": self.freeze_mask}

    def cut(self, tree: Any) -> Cut:
        cut = _mask("selective_transform", self.freeze_mask, tree)
        return cut._replace(labels=["freeze" if frozen else "train" for frozen in cut.labels])


MultiTransformState, multi_transform = PartitionState, partition


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


def selective_transform(optimizer: GradientTransformation, *, freeze_mask: Any) -> GradientTransformationExtraArgs:
    """Transform the leaves where the mask is False, and keep the others as they are.

        u = 0 where freeze_mask, optimizer(g) elsewhere

    State    PartitionState, with the labels "train" and "freeze".
    Masks    as in `masked`.
    Source   Optax.
    Differs  a function of the parameters, or patterns, may stand for the mask.
    Raises   LabelError: the mask does not fit the tree, or is not True or False at some leaf.
    """
    check_transformation(optimizer, "selective_transform")
    return transformation(Selective(optimizer, freeze_mask))
