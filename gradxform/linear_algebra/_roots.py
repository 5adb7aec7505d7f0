"""Inverse roots of batches of symmetric matrices, by eigenvectors or by products alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from gradxform._errors import HyperparameterError, UnknownNameError
from gradxform._types import Array
from gradxform.linear_algebra._factorizations import eigh
from gradxform.linear_algebra._inverse_root import matrix_inverse_pth_root
from gradxform.linear_algebra._power_iteration import power_iteration
from gradxform.linear_algebra._products import matmul

Roots = Literal["eigh", "newton", "newton_db"]


class _Pair(NamedTuple):
    k: Array | int
    y: Array
    z: Array
    error: Array
    improves: Array | bool


def inverse_root(x: Array, p: int, method: Roots = "eigh", ridge: float | Array = 1e-6, steps: int = 100) -> Array:
    """(x + ridge l I)^(-1/p) of a symmetric matrix without negative eigenvalues; l is its largest.

        eigh        v diag(w^(-1/p)) v*                     w the eigenvalues of x, none below 0, plus ridge l
        newton      the coupled iteration of `matrix_inverse_pth_root`
        newton_db   y = a / l,  z = I                       a = x + ridge l I
                    e = (3 I - z y) / 2
                    y = y e,  z = e z                       until z y is I: y = (a / l)^(1/2), z = (a / l)^(-1/2)
                    p = 4, 8, ...: the same again of y

    The last two are made of products alone, so that a batch is as fast as accelerators multiply.

    Args:
      x: symmetric, or a batch of such; the last two axes are those of the matrices.
      p: which root, a whole number of at least 1; 2, 4, 8 or so on for "newton_db".
      method: "eigh", "newton" or "newton_db".
      ridge: what is added to the diagonal, as a part of the largest eigenvalue.
      steps: the most iterations.

    >>> jnp.round(gx.linear_algebra.inverse_root(jnp.diag(jnp.array([16.0, 1.0])), 4), 3)
    Array([[0.5, 0. ],
           [0. , 1. ]], dtype=float32)

    Shapes   (..., n, n), as x.
    Source   newton: Higham 2008, 'Functions of matrices', eq. 7.18; newton_db: there 6.35, and Modoranu et al. 2026, DASH.
    Differs  no.
    Raises   HyperparameterError: no such root, or not by this method. UnknownNameError: no such method.
    """
    if p < 1 or not can_root(1 / p, method):
        raise HyperparameterError(
            f"inverse_root: `p` must be a whole number of at least 1, for 'newton_db' 2, 4, 8 or so on, but got {p}."
        )
    if method == "eigh":
        return _by_eigenvectors(x, p, ridge)
    if method not in ("newton", "newton_db"):
        raise UnknownNameError(f"inverse_root: no method is called {method!r}; there are eigh, newton, newton_db.")
    one = lambda a: (
        matrix_inverse_pth_root(a, p, steps, ridge, rounding(a))[0]
        if method == "newton"
        else _by_denman_beavers(a, p, ridge, steps)
    )
    for _ in range(x.ndim - 2):
        one = jax.vmap(one)
    return one(x)


def _by_eigenvectors(x: Array, p: int, ridge: float | Array) -> Array:
    def power(w: Array) -> Array:
        w = w + ridge * w[..., -1:]
        return jnp.where(w > 0, jnp.where(w > 0, w, 1) ** (-1 / p), 0)  # of a matrix of zeros: zeros

    return by_eigenvalues(power, x)


def rounding(x: Array) -> float:
    """The part of the largest eigenvalue of a symmetric matrix that rounding may make of an eigenvalue 0."""
    return x.shape[-1] * float(jnp.finfo(x.dtype).eps)


def by_eigenvalues(f: Callable[[Array], Array], x: Array) -> Array:
    """The symmetric matrix whose eigenvalues are f of those of x, increasing, none of which counts as less than rounding makes of 0.

    Args:
      f: (..., n) -> (..., n).
      x: symmetric, without negative eigenvalues, or a batch of such.
    """
    w, v = eigh(x)
    w = jnp.maximum(w, rounding(x) * jnp.maximum(w[..., -1:], 0))
    return matmul(v * f(w)[..., None, :].astype(v.dtype), jnp.swapaxes(v, -1, -2).conj())


def inverse_power(x: Array, exponent: float, method: Roots = "eigh", eps: float | Array = 0.0) -> Array:
    """(x + eps I)^-exponent of a symmetric matrix without negative eigenvalues, with eps in units of x.

    Args:
      x: symmetric, or a batch of such.
      exponent: positive, and one of those that `can_root` says.
      method: as `inverse_root` has it.
      eps: what is added to the eigenvalues.
    """
    if method == "eigh":
        return by_eigenvalues(lambda w: (w + eps) ** -exponent, x)
    return inverse_root(
        x + (eps * jnp.eye(x.shape[-1], dtype=x.real.dtype)).astype(x.dtype), round(1 / exponent), method, rounding(x)
    )


def can_root(exponent: float, method: str) -> bool:
    """Whether `inverse_power` can make that power: "newton" -1 over a whole number, "newton_db" -1 over 2, 4, 8 or so on."""
    p = round(1 / exponent)
    of_products = p >= 1 and abs(p * exponent - 1) < 1e-9
    return method == "eigh" or (of_products and (method != "newton_db" or (p > 1 and not p & (p - 1))))


def _by_denman_beavers(x: Array, p: int, ridge: float | Array, steps: int) -> Array:
    """`newton_db` of one matrix."""
    one, largest = jnp.eye(len(x), dtype=x.dtype), power_iteration(x)[0].real
    unit = jnp.where(largest <= 0, 1, largest * (1 + ridge)).astype(x.dtype)  # NaN stays NaN
    root, power = (x + (ridge * largest).astype(x.dtype) * one) / unit, one
    for _ in range(p.bit_length() - 1):
        root, power = _halved(root, one, steps)
    return jnp.where(largest <= 0, 0, power * unit ** (-1 / p))


def _halved(a: Array, one: Array, steps: int) -> tuple[Array, Array]:
    """a^(1/2) and a^(-1/2), of eigenvalues of at most 1."""
    distance = lambda zy: jnp.max(jnp.abs(zy - one))
    limit = len(a) * jnp.finfo(a.dtype).eps

    def step(s: _Pair) -> _Pair:
        e = (3 * one - matmul(s.z, s.y)) / 2
        y, z = matmul(s.y, e), matmul(e, s.z)
        error = distance(matmul(z, y))
        fine = error < 1.2 * s.error
        return _Pair(s.k + 1, jnp.where(fine, y, s.y), jnp.where(fine, z, s.z), jnp.where(fine, error, s.error), fine)

    first = _Pair(0, a, one, distance(a), True)
    s = jax.lax.while_loop(lambda s: (s.k < steps) & (s.error > limit) & s.improves, step, first)
    return s.y, s.z


def kept(new: Array, old: Array) -> tuple[Array, Array]:
    """Each new matrix if all of it is finite, else the old one; and how many were not.

    Args:
      new: a batch of matrices, just made.
      old: those that they are to replace.

    >>> roots, failures = gx.linear_algebra.kept(jnp.array([[jnp.nan]]), jnp.array([[2.0]]))
    >>> roots, failures
    (Array([[2.]], dtype=float32), Array(1, dtype=int32))

    Shapes   both (..., m, n).
    Source   Anil et al. 2020, arXiv:2002.09018, keep a root of which the error is too large.
    """
    fine = jnp.all(jnp.isfinite(new), (-2, -1), keepdims=True)
    return jnp.where(fine, new, old), jnp.sum(~fine, dtype=jnp.int32)
