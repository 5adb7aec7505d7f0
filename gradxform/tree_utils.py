"""`gradxform.tree` under Optax's older names: `tree_add` is `tree.add`, and so on for every function there."""

from typing import TYPE_CHECKING, Any

from gradxform import tree as _tree
from gradxform.tree import NamedTupleKey as NamedTupleKey

_FUNCTIONS = [name for name in dir(_tree) if not name.startswith("_") and name != "NamedTupleKey"]

globals().update({f"tree_{name}": getattr(_tree, name) for name in _FUNCTIONS})

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...
