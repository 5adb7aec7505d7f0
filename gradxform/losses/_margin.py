"""Losses that are 0 once the right class leads, or leads by a margin."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from gradxform._types import Array, ArrayLike
from gradxform.losses._arguments import at, broadcast, check_equal_shapes, of_classes, rounded_once
from gradxform.projections import projection_simplex
from gradxform.tree._leafwise import wide


@rounded_once("predictor_outputs", "targets")
def hinge_loss(predictor_outputs: ArrayLike, targets: ArrayLike) -> Array:
    """The hinge loss for targets -1 and 1, element by element.

        l = max(0, 1 - predictor_outputs targets)

    Args:
      predictor_outputs: what the model says, an array of floats.
      targets: -1 or 1 for each output.

    >>> gx.losses.hinge_loss(jnp.array([0.5, 2.0]), jnp.array([1, 1]))
    Array([0.5, 0. ], dtype=float32)

    Source   Cortes & Vapnik 1995, 'Support-vector networks'.
    Differs  shapes that together make a third one, such as (n,) and (n, 1), raise.
    Raises   StructureError: the shapes do not fit.
    """
    outputs, targets = broadcast("hinge_loss", predictor_outputs=predictor_outputs, targets=targets)
    return jnp.maximum(0, 1 - outputs * targets)


@rounded_once("predictor_outputs", "targets")
def perceptron_loss(predictor_outputs: ArrayLike, targets: ArrayLike) -> Array:
    """The perceptron's loss for targets -1 and 1, element by element.

        l = max(0, -predictor_outputs targets)

    Args:
      predictor_outputs: what the model says, an array of floats.
      targets: -1 or 1 for each output.

    >>> gx.losses.perceptron_loss(jnp.array([0.5, -2.0]), jnp.array([1, 1]))
    Array([0., 2.], dtype=float32)

    Source   Rosenblatt 1958, 'The perceptron'.
    Differs  no.
    Raises   StructureError: the shapes differ.
    """
    outputs, targets = check_equal_shapes("perceptron_loss", predictor_outputs=predictor_outputs, targets=targets)
    return jnp.maximum(0, -outputs * targets)


@rounded_once("logits")
def sparsemax_loss(logits: ArrayLike, labels: ArrayLike) -> Array:
    """The sparsemax loss for labels 0 and 1, element by element.

        x = -logits if labels, else logits
        l = 0 if x <= -1, (x + 1)^2 / 4 if x < 1, else x

    Args:
      logits: scores before the sigmoid, floats.
      labels: 0 or 1, or for the first a probability between them.

    >>> gx.losses.sparsemax_loss(jnp.array([2.0]), jnp.array([1.0]))
    Array([0.], dtype=float32)

    Source   Blondel et al. 2020, 'Learning with Fenchel-Young losses', section 4.4.
    Differs  a label that is neither 0 nor 1 gives NaN, value and gradient; Optax takes it for 1. Shapes that together make a third
             one, such as (n,) and (n, 1), raise.
    Raises   StructureError: the shapes do not fit.
    """
    logits, labels = broadcast("sparsemax_loss", logits=logits, labels=labels)
    one = jnp.where((labels == 0) | (labels == 1), jnp.ones((), logits.dtype), jnp.nan)
    return one * jax.nn.sparse_plus(jnp.where(labels, -logits, logits))


def multiclass_hinge_loss(scores: ArrayLike, labels: ArrayLike) -> Array:
    """The hinge loss of several classes.

        l = max_j (scores_j + [j != labels]) - scores_labels

    Args:
      scores: scores of the classes along the last axis.
      labels: the number of the right class, a whole number of at least 0.

    >>> gx.losses.multiclass_hinge_loss(jnp.array([2.0, 0.5]), jnp.array(0))
    Array(0., dtype=float32)

    Source   Crammer & Singer 2001, 'On the algorithmic implementation of multiclass kernel-based vector machines'.
    Differs  a label that is no class, below 0 or beyond the last, gives NaN, value and gradient; scores may be -inf. As Optax's, the
             result of narrow dtypes is float32.
    Raises   StructureError: labels are not integers, or the shapes do not fit.
    """
    scores, labels = of_classes("multiclass_hinge_loss", wide(scores), labels)
    return jnp.max(scores + 1 - jax.nn.one_hot(labels, scores.shape[-1], dtype=scores.dtype), -1) - at(labels, scores)


def multiclass_perceptron_loss(scores: ArrayLike, labels: ArrayLike) -> Array:
    """The perceptron's loss of several classes.

        l = max_j scores_j - scores_labels

    Args:
      scores: scores of the classes along the last axis.
      labels: the number of the right class, a whole number of at least 0.

    >>> gx.losses.multiclass_perceptron_loss(jnp.array([2.0, 0.5]), jnp.array(1))
    Array(1.5, dtype=float32)

    Source   Collins 2002, 'Discriminative training methods for hidden Markov models'.
    Differs  a label that is no class, below 0 or beyond the last, gives NaN, value and gradient; scores may be -inf. As Optax's, the
             result of narrow dtypes is float32.
    Raises   StructureError: labels are not integers, or the shapes do not fit.
    """
    scores, labels = of_classes("multiclass_perceptron_loss", wide(scores), labels)
    return jnp.max(scores, -1) - at(labels, scores)


def multiclass_sparsemax_loss(scores: ArrayLike, labels: ArrayLike) -> Array:
    """The sparsemax loss of several classes.

        x = scores - scores_labels
        p = the projection of x on the simplex
        l = sum_j p_j x_j - sum_j p_j^2 / 2 + 1 / 2             its gradient is p - onehot(labels)

    Args:
      scores: scores of the classes along the last axis.
      labels: the number of the right class, a whole number of at least 0.

    >>> gx.losses.multiclass_sparsemax_loss(jnp.array([2.0, 0.5]), jnp.array(0))
    Array(0., dtype=float32)

    Source   Martins & Astudillo 2016, arXiv:1602.02068, eq. 20.
    Differs  scores may have any number of leading axes, or none. A label that is no class, below 0 or beyond the last, gives NaN,
             value and gradient. As Optax's, the result of narrow dtypes is float32.
    Raises   StructureError: labels are not integers, or the shapes do not fit.
    """
    scores, labels = of_classes("multiclass_sparsemax_loss", wide(scores), labels)
    return _gini_conjugate(scores - at(labels, scores)[..., None]) + 0.5


_simplex = jnp.vectorize(projection_simplex, signature="(n)->(n)")


@jax.custom_jvp
def _gini_conjugate(x: Array) -> Array:
    """max_p (p.x - p.p / 2) over the simplex. By Danskin its gradient is the maximizer p."""
    p = _simplex(x)
    return jnp.sum(p * jnp.where(p > 0, x, 0), -1) - 0.5 * jnp.sum(p * p, -1)


@_gini_conjugate.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return _gini_conjugate(*primals), jnp.sum(_simplex(*primals) * tangents[0], -1)
