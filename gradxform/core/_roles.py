"""Roles of axes: which axes of a leaf are the inputs and which the outputs of a matrix; the others are a batch of matrices."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, NamedTuple

import jax
import numpy as np

from gradxform._errors import StructureError
from gradxform._messages import brief
from gradxform._types import Array, Count, ForEngine, Params, Shape, Tree
from gradxform.core._holes import flatten, is_array, is_gap, paths
from gradxform.core._labels import by_path, is_function, is_patterns, resolve

Split = int | tuple[int, ...] | None


class WeightDimensionNumbers(NamedTuple):
    """Which axes of a weight are the inputs, and which the outputs, of a matrix. The others are a batch of matrices.

    Attributes:
      reduction_axis: the axis of the inputs, or several, flattened in that order.
      output_axis: the axis of the outputs, or several.
      reduction_split: into how many equal parts the inputs are cut, or the sizes of the parts; each part is a matrix of its own.
      output_split: the same for the outputs: attention heads, or the sizes of fused queries, keys and values.
    """

    reduction_axis: Sequence[int] | int = -2
    output_axis: Sequence[int] | int = -1
    reduction_split: Split = None
    output_split: Split = None


PRESETS: dict[str, Callable[[int], WeightDimensionNumbers]] = {
    "flax": lambda ndim: WeightDimensionNumbers(-2, -1),
    "equinox": lambda ndim: WeightDimensionNumbers(-1, -2),
    "conv": lambda ndim: WeightDimensionNumbers(tuple(range(ndim - 1)), -1),
}
"""By name, the numbers of a weight of that many axes; a leaf of fewer than two has none."""

Numbers = WeightDimensionNumbers | str | None
"""What may be said of one leaf; None: it is no matrix."""
DimensionNumbers = Numbers | Tree | Callable[[Params], Tree]
"""One for all leaves, patterns of paths, a tree of them or a prefix of one, or a function that returns such a tree."""
Roles = Annotated[Any, ForEngine("roles")]
"""Marks the argument that says them, of which a kernel itself makes nothing: it sees one matrix."""


class Role(NamedTuple):
    """The axes of an array that is seen as a batch of matrices, all non-negative, and how its rows and columns are cut."""

    batch: tuple[int, ...]
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    row_split: Split = None
    column_split: Split = None

    def __str__(self) -> str:
        """In the words of dimension numbers."""
        axes = lambda said: str(said[0] if len(said) == 1 else said)
        split = lambda x: "" if x is None else f" split into {x}"
        batch = f"batch {axes(self.batch)}, " if self.batch else ""
        return f"{batch}inputs {axes(self.rows)}{split(self.row_split)}, outputs {axes(self.columns)}{split(self.column_split)}"

    @property
    def order(self) -> tuple[int, ...]:
        return self.batch + self.rows + self.columns

    @property
    def stacked(self) -> Role:
        """The same of several, one behind another along a new first axis."""
        batch, rows, columns = (tuple(a + 1 for a in axes) for axes in self[:3])
        return self._replace(batch=(0, *batch), rows=rows, columns=columns)

    def sizes(self, shape: Sequence[int]) -> tuple[int, int]:
        """The number of rows and of columns."""
        return math.prod(shape[a] for a in self.rows), math.prod(shape[a] for a in self.columns)

    def matrix(self, x: Array) -> Array:
        """x as (batch..., rows, columns), not cut."""
        return x.transpose(self.order).reshape(*(x.shape[a] for a in self.batch), *self.sizes(x.shape))

    def array(self, matrix: Array, shape: Sequence[int]) -> Array:
        """The array of this shape, of which `matrix` is the matrix."""
        return matrix.reshape([shape[a] for a in self.order]).transpose(np.argsort(self.order))


class Stack(NamedTuple):
    """In the place of the first of several leaves: all of them, along a new first axis (`gradxform.core._stacked`)."""

    members: Array


def is_stack(x: object) -> bool:
    return isinstance(x, Stack)


def of_one(tree: Tree) -> tuple[Tree, list[bool]]:
    """The tree with the first member, as a shape, in the place of each stack; and for each leaf whether it is one."""
    leaves = jax.tree.leaves(tree, is_leaf=lambda x: is_gap(x) or is_stack(x))
    if not any(map(is_stack, leaves)):
        return tree, [False] * len(leaves)
    one = lambda x: jax.ShapeDtypeStruct(x.members.shape[1:], x.members.dtype) if is_stack(x) else x
    return jax.tree.map(one, tree, is_leaf=lambda x: is_gap(x) or is_stack(x)), list(map(is_stack, leaves))


def role_for(owner: str, shape: Shape, numbers: Any, at: str = "") -> Role:
    """The role of a leaf of that shape, by numbers or the name of a preset."""
    place = f" at {at!r}" if at else ""
    where = f"{owner}:{place} the leaf has"
    if isinstance(numbers, str):
        if numbers not in PRESETS:
            raise StructureError(f"{owner}: no dimension numbers are called {numbers!r}; there are {', '.join(PRESETS)}.")
        numbers = PRESETS[numbers](len(shape))
    if len(shape) < 2:
        raise StructureError(f"{owner}: expected two axes or more,{place} but the leaf has shape {tuple(shape)}. Give it None.")
    rows, columns = (tuple(int(a) % len(shape) for a in np.atleast_1d(np.asarray(axes, int))) for axes in numbers[:2])
    named = [int(a) for axes in numbers[:2] for a in np.atleast_1d(axes)] if isinstance(numbers, WeightDimensionNumbers) else []
    if outside := [a for a in named if not -len(shape) <= a < len(shape)]:
        raise StructureError(f"{where} shape {tuple(shape)}, which has no axis {outside[0]}, but {brief(numbers)} names it.")
    if twice := sorted({a for a in rows + columns if (rows + columns).count(a) > 1}):
        raise StructureError(
            f"{where} shape {tuple(shape)}, but {brief(numbers)} names {twice} twice: reduction and output axes must differ."
        )
    splits = (*numbers[2:], None, None)[:2]
    role = Role(tuple(a for a in range(len(shape)) if a not in rows + columns), rows, columns, *map(_whole, splits))
    for size, split, what in zip(role.sizes(shape), role[3:], ("inputs", "outputs"), strict=True):
        if split is not None and (size % max(split, 1) if isinstance(split, int) else size - sum(split)):
            raise StructureError(f"{where} shape {tuple(shape)}, whose {size} {what} cannot be split into {split!r}.")
    return role


def _whole(split: Any) -> Split:
    return split if split is None else int(split) if np.ndim(split) == 0 else tuple(map(int, split))


def is_numbers(x: object) -> bool:
    """Whether it is what may be said of one leaf: dimension numbers of any class, or the name of a preset."""
    return isinstance(x, str) or (isinstance(x, tuple) and getattr(x, "_fields", ())[:2] == ("reduction_axis", "output_axis"))


def numbers_of(owner: str, spec: DimensionNumbers, tree: Tree) -> list[Numbers]:
    """What is said of each leaf. Of a leaf of fewer than two axes the name of a preset says nothing, and of any other spec None does."""
    leaves = flatten(tree)[0]
    if spec is None:
        return [WeightDimensionNumbers() if getattr(x, "ndim", 0) == 2 else None for x in leaves]
    if is_patterns(spec, tree, partial=True):
        found: list[Any] = list(resolve(owner, by_path({"default": None, **spec}), tree))
    else:
        found = _by_tree(spec(tree) if is_function(spec, tree) else spec, tree)
    of_matrices = lambda n: n in PRESETS if isinstance(n, str) else n is spec and getattr(n, "of_all_matrices", False)
    return [None if of_matrices(n) and getattr(x, "ndim", 0) < 2 else n for n, x in zip(found, leaves, strict=True)]


def _by_tree(spec: Tree, tree: Tree) -> list[Any]:
    tops, top = jax.tree.flatten(spec, is_leaf=lambda x: is_gap(x) or is_numbers(x))
    parts = top.flatten_up_to(tree)
    return [d for d, part in zip(tops, parts, strict=True) for _ in flatten(part)[0]]


def roles_of(owner: str, spec: DimensionNumbers, tree: Tree) -> list[Role | None]:
    """The role of each leaf; None: it is no matrix. The members of a stack have the role of the first."""
    tree, stacked = of_one(tree)
    rows = zip(paths(tree), flatten(tree)[0], numbers_of(owner, spec, tree), stacked, strict=True)
    found = lambda x, n: n is not None and not is_gap(n) and is_array(x)
    roles = [(role_for(owner, np.shape(x), n, path) if found(x, n) else None, several) for path, x, n, several in rows]
    return [role.stacked if role is not None and several else role for role, several in roles]


@dataclasses.dataclass
class _Begun:
    """The parameters whose first state is being made, all of them, and whether a warning about them has been given."""

    params: Params
    warned: bool = False


_begun: contextvars.ContextVar[_Begun | None] = contextvars.ContextVar("begun", default=None)


@contextlib.contextmanager
def beginning(params: Params) -> Iterator[None]:
    """While a first state is made: of what is inside, some see only some of the parameters."""
    token = _begun.set(_begun.get() or _Begun(params))
    try:
        yield
    finally:
        _begun.reset(token)


def warn_of_turned(owner: str, roles: Sequence[Role | None] | None, tree: Tree) -> None:
    """Warn, once for each first state, if more than half of the matrices that a vector beside them tells of look turned."""
    begun = _begun.get()
    if begun is None or begun.warned or roles is None:
        return
    beside: dict[str, list[Shape]] = {}
    for path, x in zip(paths(begun.params), flatten(begun.params)[0], strict=True):
        if is_array(x):
            beside.setdefault(_module(path), []).append(np.shape(x))
    rows = zip(paths(tree), map(np.shape, flatten(tree)[0]), roles, strict=True)
    known = [(path, shape, role, _looks_turned(shape, role, beside.get(_module(path), []))) for path, shape, role in rows if role]
    told = [row for row in known if row[-1] is not None]
    turned = [row for row in told if row[-1]]
    if 2 * len(turned) > len(told):
        begun.warned = True
        path, shape, role, _ = turned[0]
        other = "flax" if role.rows > role.columns else "equinox"
        warnings.warn(
            f"{owner}: {len(turned)} of {len(told)} matrices beside which a bias or scale lies look turned. At {path!r}, of shape "
            f"{shape}, the axes were taken as {role}, but what lies beside it is as long as the inputs, and a bias is as long as the "
            f'outputs. If the axes are the other way round, write `weight_dimension_numbers="{other}"`: steps depend on it.',
            stacklevel=2,
        )


def _looks_turned(shape: Shape, role: Role, beside: Sequence[Shape]) -> bool | None:
    """Whether a vector beside a matrix is as long as its inputs, and none as long as its outputs; None: they do not tell.

    Where there are fewer vectors than matrices, they may be those of others.
    """
    batch, (inputs, outputs) = tuple(shape[a] for a in role.batch), role.sizes(shape)
    lengths = [x[-1] for x in beside if len(x) == len(batch) + 1 and x[:-1] == batch]
    few = len(lengths) < sum(len(x) > len(batch) + 1 for x in beside)
    return None if few or (inputs in lengths) == (outputs in lengths) else inputs in lengths


def _module(path: str) -> str:
    """The path of what a leaf belongs to; names as of PyTorch, `fc.weight`, are paths too."""
    return path.replace(".", "/").rpartition("/")[0]


BlockSize = Annotated[int | None, ForEngine("block_size")]
"""Marks the argument that says into how long blocks every axis is cut; None: not at all."""
MergeDims = Annotated[int | None, ForEngine("merge_dims")]
"""Marks the argument that says how many elements neighbouring axes may have that are joined first; None: they are not."""
Stacking = Annotated[Count | None, ForEngine("stacking")]
"""Marks the argument that says to a multiple of how many a stack of matrices is filled up; None: each leaf is held by itself."""
