"""Casting, and the dtype of a whole tree."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._errors import HyperparameterError, StructureError
from gradxform._numerics import promote, round_to
from gradxform._types import DType, Tree
from gradxform.tree._leafwise import leafwise

MixedDtypes = Literal["promote", "highest", "lowest"]


@leafwise("tree")
def cast(tree: Tree, dtype: DType | None) -> Tree:
    """Every leaf in this dtype; `None` changes nothing.

    Args:
      tree: a tree of arrays.
      dtype: the new dtype; None: as it is.

    >>> gx.tree.cast({"a": jnp.array(1.0)}, jnp.bfloat16)["a"].dtype
    dtype(bfloat16)
    """
    return tree if dtype is None else round_to(jnp.asarray(tree), jnp.dtype(dtype))


@leafwise("tree", "other_tree", keep="tree")
def cast_like(tree: Tree, other_tree: Tree) -> Tree:
    """Every leaf in the dtype of the other tree's leaf, if that has one.

    Args:
      tree: a tree of arrays.
      other_tree: a tree like the first.

    >>> gx.tree.cast_like({"a": jnp.array(1.0)}, {"a": jnp.array(1, jnp.float16)})["a"].dtype
    dtype('float16')
    """
    return round_to(jnp.asarray(tree), other_tree.dtype) if hasattr(other_tree, "dtype") else tree


def dtype(tree: Tree, mixed_dtype_handler: MixedDtypes | None = None) -> np.dtype:
    """The dtype that all leaves have.

    Leaves of several dtypes are an error, unless `mixed_dtype_handler` is

    "promote"             the dtype that JAX promotes them to
    "highest", "lowest"   the one of them that all others are promoted to, or that is promoted to all others

    Args:
      tree: a tree of arrays.
      mixed_dtype_handler: what to do with several dtypes: "promote", "highest", "lowest", or None to refuse them.

    >>> gx.tree.dtype({"a": jnp.ones(2), "b": jnp.ones(2, jnp.bfloat16)}, "lowest")
    dtype(bfloat16)
    """
    found = {jax.tree_util.keystr(path): jnp.result_type(x) for path, x in jax.tree_util.tree_leaves_with_path(tree)}
    dtypes = list(dict.fromkeys(found.values()))
    if mixed_dtype_handler not in (None, "promote", "highest", "lowest"):
        raise HyperparameterError(
            f"tree.dtype: `mixed_dtype_handler` must be None, 'promote', 'highest' or 'lowest', but got {mixed_dtype_handler!r}."
        )
    if len(dtypes) <= 1:
        return dtypes[0] if dtypes else jnp.result_type(float)
    if mixed_dtype_handler is None:
        listed = ", ".join(f"{path} is {d}" for path, d in found.items())
        raise StructureError(f"tree.dtype: the leaves should have one dtype, but {listed}. Pass `mixed_dtype_handler`.")
    promoted = promote(*dtypes)
    if mixed_dtype_handler == "promote":
        return promoted
    is_lowest = lambda d: all(promote(d, other) == other for other in dtypes)
    extremes = [d for d in dtypes if (d == promoted if mixed_dtype_handler == "highest" else is_lowest(d))]
    if not extremes:
        raise StructureError(
            f"tree.dtype: none of {', '.join(map(str, dtypes))} is the {mixed_dtype_handler}, because some are not promoted to "
            "others. Use 'promote'."
        )
    return extremes[0]
