"""Copies of the parameters that are wide where the parameters are narrow, and trees in the dtypes of the one or of the other."""

from __future__ import annotations

from typing import Annotated

import jax

from gradxform._numerics import round_to, widen
from gradxform._types import Field, Params, Tree, Updates
from gradxform.core._holes import dtype_of, fresh, is_array, is_gap

Copy = Annotated[Updates, Field(first=lambda p: p)]
"""What is the parameters at first, in float32 or wider."""


def widened(tree: Tree) -> Tree:
    """The tree with its narrow arrays in float32."""
    narrow = lambda x: is_array(x) and widen(dtype_of(x)) != dtype_of(x)
    return jax.tree.map(lambda x: fresh(x, widen(dtype_of(x))) if narrow(x) else x, tree, is_leaf=is_gap)


def as_params(params: Params, copy: Params) -> Params:
    """A copy in the dtypes of the parameters; parameters that are no arrays stay."""
    return jax.tree.map(lambda p, x: round_to(x, dtype_of(p)) if is_array(p) else p, params, copy, is_leaf=is_gap)
