"""Inverse roots of symmetric matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax.lax import PrecisionLike

from gradxform._errors import HyperparameterError, StructureError
from gradxform._numerics import is_inexact, promote, round_to
from gradxform._types import Array, ArrayLike
from gradxform.linear_algebra._newton_schulz import frobenius
from gradxform.linear_algebra._power_iteration import power_iteration


class _Newton(NamedTuple):
    k: Array | int
    m: Array
    h: Array
    last_h: Array
    error: Array
    improves: Array | bool


def matrix_inverse_pth_root(
    matrix: ArrayLike,
    p: float | np.integer | Array,
    num_iters: int | np.integer | Array = 100,
    ridge_epsilon: ArrayLike = 1e-6,
    error_tolerance: ArrayLike = 1e-6,
    precision: PrecisionLike = jax.lax.Precision.HIGHEST,
) -> tuple[Array, Array]:
    """matrix^(-1/p), and the largest element of |m - I|, which says how well that went.

        a = matrix + ridge_epsilon l I          l = the largest eigenvalue, at least 1e-16
        z = (1 + p) / (2 |a|)
        m = z a                                 h = z^(1/p) I
        t = ((p + 1) I - m) / p
        m = t^p m                               h = h t
                                                until m is I, or num_iters times, or until the error grows
                                                after the first time, which brings eigenvalues from above 1 below it

    Args
        matrix  (n, n), symmetric and positive semi-definite.
        p       a positive integer.

    Args:
      matrix: a symmetric matrix without negative eigenvalues.
      p: which root, a whole number of at least 1.
      num_iters: the most iterations.
      ridge_epsilon: what is added to the diagonal, as a part of the largest eigenvalue.
      error_tolerance: the error at which the iteration ends.
      precision: of the products, as in `jax.lax.dot`.

    >>> root, error = gx.linear_algebra.matrix_inverse_pth_root(4.0 * jnp.eye(2), 2)
    >>> jnp.round(root, 3)
    Array([[0.5, 0. ],
           [0. , 0.5]], dtype=float32)

    Source   Higham 2008, 'Functions of matrices', eq. 7.18.
    Differs  every p works, not only 1, 2, 4 and 8; float64 stays float64; the dtype is the matrix's for n = 1 too, and float32 for
             whole numbers. Optax gives up where the first iteration makes an element of m - I larger, as of a matrix of ones.
    Raises   StructureError: not a square matrix. HyperparameterError: p is not a positive integer.
    """
    p = _whole(p)
    given = jnp.asarray(matrix)
    if given.ndim != 2 or given.shape[0] != given.shape[1]:
        raise StructureError(f"matrix_inverse_pth_root: `matrix` must be square, but has shape {given.shape}.")
    a = given.astype(promote(given.dtype, jnp.float32))
    dtype = given.dtype if is_inexact(given.dtype) else a.dtype
    one = jnp.eye(len(a), dtype=a.dtype)
    largest, _ = power_iteration(a, num_iters=100, error_tolerance=1e-6, precision=precision)
    real = jnp.finfo(a.dtype).dtype
    a = a + (jnp.asarray(ridge_epsilon, real) * jnp.maximum(largest.real, 1e-16)).astype(a.dtype) * one
    n = p if isinstance(p, int) else p.astype(real)
    if len(a) == 1:
        return round_to(a ** (-1.0 / n), dtype), jnp.zeros([], real)
    product = lambda x, y: jnp.matmul(x, y, precision=precision)
    distance = lambda m: jnp.max(jnp.abs(m - one))

    def step(s: _Newton) -> _Newton:
        t = ((n + 1) * one - s.m) / n
        m = product(_power(t, p, product), s.m)
        error = distance(m)
        return _Newton(s.k + 1, m, product(s.h, t), s.h, error, (error < s.error * 1.2) | (s.k == 0))

    z = (1 + n) / 2 / frobenius(a)
    m, h = a * z.astype(a.dtype), one * (z ** (1.0 / n)).astype(a.dtype)
    first = _Newton(0, m, h, h, distance(m), True)
    s = jax.lax.while_loop(lambda s: (s.k < num_iters) & (s.error > error_tolerance) & s.improves, step, first)
    return round_to(jnp.where(s.improves, s.h, s.last_h), dtype), distance(s.m)


def _whole(p: float | np.integer | Array) -> Array | int:
    """p as an int, if it is known."""
    if isinstance(p, jax.core.Tracer):
        return p
    value = np.asarray(p)
    if value.ndim != 0 or not np.isreal(value) or not 1 <= value < np.inf or int(value) != value:
        raise HyperparameterError(f"matrix_inverse_pth_root: `p` must be a positive integer, but got {p!r}.")
    return int(value)


def _power(x: Array, p: Array | int, product: Callable[[Array, Array], Array]) -> Array:
    """x^p."""
    if not isinstance(p, int):
        return jax.lax.fori_loop(1, p, lambda _, y: product(y, x), x)
    if p == 1:
        return x
    half = _power(x, p // 2, product)
    return product(product(half, half), x) if p % 2 else product(half, half)
