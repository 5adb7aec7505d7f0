"""Softer labels."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform._types import Array, ArrayLike
from gradxform.losses._arguments import Axis, check_dtype, mask, rounded_once


@rounded_once("labels")
def smooth_labels(labels: ArrayLike, alpha: ArrayLike, *, axis: Axis = -1, where: ArrayLike | None = None) -> Array:
    """Mix one-hot labels with the uniform distribution.

        y = (1 - alpha) labels + alpha / n      n = number of classes: the elements along `axis`, those in `where`; 0 outside of it

    Args:
      labels: one-hot, or distributions.
      alpha: the share of the uniform distribution.
      axis: the axis or axes of the classes.
      where: the elements that count; None: all.

    >>> gx.losses.smooth_labels(jnp.array([1.0, 0.0]), 0.1)
    Array([0.95, 0.05], dtype=float32)

    Source   Szegedy et al. 2016, arXiv:1512.00567; Mueller et al. 2019, arXiv:1906.02629.
    Differs  a class that `where` excludes gets 0, whatever its label is; Optax gives it alpha / n of what the others share. Finite
             where `where` excludes all classes.
    Raises   StructureError: labels are not floating-point, or `where` does not fit.
    """
    check_dtype("smooth_labels", jnp.floating, labels=labels)
    labels, counts = jnp.asarray(labels), mask("smooth_labels", where, labels)
    n = jnp.sum(counts, axis, keepdims=True, dtype=labels.dtype)
    return jnp.where(counts, labels * (1.0 - alpha) + alpha / jnp.maximum(n, 1), 0)
