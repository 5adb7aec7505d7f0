"""Matrix functions for batches of matrices: the last two axes are rows and columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import jax.numpy as jnp

from gradxform._numerics import abs_sq, by_parts, power_of_two, size_along
from gradxform._types import Array
from gradxform.linear_algebra._factorizations import spectral


def adjoint(x: Array) -> Array:
    """The conjugate transpose."""
    return jnp.swapaxes(x, -1, -2).conj()


def frobenius(x: Array) -> Array:
    """The Frobenius norm, without underflow or overflow of the squares."""
    return size_along(x, (-2, -1))


def _size(x: Array) -> Array:
    """The Frobenius norm of matrices whose largest element is near 1, with derivative 0 at 0."""
    square = jnp.sum(abs_sq(x), (-2, -1), keepdims=True)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), square)


def _scaled(x: Array, preconditioning: Preconditioning, eps: Array | float) -> Array:
    """x times a number, or a number for each row, so that its spectral norm is at most about 1."""
    axes = (-2, -1)
    unit = power_of_two(jnp.max(jnp.abs(x), axes, keepdims=True, initial=0))
    x = by_parts(lambda part: part / unit, x)
    if preconditioning == "frobenius":
        size = _size(x) + eps / unit
    elif preconditioning == "spectral":
        size = spectral(x) + eps / unit
    else:
        a = jnp.abs(x @ adjoint(x))
        square = jnp.sum(a, -1, keepdims=True) if preconditioning == "aol" else _size(a)
        size = jnp.maximum(jnp.sqrt(square), jnp.sqrt(jnp.asarray(eps, unit.dtype)) / unit)
    return by_parts(lambda part: part * (1 / size), x)


Preconditioning = Literal["frobenius", "spectral", "aol", "schatten"]


RESTART = 2  # steps after which the Gram form begins anew: rounding makes negative eigenvalues, which would grow


def _by_products(x: Array, rows: Sequence[Array]) -> Array:
    for c in rows:
        a = x @ adjoint(x)
        x = c[0] * x + (c[1] * a + c[2] * (a @ a)) @ x
    return x


def _by_gram(x: Array, rows: Sequence[Array]) -> Array:
    """The same from r = x x*: q, a polynomial of r, is gathered, and x multiplied once."""
    r = x @ adjoint(x)
    one, q = jnp.broadcast_to(jnp.eye(r.shape[-1], dtype=r.dtype), r.shape), None
    for c in rows:
        z = c[1] * r + c[2] * (r @ r)
        q = z + c[0] * one if q is None else q @ z + c[0] * q
        t = r @ z + c[0] * r
        r = t @ z + c[0] * t
    return x if q is None else q @ x


def newton_schulz(
    x: Array,
    coeffs: Array,
    steps: int,
    preconditioning: Preconditioning = "frobenius",
    eps: Array | float = 1e-8,
    gram: bool = False,
) -> Array:
    """The nearest semi-orthogonal matrix, roughly, by a polynomial iteration.

        x = x scale(x)                          so that its singular values are at most 1
        a = x x*
        x = c0 x + (c1 a + c2 a a) x            `steps` times, or once for each row of coeffs

    With `gram` the same numbers come of products of the shorter side alone, but for two with x; that takes down to half as many
    operations where the longer side is four times as long or more, and more of them where x is square.

    Shapes   x (..., m, n); the shorter side is iterated on. coeffs (3,) or (steps, 3).
    Source   Jordan et al. 2024, "Muon"; aol: Prach & Lampert 2022, arXiv:2208.03160; schatten: the Schatten-4 norm; gram: Dao-AILab,
             gram-newton-schulz.
    """
    tall = x.shape[-2] > x.shape[-1]
    x = adjoint(x) if tall else x
    x = _scaled(x, preconditioning, eps)
    coeffs = coeffs.astype(x.dtype)
    rows = [coeffs] * steps if coeffs.ndim == 1 else list(coeffs)
    x = _by_gram(_by_gram(x, rows[:RESTART]), rows[RESTART:]) if gram else _by_products(x, rows)
    return adjoint(x) if tall else x
