"""Lower bounds of the spectral norm by a few products."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform._numerics import abs_sq, size_along
from gradxform._types import Array
from gradxform.linear_algebra._newton_schulz import adjoint
from gradxform.linear_algebra._products import matmul


def norm_from_vectors(A: Array, V: Array) -> Array:
    """The longest of some vectors after four multiplications, first turned towards the longest row.

    Args:
      A: a matrix that is Hermitian, or minus its adjoint.
      V: random vectors, as rows.
    """
    largest, tiny = jnp.max(jnp.abs(A), initial=0), tiny_of(A)
    A = A / (largest + tiny)
    row = A[jnp.argmax(jnp.sum(abs_sq(A), 1))][None]
    V = row + jnp.sign(jnp.sum(row * V.conj(), 1, keepdims=True)) * V
    for _ in range(2):
        V = matmul(V, A)
        V = matmul(V / (jnp.sqrt(jnp.sum(abs_sq(V), 1, keepdims=True)) + tiny), A)
    return largest * jnp.max(jnp.sqrt(jnp.sum(abs_sq(V), 1)))


def norm_from_longest_column(T: Array) -> Array:
    """|T y| / |y|, where y is T times its longest column.

    Args:
      T: a Hermitian matrix.
    """
    x = T[:, jnp.argmax(jnp.sum(abs_sq(T), 0))]
    y = matmul(adjoint(T), x)
    return (size_along(matmul(T, y)) / jnp.maximum(size_along(y), tiny_of(y)))[0]


def tiny_of(x: Array) -> float:
    """The least positive number of its dtype with all digits."""
    return float(jnp.finfo(x.dtype).tiny)
