"""The angle between vectors."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform._errors import StructureError
from gradxform._numerics import power_of_two, size_along
from gradxform._types import Array, ArrayLike
from gradxform.losses._arguments import Axis, check_dtype, mask, rounded_once
from gradxform.tree._leafwise import alike


@rounded_once("predictions", "targets")
def cosine_similarity(
    predictions: ArrayLike, targets: ArrayLike, *, epsilon: ArrayLike = 0.0, axis: Axis = -1, where: ArrayLike | None = None
) -> Array:
    """The cosine of the angle between two vectors.

        a, b = predictions, targets             broadcast against each other, so that all pairs can be compared
        l    = sum_i (a_i / |a|) (b_i / |b|)    |a|^2 = max(sum_i a_i^2, epsilon)

    Args:
      predictions: what the model says, an array of floats.
      targets: what is right, broadcast against the predictions.
      epsilon: the least square of a norm.
      axis: the axis of the vectors.
      where: the elements that count; None: all.

    >>> gx.losses.cosine_similarity(jnp.array([1.0, 0.0]), jnp.array([3.0, 0.0]))
    Array(1., dtype=float32)

    Source   the inner product.
    Differs  a vector of zeros has similarity 0 and gradient 0 with everything, not NaN. Squares neither
             overflow nor vanish. Elements outside `where` may be NaN.
    Raises   StructureError: a dtype is not floating-point, or the shapes do not broadcast.
    """
    return _cosine("cosine_similarity", predictions, targets, epsilon, axis, where)


@rounded_once("predictions", "targets")
def cosine_distance(
    predictions: ArrayLike, targets: ArrayLike, *, epsilon: ArrayLike = 0.0, axis: Axis = -1, where: ArrayLike | None = None
) -> Array:
    """One minus the cosine of the angle between two vectors.

        l = 1 - cosine_similarity(predictions, targets)

    Args:
      predictions: what the model says, an array of floats.
      targets: what is right, broadcast against the predictions.
      epsilon: the least square of a norm.
      axis: the axis of the vectors.
      where: the elements that count; None: all.

    >>> gx.losses.cosine_distance(jnp.array([1.0, 0.0]), jnp.array([0.0, 2.0]))
    Array(1., dtype=float32)

    Source   the inner product.
    Differs  as `cosine_similarity`: a vector of zeros has distance 1.
    Raises   StructureError: a dtype is not floating-point, or the shapes do not broadcast.
    """
    return 1.0 - _cosine("cosine_distance", predictions, targets, epsilon, axis, where)


def unit(x: Array, epsilon: ArrayLike, axis: Axis) -> Array:
    """x / |x|; 0 for x = 0."""
    unit = power_of_two(jnp.max(jnp.abs(x), axis, keepdims=True, initial=0))
    x = x / unit
    size = jnp.maximum(size_along(x, axis), jnp.sqrt(jnp.asarray(epsilon, x.dtype)) / unit)
    return jnp.where(size > 0, x / jnp.where(size > 0, size, 1), 0)


def _cosine(loss: str, a: ArrayLike, b: ArrayLike, epsilon: ArrayLike, axis: Axis, where: ArrayLike | None) -> Array:
    check_dtype(loss, jnp.floating, predictions=a, targets=b)
    try:
        shape = jnp.broadcast_shapes(jnp.shape(a), jnp.shape(b))
    except ValueError:
        raise StructureError(
            f"{loss}: `predictions` has shape {jnp.shape(a)} and `targets` has shape {jnp.shape(b)}, which do not broadcast. Reshape them."
        ) from None
    a, b = (jnp.broadcast_to(x, shape) for x in alike(a, b))
    if where is not None:
        where = mask(loss, where, a)
        a, b = jnp.where(where, a, 0), jnp.where(where, b, 0)
    return jnp.sum(unit(a, epsilon, axis) * unit(b, epsilon, axis), axis=axis)
