"""A fresh start for one group of a partition."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import jax

from gradxform._errors import LabelError
from gradxform._messages import wrong_state
from gradxform._types import OptState, Params, Tree
from gradxform.core import GradientTransformation
from gradxform.core._labels import suggest
from gradxform.core._transformation import check_transformation


def reset_group(tx: GradientTransformation, state: OptState, params: Params, label: Hashable) -> OptState:
    """The state of an optimizer with one group of its partition as `init` makes it, and everything else as it is.

        state = reset_group(tx, state, params, "head")

    The partition may stand anywhere in tx: in a chain, a mask, a wrapper, another partition. If several have the label, each resets that
    group. A `selective_transform` has the labels "train" and "freeze".

    Args:
      tx: the optimizer; one of another library will do.
      state: its state.
      params: the parameters that the group is to start from.
      label: of the group.

    >>> tx = gx.partition({"fast": gx.adam(0.1), "slow": gx.adam(0.01)}, {"w": "fast", "default": "slow"})
    >>> state = gx.reset_group(tx, tx.init(params), params, "fast")

    Returns:
      The new state, of the same structure.

    Source   optax #1371.
    Raises   LabelError: no partition in tx has that label. StructureError: the state is not one of tx and these parameters.
    """
    check_transformation(tx, "reset_group")
    met: list[Hashable] = []

    def at(old: OptState, fresh: OptState) -> OptState:
        if _labels(old) != _labels(fresh):
            raise wrong_state("reset_group", f"one with the labels {_labels(fresh)}", old)
        if not _is_partition(old):
            return old
        met.extend(old.inner_states)
        groups = {}
        for name, group in old.inner_states.items():
            new = fresh.inner_states[name]
            groups[name] = _laid_out_as(group, jax.tree.leaves(new), f"the group {name!r}") if name == label else renew(group, new)
        return old._replace(inner_states=groups)

    def renew(old: OptState, fresh: OptState) -> OptState:
        olds, news = jax.tree.leaves(old, is_leaf=_is_partition), jax.tree.leaves(fresh, is_leaf=_is_partition)
        leaves = [at(*pair) for pair in zip(olds, news, strict=True)] if len(olds) == len(news) else news
        return _laid_out_as(old, leaves, "the state", _is_partition)

    new = renew(state, tx.init(params))
    if label not in met:
        labels = list(dict.fromkeys(met))
        what = f"the labels are {labels}.{suggest(label, labels)}" if labels else "there is no partition in this state."
        raise LabelError(f"reset_group: no partition of {tx!r:.200} has the label {label!r}; {what}")
    return new


def _laid_out_as(old: OptState, leaves: list[Tree], what: str, is_leaf: Callable[[Tree], bool] | None = None) -> OptState:
    """An old state, which may be of Optax's classes, with other leaves."""
    treedef = jax.tree.structure(old, is_leaf=is_leaf)
    if len(leaves) != treedef.num_leaves:
        raise wrong_state(f"reset_group, {what}", f"one of {len(leaves)} arrays, as `init` makes it of these parameters", old)
    return treedef.unflatten(leaves)


def _labels(x: Tree) -> list[Hashable]:
    """The labels of a partition, in one order; none of anything else."""
    return sorted(x.inner_states, key=str) if _is_partition(x) else []


def _is_partition(x: object) -> bool:
    return getattr(x, "_fields", None) == ("inner_states",)
