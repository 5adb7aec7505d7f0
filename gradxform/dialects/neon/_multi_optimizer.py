"""neon's `MultiOptimizer`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from gradxform._errors import HyperparameterError, LabelError
from gradxform._types import Tree
from gradxform.core import GradientTransformation, partition
from gradxform.core._holes import flatten, paths
from gradxform.dialects._dialect import dialect
from gradxform.transforms import identity


@dataclasses.dataclass(frozen=True)
class ByComponent:
    """Labels: the first component of a leaf's path that is a key, else "default"."""

    keys: tuple[str, ...]

    def __call__(self, tree: Tree) -> Tree:
        names, (leaves, treedef) = [path.split("/") for path in paths(tree)], flatten(tree)
        used = {part for parts in names for part in parts}
        for key in self.keys:
            if leaves and key != "default" and key not in used:
                shown = ", ".join(repr("/".join(parts)) for parts in names[:8])
                raise LabelError(
                    f"neon.multi_optimizer: the key {key!r} is no layer's name or class. The paths are {shown}"
                    + (f" and {len(names) - 8} more." if len(names) > 8 else ".")
                )
        return treedef.unflatten([next((part for part in parts if part in self.keys), "default") for parts in names])


def _check(owner: str, arguments: Mapping[str, Any]) -> None:
    mapping = arguments["mapping"]
    if not isinstance(mapping, Mapping):
        raise HyperparameterError(f"{owner}: `mapping` must be a dictionary of optimizers, but got {mapping!r}.")
    if "default" not in mapping:
        raise HyperparameterError(
            f"{owner}: `mapping` must have the key 'default', the optimizer of all other layers, but has only {list(mapping)}."
        )


@dialect("neon", example={"mapping": {"default": identity()}}, check=_check)
def multi_optimizer(mapping: Mapping[str, GradientTransformation]):
    """neon's `MultiOptimizer`: an optimizer for a layer's name, for a layer's class, and for the rest.

        tx = multi_optimizer({"default": a, "Linear": b, "layer_two": c})
        tx.init({"layer_one": {"Linear": ...}, "layer_two": {"Linear": ..., "Bias": ...}})     b; c, c

    The keys are components of paths. If several components of a leaf's path are keys, the one nearest to the root counts: a layer's name
    stands above its class. Each optimizer clips over its own leaves.

    Args:
      mapping: an optimizer for each name, and for "default", the rest.

    >>> from gradxform.dialects import neon
    >>> tx = neon.multi_optimizer({"default": neon.adam(), "b": neon.gradient_descent_momentum(0.1, 0.9)})

    State    PartitionState(inner_states), a MaskedState for each key. Memory: that of the optimizers.
    Units    those of the optimizers.
    Shapes   those of the optimizers.
    Sharded  inside `shard_map` as unsharded, where functions of leaves return for the device's own part what they return for the
             whole.
    Source   neon's documentation, `MultiOptimizer`.
    Differs  a key that is in no path raises. To map anew during training make another transformation, and `init` its state.
    Raises   HyperparameterError: no default. StructureError: a value is not a transformation. LabelError: a key is in no path.
    """
    return partition({**mapping}, ByComponent(tuple(mapping)))
