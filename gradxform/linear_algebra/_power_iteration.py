"""The dominant eigenvalue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import PrecisionLike

from gradxform import tree
from gradxform._errors import MissingArgumentError, StructureError
from gradxform._numerics import round_to, widen
from gradxform._types import Array, ArrayLike, Tree


def power_iteration(
    matrix: ArrayLike | Callable[[Any], Tree],
    *,
    v0: Tree = None,
    num_iters: int | np.integer | Array = 100,
    error_tolerance: ArrayLike = 1e-6,
    precision: PrecisionLike = jax.lax.Precision.HIGHEST,
    key: Array | None = None,
) -> tuple[Array, Tree]:
    """The eigenvalue of largest size, and its eigenvector of norm 1.

        v = z / |z|
        z = matrix v                    until |z - l v| <= error_tolerance |l|, num_iters times at most
        l = <v, z>

    Args
        matrix  diagonalizable: an array (n, n), or a function that multiplies it with a vector, which may be a tree.
        v0      the first v; without it, uniform in [-1, 1] drawn with `key`, or a fixed key. A function needs it.

    Source   von Mises & Pollaczek-Geiringer 1929.
    Differs  a matrix of zeros gives (0, v), not NaN; narrow dtypes are computed in float32.
    Raises   MissingArgumentError: a function without v0. StructureError: not a square matrix.
    """
    if callable(matrix):
        if v0 is None:
            raise MissingArgumentError("power_iteration: `v0` is needed when `matrix` is a function; pass a first vector or tree.")
        multiply = matrix
    else:
        a = _square(matrix)
        multiply = lambda v: jnp.matmul(a, v, precision=precision)
        v0 = _uniform(key, a) if v0 is None else v0
    v = _unit(v0, v0)

    def unfinished(carry: tuple[Array | int, Tree, Tree]) -> Array:
        k, v, z = carry
        eigenvalue = tree.vdot(v, z)
        residual = tree.add_scale(z, -eigenvalue, v)
        return (tree.norm(residual) > error_tolerance * jnp.abs(eigenvalue)) & (k < num_iters)

    def step(carry: tuple[Array | int, Tree, Tree]) -> tuple[Array | int, Tree, Tree]:
        k, v, z = carry
        v = _unit(z, v)
        return k + 1, v, multiply(v)

    _, v, z = jax.lax.while_loop(unfinished, step, (0, v, multiply(v)))
    vector = _unit(z, v)
    return jnp.asarray(tree.vdot(v, z)), vector if callable(matrix) else round_to(vector, jnp.result_type(matrix))


def _unit(z: Tree, v: Tree) -> Tree:
    """z / |z| in the dtypes of v; v if z is 0."""
    size = tree.norm(z)
    whole = jnp.where(size > 0, size, 1)
    at = lambda z, v: tree.where(size > 0, tree.div(z, whole), v)
    return jax.tree.map(lambda z, v: round_to(at(z, v), jnp.result_type(v)), z, v)


def _square(matrix: ArrayLike) -> Array:
    a = jnp.asarray(matrix)
    if a.ndim != 2 or a.shape[0] != a.shape[1]:
        raise StructureError(f"power_iteration: `matrix` must be square, but has shape {a.shape}.")
    return a.astype(widen(a.dtype))


def _uniform(key: Array | None, a: Array) -> Array:
    key = jax.random.PRNGKey(0) if key is None else key
    return jax.random.uniform(key, a.shape[-1:], jnp.finfo(a.dtype).dtype, minval=-1.0, maxval=1.0).astype(a.dtype)
