"""Linear assignment: pair rows with columns at the least total cost.

i, j = hungarian_algorithm(cost)            cost[i, j].sum() is as small as it can be
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._errors import StructureError
from gradxform._numerics import is_inexact, promote, widen
from gradxform._types import Array, ArrayLike


def hungarian_algorithm(cost_matrix: ArrayLike) -> tuple[Array, Array]:
    """The pairs (i, j) of the cheapest assignment, min(n, m) of them, in the order of the columns.

        minimize sum_k cost[i_k, j_k]           no row and no column twice

    Args:
      cost_matrix: the cost of each pair, (n, m).

    >>> rows, columns = gx.assignment.hungarian_algorithm(jnp.array([[4.0, 1.0], [2.0, 3.0]]))
    >>> rows.tolist()
    [1, 0]

    Shapes   cost_matrix (n, m); under `vmap` a batch. A cost of inf forbids a pair, as long as an assignment remains.
    Source   Crouse 2016, 'On implementing 2D rectangular assignment algorithms'; Kuhn 1955, Munkres 1957.
    Differs  rectangular ones too are in the order of the columns. Forbidden pairs do not hang. Whole numbers are compared exactly,
             however large.
    Raises   StructureError: not a matrix.
    """
    i, j = base_hungarian_algorithm(cost_matrix)
    order = jnp.argsort(j)
    return i[order], j[order]


def base_hungarian_algorithm(cost_matrix: ArrayLike) -> tuple[Array, Array]:
    """`hungarian_algorithm` in the order of the rows, as SciPy's `linear_sum_assignment`.

    Args:
      cost_matrix: the cost of each pair, (n, m).

    >>> rows, columns = gx.assignment.base_hungarian_algorithm(jnp.array([[4.0, 1.0], [2.0, 3.0]]))
    >>> columns.tolist()
    [1, 0]

    Source   Crouse 2016, 'On implementing 2D rectangular assignment algorithms'.
    Differs  forbidden pairs do not hang; whole numbers are compared exactly.
    Raises   StructureError: not a matrix.
    """
    cost = jnp.asarray(cost_matrix)
    if cost.ndim != 2:
        raise StructureError(
            f"hungarian_algorithm: the costs must be a matrix, but have shape {cost.shape}. Use `jax.vmap` for a batch."
        )
    if 0 in cost.shape:
        return jnp.zeros(0, int), jnp.zeros(0, int)
    cost = cost.astype(widen(cost.dtype)) if is_inexact(cost.dtype) else _above_the_least(cost)
    if cost.shape[0] <= cost.shape[1]:
        return jnp.arange(cost.shape[0]), _columns(cost)
    rows = _columns(cost.T)
    order = jnp.argsort(rows)
    return rows[order], order


def _above_the_least(cost: Array) -> Array:
    """Whole numbers minus the smallest of them, without a sign: 32 or 64 bits hold all differences exactly."""
    cost = cost.astype(promote(cost.dtype, jnp.int32 if jnp.issubdtype(cost.dtype, jnp.signedinteger) else jnp.uint32))
    unsigned = jnp.uint32 if jnp.iinfo(cost.dtype).bits == 32 else jnp.uint64
    return cost.astype(unsigned) - jnp.min(cost).astype(unsigned)


def _largest(dtype: np.dtype) -> Array:
    """What no cost exceeds: it stands for a column that is not reached yet."""
    return jnp.asarray(jnp.inf if is_inexact(dtype) else jnp.iinfo(dtype).max, dtype)


class _Search(NamedTuple):
    """The growth of a tree of cheapest alternating paths from one row."""

    row: Array | int  # the row to leave from
    lowest: Array  # the cost to reach it
    distance: Array  # of every column
    previous: Array  # the row before every column
    done: Array  # the columns in the tree
    sink: Array | int  # the free column reached, or -1


def _columns(cost: Array) -> Array:
    """The column of every row; no more rows than columns."""
    n, m = cost.shape

    def add(start: Array, carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        u, v, row_of, column_of = carry
        first = _Search(
            start, jnp.zeros([], cost.dtype), jnp.full(m, _largest(cost.dtype)), jnp.full(m, start), jnp.zeros(m, bool), -1
        )
        s = jax.lax.while_loop(lambda s: s.sink < 0, lambda s: _grow(cost, u, v, row_of, s), first)
        slack = jnp.where(s.done, s.lowest - s.distance, 0)
        u = u.at[jnp.where(s.done & (row_of >= 0), row_of, n)].add(slack, mode="drop").at[start].add(s.lowest)
        row_of, column_of = _flip(s.previous, s.sink, start, row_of, column_of)
        return u, v + slack, row_of, column_of

    zeros = jnp.zeros(n, cost.dtype), jnp.zeros(m, cost.dtype)
    return jax.lax.fori_loop(0, n, add, (*zeros, jnp.full(m, -1), jnp.full(n, -1)))[-1]


def _grow(cost: Array, u: Array, v: Array, row_of: Array, s: _Search) -> _Search:
    """Add the nearest column, and go on from the row that has it."""
    through = _through(s.lowest, cost[s.row], u[s.row], v)
    nearer = ~s.done & (through < s.distance)
    distance = jnp.where(nearer, through, s.distance)
    least = jnp.min(jnp.where(s.done, _largest(cost.dtype), distance))
    j = jnp.argmax(~s.done & ~(distance > least))  # the first of the nearest ones, also where none is reached
    previous = jnp.where(nearer, s.row, s.previous)
    return _Search(row_of[j], distance[j], distance, previous, s.done.at[j].set(True), jnp.where(row_of[j] < 0, j, -1))


def _through(lowest: Array, cost: Array, u: Array, v: Array) -> Array:
    """lowest + (cost - u + v). Of whole numbers the bracket is not negative, and a sum that is too large becomes the largest number: no
    path is shorter for that, as u, v and the shortest path to a free column are not larger than the largest cost."""
    if is_inexact(cost.dtype):
        return lowest + cost - u + v
    add = lambda x, y: x + jnp.minimum(y, _largest(cost.dtype) - x)
    return add(lowest, jnp.where(cost >= u, add(cost - u, v), v - (u - cost)))


def _flip(previous: Array, sink: Array | int, start: Array, row_of: Array, column_of: Array) -> tuple[Array, Array]:
    """Swap free and taken pairs along the path that ends in the sink."""

    def step(carry: tuple[Array | int, Array, Array, Array | bool]) -> tuple[Array, Array, Array, Array]:
        j, row_of, column_of, _ = carry
        i = previous[j]
        return column_of[i], row_of.at[j].set(i), column_of.at[i].set(j), i == start

    return jax.lax.while_loop(lambda carry: ~carry[-1], step, (sink, row_of, column_of, False))[1:3]
