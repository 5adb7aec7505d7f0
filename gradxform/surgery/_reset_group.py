"""A fresh start for one group of a partition."""

from __future__ import annotations

from collections.abc import Hashable

import jax

from gradxform._errors import LabelError
from gradxform._types import OptState, Params
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

    Returns:
      The new state, of the same structure.

    Source   optax #1371.
    Raises   LabelError: no partition in tx has that label.
    """
    check_transformation(tx, "reset_group")
    met: list[Hashable] = []

    def at(old: OptState, fresh: OptState) -> OptState:
        if not _is_partition(old):
            return old
        met.extend(old.inner_states)
        groups = {}
        for name, group in old.inner_states.items():
            new = fresh.inner_states[name]
            groups[name] = (
                jax.tree.unflatten(jax.tree.structure(group), jax.tree.leaves(new)) if name == label else renew(group, new)
            )
        return old._replace(inner_states=groups)

    def renew(old: OptState, fresh: OptState) -> OptState:
        olds, treedef = jax.tree.flatten(old, is_leaf=_is_partition)
        return treedef.unflatten(map(at, olds, jax.tree.leaves(fresh, is_leaf=_is_partition)))

    new = renew(state, tx.init(params))
    if label not in met:
        labels = list(dict.fromkeys(met))
        what = f"the labels are {labels}.{suggest(label, labels)}" if labels else "there is no partition in this state."
        raise LabelError(f"reset_group: no partition of {tx!r:.200} has the label {label!r}; {what}")
    return new


def _is_partition(x: object) -> bool:
    return getattr(x, "_fields", None) == ("inner_states",)
