"""Cross-entropies of yes or no."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from gradxform._types import Array, ArrayLike
from gradxform.losses._arguments import broadcast, check_dtype, rounded_once, weigh


@rounded_once("logits")
def sigmoid_binary_cross_entropy(logits: ArrayLike, labels: ArrayLike) -> Array:
    """The cross-entropy of a sigmoid, element by element.

        p = sigmoid(logits)
        l = -labels log p - (1 - labels) log(1 - p)             0 log 0 = 0

    Args:
      logits: scores before the sigmoid, floats.
      labels: 0 or 1, or for the first a probability between them.

    >>> gx.losses.sigmoid_binary_cross_entropy(jnp.array([0.0]), jnp.array([1.0]))
    Array([0.6931472], dtype=float32)

    Source   Goodfellow et al. 2016, 'Deep Learning', section 6.2.2.2.
    Differs  a logit of +-inf with the right label gives 0, not NaN. Shapes that together make a third one, such as (n,) and (n, 1),
             raise.
    Raises   StructureError: logits are not floating-point, or the shapes do not fit.
    """
    return _cross_entropy(*_floats("sigmoid_binary_cross_entropy", logits, labels))


@rounded_once("logits")
def sigmoid_focal_loss(logits: ArrayLike, labels: ArrayLike, *, alpha: ArrayLike | None = None, gamma: ArrayLike = 2.0) -> Array:
    """The cross-entropy of a sigmoid, with less weight on what is predicted well already.

        p   = sigmoid(logits)
        p_t = labels p + (1 - labels) (1 - p)
        l   = (1 - p_t)^gamma sigmoid_binary_cross_entropy(logits, labels)
        l   = (labels alpha + (1 - labels) (1 - alpha)) l       unless alpha is None

    1 - p_t is computed as a logarithm, so that all derivatives are finite at large logits, and right at labels of 0 and 1.

    Args:
      logits: scores before the sigmoid, floats.
      labels: 0 or 1, or for the first a probability between them.
      alpha: the weight of labels of 1; those of 0 have 1 - alpha. None: all weigh the same.
      gamma: how little counts what is predicted well; 0: all counts alike.

    >>> loss = gx.losses.sigmoid_focal_loss(jnp.array([2.0]), jnp.array([1.0]), alpha=0.25)

    Source   Lin et al. 2017, arXiv:1708.02002, eq. 5.
    Differs  as `sigmoid_binary_cross_entropy`.
    Raises   StructureError: logits are not floating-point, or the shapes do not fit.
    """
    logits, labels = _floats("sigmoid_focal_loss", logits, labels)
    log_p, log_q = jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)
    log_rest = _log_mean(labels, log_q, log_p)
    loss = jnp.exp(weigh(gamma, log_rest)) * _cross_entropy(logits, labels)
    return loss if alpha is None else (labels * alpha + (1.0 - labels) * (1.0 - alpha)) * loss


def _log_mean(weight: Array, log_x: Array, log_y: Array) -> Array:
    """log(weight x + (1 - weight) y), with its derivative in the weight where that is 0 or 1, and one of the terms has no part."""
    largest = jnp.maximum(jnp.where(weight == 0, -jnp.inf, log_x), jnp.where(weight == 1, -jnp.inf, log_y))
    largest = jax.lax.stop_gradient(jnp.where(jnp.isfinite(largest), largest, 0))
    most = math.log(jnp.finfo(largest.dtype).max) * 0.9  # what has no part may be larger than any number
    x, y = (jnp.exp(jnp.minimum(log - largest, most)) for log in (log_x, log_y))
    return largest + jnp.log(weight * x + (1 - weight) * y)


def _floats(loss: str, logits: ArrayLike, labels: ArrayLike) -> list[Array]:
    check_dtype(loss, jnp.floating, logits=logits)
    return broadcast(loss, logits=logits, labels=jnp.asarray(labels).astype(jnp.asarray(logits).dtype))


def _cross_entropy(logits: Array, labels: Array) -> Array:
    return -weigh(labels, jax.nn.log_sigmoid(logits)) - weigh(1.0 - labels, jax.nn.log_sigmoid(-logits))
