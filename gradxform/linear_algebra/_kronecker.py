"""Products of a tensor with a matrix for each of its axes, and what a tensor says of each axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax.numpy as jnp

from gradxform._numerics import abs_sq
from gradxform._types import Array, Axes, Shape, Tree
from gradxform.linear_algebra._factorizations import eigh, qr
from gradxform.linear_algebra._products import HIGHEST, matmul

Matrices = tuple[Array | None, ...]
"""One for each axis of a tensor; None: it has none."""


def each(f: Callable[..., Array], *matrices: Sequence[Tree]) -> Matrices:
    """f of what there is for each axis; None where something is missing.

    Args:
      f: a function of one entry of each of the sequences.
      matrices: for each axis a matrix or what belongs to it, or None.
    """
    return tuple(None if any(x is None for x in some) else f(*some) for some in zip(*matrices, strict=True))


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


def times(x: Array, Q: Sequence[Array], back: bool = False) -> Array:
    """Q times x along every axis, or back: the adjoint of Q.

    Args:
      x: a tensor.
      Q: for each axis a matrix, or its diagonal.
      back: whether the way back is meant.
    """
    for k, q in enumerate(Q):
        if q.ndim == 1:
            x = x * jnp.expand_dims(q.conj() if back else q, [i for i in range(x.ndim) if i != k])
    return along(x, [None if q.ndim == 1 else q for q in Q], transposed=not back)


def gram(x: Array, axis: int, q: Array) -> Array:
    """`outer(x, axis)`, or its diagonal where that of q is all there is.

    Args:
      x: a tensor.
      axis: the axis that stays.
      q: what there is for that axis: a matrix, or its diagonal.
    """
    return jnp.sum(abs_sq(x), [i for i in range(x.ndim) if i != axis]) if q.ndim == 1 else outer(x, axis)


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


def first_basis(L: Array, tie_break: float | Array = 0.0) -> Array:
    """The eigenvectors of a factor, the largest first; tie_break orders its null space."""
    ties = tie_break * jnp.trace(L).real / len(L) * jnp.arange(1, len(L) + 1, dtype=L.real.dtype) / len(L)
    return eigh(L + jnp.diag(ties).astype(L.dtype))[1][:, ::-1]


def turned_basis(L: Array, Q: Array) -> tuple[Array, Array]:
    """One step of the power iteration from the old basis in the order of its eigenvalues, and that order."""
    LQ = matmul(L, Q)
    order = jnp.argsort(-jnp.sum(Q.conj() * LQ, 0).real)
    return qr(LQ[:, order])[0], order
