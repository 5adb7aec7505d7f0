"""Holes: leaves that are absent. The lift steps over them, so no kernel ever sees one."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from gradxform._numerics import is_inexact
from gradxform.tree._leafwise import is_gap


class MaskedNode(NamedTuple):
    """Stands in a tree where a mask has taken a leaf away. It has no leaves itself."""


def is_array(x: Any) -> bool:
    """A leaf with inexact numbers in it; integers, float0, functions and gaps are not."""
    dtype = getattr(x, "dtype", None)
    if dtype is None:
        return isinstance(x, (float, complex))
    return is_inexact(dtype) and hasattr(x, "shape")


def dtype_of(x: Any) -> Any:
    return x.dtype if hasattr(x, "dtype") else np.dtype(jax.dtypes.canonicalize_dtype(np.result_type(x)))


def flatten(tree: Any) -> tuple[list[Any], Any]:
    """Leaves and structure, with gaps kept as leaves."""
    return jax.tree.flatten(tree, is_leaf=is_gap)


def paths(tree: Any) -> list[str]:
    """A readable path for each leaf of `flatten(tree)`, such as `encoder/0/bias`."""
    with_path = jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_gap)[0]
    return [jax.tree_util.keystr(path, simple=True, separator="/") or "(root)" for path, _ in with_path]
