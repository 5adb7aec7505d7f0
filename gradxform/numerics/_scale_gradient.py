"""Scaling what flows backwards."""

from __future__ import annotations

import jax

from gradxform._types import Array, ArrayLike, Model
from gradxform.tree._leafwise import once


def scale_gradient(inputs: Model, scale: ArrayLike) -> Model:
    """The inputs, a tree, with their derivatives multiplied by `scale`.

        d out = scale d inputs                  higher derivatives are those of a function whose derivative is this one

    Args:
      inputs: a tree of arrays.
      scale: the factor of the derivatives, a number.

    >>> float(jax.grad(lambda x: gx.scale_gradient(x, -1.0) * 3)(2.0))
    -3.0

    Source   Ganin & Lempitsky 2015, arXiv:1409.7495, for scale < 0.
    Differs  works in forward mode too, and the scale may be traced.
    """
    if isinstance(scale, int | float) and scale == 1:
        return inputs
    if isinstance(scale, int | float) and scale == 0:
        return jax.lax.stop_gradient(inputs)
    return jax.tree.map(lambda x: _scaled(x, scale), inputs)


@jax.custom_jvp
def _scaled(x: Array, scale: ArrayLike) -> Array:
    del scale
    return x


@_scaled.defjvp
def _(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (x, scale), (x_dot, _) = primals, tangents
    out = _scaled(x, scale)  # itself, so that higher derivatives are scaled too
    return out, x_dot if x_dot.dtype == jax.dtypes.float0 else once(lambda a, x: a * x, scale, x_dot).astype(x_dot.dtype)
