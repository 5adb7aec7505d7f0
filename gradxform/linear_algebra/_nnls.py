"""Non-negative least squares."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from gradxform._errors import StructureError
from gradxform._numerics import is_inexact, parts, power_of_two, promote, round_to
from gradxform._types import Array, ArrayLike
from gradxform.linear_algebra._products import matmul


def nnls(A: ArrayLike, b: ArrayLike, iters: int, unroll: int | bool = 1, L: ArrayLike | None = None) -> Array:
    """Minimize |A x - b| over x >= 0 by the fast projected gradient method.

        x' = max(y - (A^T A y - A^T b) / L, 0)
        c' = (1 + sqrt(1 + 4 c^2)) / 2
        y  = x' + (c - 1) / c' (x' - x)                 from x = y = 0, c = 0

    L is at least the largest eigenvalue of A^T A; without it, the smaller of the Frobenius and the 1-norm.

    Args:
      A: a matrix.
      b: a vector, or a matrix of several.
      iters: the number of iterations.
      unroll: the number of iterations in one turn of the compiled loop.
      L: at least the largest eigenvalue of A^T A; None: the smaller of two bounds.

    >>> x = gx.linear_algebra.nnls(jnp.eye(2), jnp.array([1.0, -1.0]), iters=100)
    >>> jnp.round(x, 3)
    Array([1., 0.], dtype=float32)

    Shapes   A (m, n); b (m,) or (m, k); x (n,) or (n, k).
    Source   Polyak 2015, 'Projected gradient method for non-negative least square'.
    Differs  narrow dtypes and whole numbers are computed in float32 and rounded once. A and b may be so large or small that A^T A
             overflows or vanishes, and complex: then x is still real, and A^T is the conjugate transpose.
    Raises   StructureError: shapes that do not fit.
    """
    A, b = jnp.asarray(A), jnp.asarray(b)
    if A.ndim != 2 or b.ndim not in (1, 2) or b.shape[0] != A.shape[0]:
        raise StructureError(f"nnls: `A` must have shape (m, n) and `b` (m,) or (m, k), but got {A.shape} and {b.shape}.")
    wide = promote(A.dtype, b.dtype, jnp.float32)
    dtype = jnp.finfo(b.dtype if is_inexact(b.dtype) else wide).dtype
    A, b = _real(A.astype(wide)), _real(b.astype(wide))
    to_A, to_b = (power_of_two(jnp.max(jnp.abs(x), initial=0)) for x in (A, b))
    A, b = A / to_A, b / to_b
    Q, q = matmul(A.T, A), matmul(A.T, b)
    L = _largest_eigenvalue_at_most(Q) if L is None else jnp.asarray(L, Q.dtype) / to_A / to_A
    L = jnp.where(L == 0, 1, L)

    def step(carry: tuple[Array, Array, Array], _: None) -> tuple[tuple[Array, Array, Array], None]:
        x, y, c = carry
        x_next = jnp.maximum(y - (matmul(Q, y) - q) / L, 0)
        c_next = (1 + jnp.sqrt(1 + 4 * c**2)) / 2
        return (x_next, x_next + (c - 1) / c_next * (x_next - x), c_next), None

    zeros = jnp.zeros_like(q)
    (x, _, _), _ = jax.lax.scan(step, (zeros, zeros, jnp.zeros([], q.dtype)), length=iters, unroll=unroll)
    return round_to(x * (to_b / to_A), dtype)


def _real(x: Array) -> Array:
    """The real rows of complex ones: their real parts, then their imaginary parts."""
    return jnp.concatenate(parts(x))


def _largest_eigenvalue_at_most(Q: Array) -> Array:
    return jnp.minimum(jnp.sqrt(jnp.sum(Q * Q)), jnp.max(jnp.sum(jnp.abs(Q), 0), initial=0))
