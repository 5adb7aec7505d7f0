"""`gradxform.tree` under Optax's older names: `tree_add` is `tree.add`, and so on for every function there."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from gradxform import tree as _tree
from gradxform._types import Tree
from gradxform.tree import NamedTupleKey as NamedTupleKey

_FUNCTIONS = [name for name in dir(_tree) if not name.startswith("_") and name != "NamedTupleKey"]

globals().update({f"tree_{name}": getattr(_tree, name) for name in _FUNCTIONS})

# Optax warns that these will go; libraries still call them.
tree_scalar_mul = _tree.scale
tree_add_scalar_mul = _tree.add_scale
tree_l1_norm = partial(_tree.norm, ord=1)
tree_l2_norm = partial(_tree.norm, ord=2)
tree_linf_norm = partial(_tree.norm, ord="inf")

if TYPE_CHECKING:

    def __getattr__(name: str) -> Callable[..., Tree]: ...
