"""Factorizations of matrices that kernels may batch.

On the CPU, XLA calls LAPACK for the matrices of a batch from threads of its own, and several batches in one program wait for one another:
they take many times longer, or never end. So there a batch is factored one matrix after another; elsewhere it is one call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.custom_batching import sequential_vmap

from gradxform._numerics import by_parts, size_along
from gradxform._types import Array
from gradxform.linear_algebra._products import matmul

Factors = tuple[Array, ...]


def _one_by_one(factor: Callable[[Array], Factors]) -> Callable[[Array], Factors]:
    """`factor` of one matrix, that under `vmap` does on the CPU what it does for one. Differentiated, it is JAX's own."""
    on_cpu: Any = sequential_vmap(factor)

    @jax.custom_jvp
    def f(x: Array) -> Factors:
        return jax.lax.platform_dependent(x, cpu=on_cpu, default=factor)

    @f.defjvp
    def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Factors, Factors]:
        return jax.jvp(factor, primals, tangents)

    return f


_EIGH = _one_by_one(lambda x: tuple(jnp.linalg.eigh(x)))
_QR = _one_by_one(lambda x: tuple(jnp.linalg.qr(x)))
_SVD = _one_by_one(lambda x: tuple(jnp.linalg.svd(x, full_matrices=False)))
_CHOLESKY = _one_by_one(lambda x: (jnp.linalg.cholesky(x),))
_VALUES = _one_by_one(lambda x: (jnp.linalg.svd(x, compute_uv=False),))


def _over_batch(factor: Callable[[Array], Factors], x: Array) -> Factors:
    for _ in range(x.ndim - 2):
        factor = jax.vmap(factor)
    return factor(x)


def eigh(x: Array) -> tuple[Array, Array]:
    """The eigenvalues of a symmetric matrix, increasing, and its eigenvectors, as columns.

        x = v diag(w) v*

    Args:
      x: symmetric, or a batch of such; the last two axes are those of the matrices.

    >>> w, v = gx.linear_algebra.eigh(jnp.array([[2.0, 0.0], [0.0, 1.0]]))
    >>> w
    Array([1., 2.], dtype=float32)

    Shapes   (..., n, n) gives (..., n) and (..., n, n).
    Source   LAPACK, and what stands for it on accelerators.
    Differs  from `jnp.linalg.eigh`: on the CPU the matrices of a batch, under `vmap` too, are factored one after another.
    """
    w, v = _over_batch(_EIGH, x)
    return w, v


def qr(x: Array) -> tuple[Array, Array]:
    """Orthonormal columns times an upper triangular matrix.

        x = q r

    Args:
      x: a matrix, or a batch of them; the last two axes are those of the matrices.

    >>> q, r = gx.linear_algebra.qr(jnp.array([[3.0, 0.0], [4.0, 5.0]]))
    >>> bool(jnp.allclose(q @ r, jnp.array([[3.0, 0.0], [4.0, 5.0]]), atol=1e-5))
    True

    Shapes   (..., m, n) gives (..., m, k) and (..., k, n), k = min(m, n).
    Source   LAPACK, and what stands for it on accelerators.
    Differs  from `jnp.linalg.qr`, as `eigh` from `jnp.linalg.eigh`.
    """
    q, r = _over_batch(_QR, x)
    return q, r


def svd(x: Array) -> tuple[Array, Array, Array]:
    """Singular vectors and values, the values decreasing.

        x = u diag(s) v

    Args:
      x: a matrix, or a batch of them; the last two axes are those of the matrices.

    >>> u, s, v = gx.linear_algebra.svd(jnp.array([[0.0, 2.0], [1.0, 0.0]]))
    >>> s
    Array([2., 1.], dtype=float32)

    Shapes   (..., m, n) gives (..., m, k), (..., k) and (..., k, n), k = min(m, n).
    Source   LAPACK, and what stands for it on accelerators.
    Differs  from `jnp.linalg.svd(full_matrices=False)`, as `eigh` from `jnp.linalg.eigh`.
    """
    u, s, v = _over_batch(_SVD, x)
    return u, s, v


def spectral(x: Array) -> Array:
    """The largest singular value, (..., 1, 1) of (..., m, n)."""
    (s,) = _over_batch(_VALUES, x)
    return s[..., :1, None]


def cholesky(x: Array) -> Array:
    """The lower triangular l of positive definite matrices x = l l*."""
    (factor,) = _over_batch(_CHOLESKY, x)
    return factor


SHIFT = 4  # times the precision and the trace: what Gram matrices get more than rounding can take away
PASSES = 3  # each brings out directions that the last one left at the root of the shift


def orthonormal(x: Array, by: Literal["qr", "cholesky"] = "qr") -> Array:
    """The q of x = q r, orthonormal columns of a matrix that is tall or square.

    "cholesky" gives the same by products of matrices, but for signs of columns and for directions that are too small for the precision.

    Source   shifted Cholesky QR: Fukaya et al. 2020, SIAM J. Sci. Comput. 42.
    """
    if by == "qr":
        return qr(x)[0]
    x = _of_length_one(x, 0.0)
    for _ in range(PASSES):
        gram = matmul(jnp.swapaxes(x, -1, -2).conj(), x)
        trace = jnp.trace(gram, axis1=-2, axis2=-1).real
        shift = SHIFT * float(jnp.finfo(x.dtype).eps) * trace + float(jnp.finfo(x.dtype).tiny)
        lower = cholesky(gram + (shift[..., None, None] * jnp.eye(x.shape[-1], dtype=shift.dtype)).astype(x.dtype))
        x = jax.lax.linalg.triangular_solve(lower, x, left_side=False, lower=True, transpose_a=True, conjugate_a=True)
    return _of_length_one(x, 0.5)  # but for what the shift has taken they are


def _of_length_one(x: Array, least: float) -> Array:
    """The columns, those divided by their length that are longer than `least`."""
    size = size_along(x, -2)
    return by_parts(lambda part: part / jnp.where(size > least, size, 1), x)
