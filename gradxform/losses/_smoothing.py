"""Softer labels."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform._types import Array, ArrayLike
from gradxform.losses._arguments import Axis, check_dtype, mask, rounded_once


@rounded_once("labels")
def smooth_labels(labels: ArrayLike, alpha: ArrayLike, *, axis: Axis = -1, where: ArrayLike | None = None) -> Array:
    """Mix one-hot labels with the uniform distribution.

        y = (1 - alpha) labels + alpha / n      n = number of classes: the elements along `axis`, those in `where`

    Source   Szegedy et al. 2016, arXiv:1512.00567; Mueller et al. 2019, arXiv:1906.02629.
    Differs  finite where `where` excludes all classes.
    Raises   StructureError: labels are not floating-point, or `where` does not fit.
    """
    check_dtype("smooth_labels", jnp.floating, labels=labels)
    labels = jnp.asarray(labels)
    n = jnp.sum(mask("smooth_labels", where, labels), axis, keepdims=True, dtype=labels.dtype)
    return labels * (1.0 - alpha) + alpha / jnp.maximum(n, 1)
