"""Matrix functions for batches of matrices: the last two axes are rows and columns."""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp

from gradxform._types import Array


def adjoint(x: Array) -> Array:
    """The conjugate transpose."""
    return jnp.swapaxes(x, -1, -2).conj()


def frobenius(x: Array) -> Array:
    """The Frobenius norm, without underflow or overflow of the squares."""
    largest = jnp.max(jnp.abs(x), (-2, -1), keepdims=True)
    unit = jnp.where(largest > 0, largest, 1)
    return largest * jnp.sqrt(jnp.sum(jnp.abs(x / unit) ** 2, (-2, -1), keepdims=True))


def _first_scale(x: Array, preconditioning: Preconditioning, eps: Array | float) -> Array:
    """What to multiply x with so that its spectral norm is at most about 1."""
    axes = (-2, -1)
    if preconditioning == "frobenius":
        return 1 / (frobenius(x) + eps)
    if preconditioning == "spectral":
        return 1 / (jnp.linalg.norm(x, ord=2, axis=axes, keepdims=True) + eps)
    a = x @ adjoint(x)
    if preconditioning == "aol":
        return 1 / jnp.sqrt(jnp.maximum(jnp.sum(jnp.abs(a), -1, keepdims=True), eps))
    return 1 / jnp.sqrt(jnp.maximum(jnp.sqrt(jnp.sum(jnp.abs(a) ** 2, axes, keepdims=True)), eps))


Preconditioning = Literal["frobenius", "spectral", "aol", "schatten"]


def newton_schulz(
    x: Array, coeffs: Array, steps: int, preconditioning: Preconditioning = "frobenius", eps: Array | float = 1e-8
) -> Array:
    """The nearest semi-orthogonal matrix, roughly, by a polynomial iteration.

        x = x scale(x)                          so that its singular values are at most 1
        a = x x*
        x = c0 x + (c1 a + c2 a a) x            `steps` times, or once for each row of coeffs

    Shapes   x (..., m, n); the shorter side is iterated on. coeffs (3,) or (steps, 3).
    Source   Jordan et al. 2024, "Muon"; aol: Prach & Lampert 2022, arXiv:2208.03160; schatten: the Schatten-4 norm.
    """
    tall = x.shape[-2] > x.shape[-1]
    x = adjoint(x) if tall else x
    x = x * _first_scale(x, preconditioning, eps)
    for c in [coeffs] * steps if coeffs.ndim == 1 else list(coeffs):
        a = x @ adjoint(x)
        x = c[0] * x + (c[1] * a + c[2] * (a @ a)) @ x
    return adjoint(x) if tall else x
