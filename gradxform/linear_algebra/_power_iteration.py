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
from gradxform._numerics import by_parts, is_inexact, promote, round_to
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

    Args:
      matrix: diagonalizable: an array (n, n), or a function that multiplies it with a vector, which may be a tree.
      v0: the first v, which a function needs; without it, uniform in [-1, 1], drawn with `key`.
      num_iters: the most iterations.
      error_tolerance: the error, relative to the eigenvalue, at which the iteration ends.
      precision: of the products, as in `jax.lax.dot`.
      key: the random key of the first vector; None: a fixed one.

    >>> value, vector = gx.linear_algebra.power_iteration(jnp.diag(jnp.array([2.0, 1.0])))
    >>> round(float(value), 3)
    2.0

    Source   von Mises & Pollaczek-Geiringer 1929.
    Differs  a matrix of zeros gives (0, v), not NaN; narrow dtypes and whole numbers are computed in float32; norms whose squares
             overflow or vanish are exact; v0 may be real, or of whole numbers, whatever the matrix is. From v0 = 0 no direction is
             found: the result is NaN.
    Raises   MissingArgumentError: a function without v0. StructureError: not a square matrix.
    """
    if callable(matrix):
        if v0 is None:
            raise MissingArgumentError("power_iteration: `v0` is needed when `matrix` is a function; pass a first vector or tree.")
        multiply = matrix
        first = jax.tree.map(_as_float, v0)
        first = jax.tree.map(_as_complex_as, first, jax.eval_shape(multiply, first))
    else:
        a = _square(matrix)
        first = _uniform(key, a) if v0 is None else jnp.asarray(v0, promote(jnp.result_type(v0), a.dtype))
        multiply = lambda v: jnp.matmul(a.astype(v.dtype), v, precision=precision)
    size = tree.norm(first)
    v = jax.tree.map(lambda x: _over(x, size, x.dtype), first)

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
    if not callable(matrix):
        vector = _as_matrix(vector, jnp.result_type(matrix))
    return jnp.asarray(tree.vdot(v, z)), vector


def _as_matrix(vector: Array, dtype: np.dtype) -> Array:
    """The vector in the dtype of the matrix, if that can hold it."""
    holds = is_inexact(dtype) and (jnp.issubdtype(dtype, jnp.complexfloating) or not jnp.iscomplexobj(vector))
    return round_to(vector, dtype) if holds else vector


def _unit(z: Tree, v: Tree) -> Tree:
    """z / |z| in the dtypes of v; v if z is 0."""
    size = tree.norm(z)
    whole = jnp.where(size == 0, 1, size)
    return jax.tree.map(lambda z, v: jnp.where(size == 0, v, _over(z, whole, v.dtype)), z, v)


def _over(z: Array, size: Array, dtype: np.dtype) -> Array:
    """z / size, rounded once."""
    wide = jnp.asarray(z, promote(jnp.result_type(z), size.dtype))
    return round_to(by_parts(lambda part: part / size.astype(part.dtype), wide), dtype)


def _as_float(x: ArrayLike) -> Array:
    dtype = jnp.result_type(x)
    return jnp.asarray(x, dtype if is_inexact(dtype) else jnp.float32)


def _as_complex_as(x: Array, product: jax.ShapeDtypeStruct) -> Array:
    """x as a complex number if its product with the matrix is one."""
    return x.astype(promote(x.dtype, jnp.complex64)) if jnp.issubdtype(product.dtype, jnp.complexfloating) else x


def _square(matrix: ArrayLike) -> Array:
    a = jnp.asarray(matrix)
    if a.ndim != 2 or a.shape[0] != a.shape[1]:
        raise StructureError(f"power_iteration: `matrix` must be square, but has shape {a.shape}.")
    return a.astype(promote(a.dtype, jnp.float32))


def _uniform(key: Array | None, a: Array) -> Array:
    key = jax.random.PRNGKey(0) if key is None else key
    return jax.random.uniform(key, a.shape[-1:], jnp.finfo(a.dtype).dtype, minval=-1.0, maxval=1.0).astype(a.dtype)
