"""Dimension numbers: which axes of a weight are the rows, and which the columns, of the matrix that an optimizer works on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import jax
import numpy as np

from gradxform._errors import StructureError
from gradxform._types import Array, Tree
from gradxform.core._labels import is_function
from gradxform.tree._leafwise import is_gap

Dims = TypeVar("Dims")


class Axes(NamedTuple):
    """The axes of an array that is seen as a batch of matrices. All non-negative."""

    batch: tuple[int, ...]
    rows: tuple[int, ...]
    columns: tuple[int, ...]

    @property
    def order(self) -> tuple[int, ...]:
        return self.batch + self.rows + self.columns

    def sizes(self, shape: Sequence[int]) -> tuple[int, int]:
        """The number of rows and of columns."""
        return math.prod(shape[a] for a in self.rows), math.prod(shape[a] for a in self.columns)

    def matrix(self, x: Array) -> Array:
        """x as (batch..., rows, columns)."""
        return x.transpose(self.order).reshape(*(x.shape[a] for a in self.batch), *self.sizes(x.shape))

    def array(self, matrix: Array, shape: Sequence[int]) -> Array:
        """The array of this shape, of which `matrix` is the matrix."""
        return matrix.reshape([shape[a] for a in self.order]).transpose(np.argsort(self.order))


def axes_of(owner: str, shape: Sequence[int], dims: Sequence[Sequence[int] | int]) -> Axes:
    """The axes by dimension numbers, a pair (rows, columns) of an axis or several, each modulo how many the leaf has."""
    if len(shape) < 2:
        raise StructureError(f"{owner}: expected two axes or more, but the leaf has shape {tuple(shape)}. Give it None.")
    rows, columns = (tuple(int(a) % len(shape) for a in np.atleast_1d(axes)) for axes in dims)
    if twice := sorted({a for a in rows + columns if (rows + columns).count(a) > 1}):
        raise StructureError(
            f"{owner}: reduction and output axes must differ, but at a leaf of shape {tuple(shape)} {dims} names {twice} twice."
        )
    return Axes(tuple(a for a in range(len(shape)) if a not in rows + columns), rows, columns)


def of_leaves(spec: Tree | Callable[[Tree], Tree], kind: type[Dims], tree: Tree) -> list[Dims | None]:
    """Dimension numbers, or None, for each leaf: from one for all, a tree, a prefix of it, or a function that returns one."""
    spec = spec(tree) if is_function(spec, tree) else spec
    tops, top = jax.tree.flatten(spec, is_leaf=lambda x: is_gap(x) or isinstance(x, kind))
    parts = top.flatten_up_to(tree)
    return [d for d, part in zip(tops, parts, strict=True) for _ in jax.tree.leaves(part, is_leaf=is_gap)]
