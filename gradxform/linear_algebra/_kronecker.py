"""Products of a tensor with a matrix for each of its axes, and what a tensor says of each axis."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from gradxform._types import Array, Axes, Shape

HIGHEST = jax.lax.Precision.HIGHEST
matmul = functools.partial(jnp.matmul, precision=HIGHEST)
Matrices = tuple[Array | None, ...]
"""One for each axis of a tensor; None: it has none."""


def along(x: Array, matrices: Sequence[Array | None], transposed: bool = False) -> Array:
    """x into the bases that are the columns of a matrix for each axis: for a real matrix x, q0' x q1; transposed: back, q0 x q1'.

    Args:
      x: a tensor.
      matrices: for each axis a matrix, or None for the identity.
      transposed: whether the way back is meant.
    """
    for k, q in enumerate(matrices):
        if q is not None:
            x = jnp.moveaxis(jnp.tensordot(x, q if transposed else q.conj(), (k, int(transposed)), precision=HIGHEST), -1, k)
    return x


def outer(x: Array, axis: int, y: Array | None = None) -> Array:
    """The product of a tensor, as a matrix whose rows are that axis, with its adjoint, or with that of another: square.

    Args:
      x: a tensor.
      axis: the axis that stays.
      y: another tensor of that shape.
    """
    others = [i for i in range(x.ndim) if i != axis]
    return jnp.tensordot(x, (x if y is None else y).conj(), (others, others), precision=HIGHEST)


def squares(shape: Shape, max_precond_dim: int | None = None) -> tuple[Axes | None, ...]:
    """The axes of a square matrix for each axis that is not too long."""
    return tuple(None if max_precond_dim is not None and n > max_precond_dim else Axes(k, k) for k, n in enumerate(shape))
