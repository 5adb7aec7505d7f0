"""`gradxform.tree` under Optax's older names: `tree_add` is `tree.add`, and so on for every function there."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gradxform._lazy import attach
from gradxform._optax_names import TREE_UTILS as TABLE

if TYPE_CHECKING:
    from gradxform.tree import NamedTupleKey as NamedTupleKey

    def __getattr__(name: str) -> Callable[..., Any]: ...
else:
    __getattr__, __dir__ = attach(__name__, TABLE)
