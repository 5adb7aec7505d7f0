"""Losses of real predictions, element by element."""

from __future__ import annotations

import math

import jax.numpy as jnp

from gradxform._types import Array, ArrayLike
from gradxform.losses._arguments import broadcast, check_dtype, check_equal_shapes, rounded_once


@rounded_once("predictions", "targets")
def squared_error(predictions: ArrayLike, targets: ArrayLike | None = None) -> Array:
    """The square of the error, element by element.

        e = predictions - targets
        l = e^2

    Args:
      predictions: what the model says, an array of floats.
      targets: what is right, of the predictions' shape; None: zeros.

    >>> gx.losses.squared_error(jnp.array([1.0, 3.0]), jnp.array([1.0, 1.0]))
    Array([0., 4.], dtype=float32)

    Source   least squares, Legendre 1805.
    Differs  no.
    Raises   StructureError: predictions are not floating-point, or the shapes differ.
    """
    return _error("squared_error", predictions, targets, strict=True) ** 2


@rounded_once("predictions", "targets")
def l2_loss(predictions: ArrayLike, targets: ArrayLike | None = None) -> Array:
    """Half the square of the error, element by element.

        e = predictions - targets
        l = e^2 / 2

    Args:
      predictions: what the model says, an array of floats.
      targets: what is right, of the predictions' shape; None: zeros.

    >>> gx.losses.l2_loss(jnp.array([1.0, 3.0]), jnp.array([1.0, 1.0]))
    Array([0., 2.], dtype=float32)

    Source   Bishop 2006, 'Pattern Recognition and Machine Learning', eq. 1.2.
    Differs  no.
    Raises   StructureError: predictions are not floating-point, or the shapes differ.
    """
    return 0.5 * _error("l2_loss", predictions, targets, strict=True) ** 2


@rounded_once("predictions", "targets")
def huber_loss(predictions: ArrayLike, targets: ArrayLike | None = None, *, delta: ArrayLike = 1.0) -> Array:
    """Quadratic for small errors, linear for large ones.

        e = predictions - targets
        q = min(|e|, delta)
        l = q^2 / 2 + delta (|e| - q)

    Args:
      predictions: what the model says, an array of floats.
      targets: what is right, of the predictions' shape; None: zeros.
      delta: the error from which on the loss is linear.

    >>> gx.losses.huber_loss(jnp.array([0.5, 3.0]))
    Array([0.125, 2.5  ], dtype=float32)

    Source   Huber 1964, 'Robust estimation of a location parameter'.
    Differs  shapes that together make a third one, such as (n,) and (n, 1), raise.
    Raises   StructureError: predictions are not floating-point, or the shapes do not fit.
    """
    e = jnp.abs(_error("huber_loss", predictions, targets))
    q = jnp.minimum(e, delta)
    return 0.5 * q**2 + delta * (e - q)


@rounded_once("predictions", "targets")
def log_cosh(predictions: ArrayLike, targets: ArrayLike | None = None) -> Array:
    """Nearly e^2 / 2 for small errors and |e| - log 2 for large ones, and smooth in between.

        e = predictions - targets
        l = log(cosh(e))

    Args:
      predictions: what the model says, an array of floats.
      targets: what is right, of the predictions' shape; None: zeros.

    >>> gx.losses.log_cosh(jnp.array([0.0]))
    Array([0.], dtype=float32)

    Source   Chen et al. 2019, 'Log hyperbolic cosine loss improves variational auto-encoder'.
    Differs  small errors keep their digits: Optax's difference of logarithms is 0 or negative for |e| < 3e-4. Shapes that together
             make a third one, such as (n,) and (n, 1), raise.
    Raises   StructureError: predictions are not floating-point, or the shapes do not fit.
    """
    e = _error("log_cosh", predictions, targets)
    small = jnp.abs(e) < 1
    near = jnp.log1p(2 * jnp.sinh(jnp.where(small, e, 0) / 2) ** 2)
    far = jnp.abs(e) + jnp.log1p(jnp.exp(-2 * jnp.abs(e))) - math.log(2)
    return jnp.where(small, near, far)


def _error(loss: str, predictions: ArrayLike, targets: ArrayLike | None, strict: bool = False) -> Array:
    check_dtype(loss, jnp.floating, predictions=predictions)
    if targets is None:
        return jnp.asarray(predictions)
    if strict:
        check_equal_shapes(loss, predictions=predictions, targets=targets)
    predictions, targets = broadcast(loss, predictions=predictions, targets=targets)
    return predictions - targets
