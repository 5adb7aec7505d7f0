"""Cross-entropies of one class out of many."""

from __future__ import annotations

import math
import operator

import jax
import jax.numpy as jnp

from gradxform._errors import HyperparameterError
from gradxform._types import Array, ArrayLike
from gradxform.losses._arguments import Axis, at, broadcast, check_dtype, mask, of_classes, rounded_once, weigh


@rounded_once("logits", "labels")
def softmax_cross_entropy(logits: ArrayLike, labels: ArrayLike, axis: Axis = -1, where: ArrayLike | None = None) -> Array:
    """The cross-entropy of a softmax, for labels that are distributions or one-hot.

        l = -sum_i labels_i log softmax(logits)_i               0 log 0 = 0

    Args:
      logits: scores before the softmax, floats.
      labels: one-hot, or a distribution over the classes.
      axis: the axis or axes of the classes.
      where: the elements that count, of the shape of logits or without `axis`; None: all.

    >>> gx.losses.softmax_cross_entropy(jnp.array([0.0, 0.0]), jnp.array([1.0, 0.0]))
    Array(0.6931472, dtype=float32)

    where    the elements that count: of the shape of logits, or without the axes `axis`.
    Source   maximum likelihood.
    Differs  a class with logit -inf and label 0 adds 0, not NaN, as in `safe_softmax_cross_entropy`. Elements outside `where` may be
             NaN. Shapes that together make a third one, such as (n, k) and (n, 1, k), raise.
    Raises   StructureError: logits are not floating-point, or the shapes do not fit.
    """
    return cross_entropy("softmax_cross_entropy", logits, labels, axis, where)


@rounded_once("logits", "labels")
def safe_softmax_cross_entropy(logits: ArrayLike, labels: ArrayLike) -> Array:
    """The cross-entropy of a softmax over the last axis, where 0 log 0 = 0.

        l = -sum_i labels_i log softmax(logits)_i

    Args:
      logits: scores before the softmax, floats.
      labels: one-hot, or a distribution over the classes.

    >>> gx.losses.safe_softmax_cross_entropy(jnp.array([0.0, 0.0, -jnp.inf]), jnp.array([1.0, 0.0, 0.0]))
    Array(0.6931472, dtype=float32)

    Source   maximum likelihood.
    Differs  derivatives are finite in forward mode as well at logits of -inf. `softmax_cross_entropy` is as safe here.
    Raises   StructureError: logits are not floating-point, or the shapes do not fit.
    """
    return cross_entropy("safe_softmax_cross_entropy", logits, labels, -1, None)


@rounded_once("logits")
def softmax_cross_entropy_with_integer_labels(
    logits: ArrayLike, labels: ArrayLike, axis: int | tuple[int, ...] = -1, where: ArrayLike | None = None
) -> Array:
    """The cross-entropy of a softmax, for labels that are class numbers.

        l = log(sum_i exp(logits_i)) - logits_labels

    Args:
      logits: scores before the softmax, floats.
      labels: the number of the right class, a whole number of at least 0.
      axis: the axis of the classes; with several, a label is an index into them flattened in this order.
      where: the elements that count, of the shape of logits or without `axis`; None: all.

    >>> gx.losses.softmax_cross_entropy_with_integer_labels(jnp.zeros((2, 4)), jnp.array([0, 3]))
    Array([1.3862944, 1.3862944], dtype=float32)

    axis     with several axes, a label is an index into them flattened in this order.
    where    the elements that count: of the shape of logits, or without the axes `axis`. The loss is 0 where the label's does not.
    Source   maximum likelihood.
    Differs  the same as `softmax_cross_entropy` of one-hot labels, its gradient included, for every `where`. Optax has NaN gradients
             where nothing counts, and subtracts the logit of a label that does not count. A label that is no class, below 0 or
             beyond the last, gives NaN, value and gradient, where Optax takes -1 for the last class; where `where` excludes all
             classes, it gives 0.
    Raises   StructureError: a dtype or a shape does not fit. HyperparameterError: axis is not an int or a tuple.
    """
    name = "softmax_cross_entropy_with_integer_labels"
    check_dtype(name, jnp.floating, logits=logits)
    axes = _axes(name, axis, logits)
    last = tuple(range(-len(axes), 0))
    classes = math.prod(jnp.shape(logits)[i] for i in axes)
    flatten = lambda x: jnp.moveaxis(x, axes, last).reshape(*(n for i, n in enumerate(x.shape) if i not in axes), classes)
    x = flatten(logits)
    if where is None:
        x, labels = of_classes(name, x, labels)
        return jax.nn.logsumexp(x, -1) - at(labels, x)
    where = flatten(_mask(name, where, logits, axes))
    x, labels = of_classes(name, x, labels, where)
    where = jnp.broadcast_to(where, x.shape)
    loss = jax.nn.logsumexp(_finite(x, where, -1), -1) - at(labels, jnp.where(where, x, 0))
    return jnp.where(at(labels, where) | jnp.isnan(loss), loss, 0)


@rounded_once("logits", "labels")
def poly_loss_cross_entropy(
    logits: ArrayLike, labels: ArrayLike, *, epsilon: ArrayLike = 2.0, axis: Axis = -1, where: ArrayLike | None = None
) -> Array:
    """The cross-entropy of a softmax with its first polynomial term reweighted.

        p = softmax(logits)
        l = -sum_i labels_i log p_i + epsilon sum_i labels_i (1 - p_i)

    Args:
      logits: scores before the softmax, floats.
      labels: one-hot, or a distribution over the classes.
      epsilon: the weight of the first polynomial term.
      axis: the axis or axes of the classes.
      where: the elements that count, of the shape of logits or without `axis`; None: all.

    >>> gx.losses.poly_loss_cross_entropy(jnp.array([0.0, 0.0]), jnp.array([1.0, 0.0]))
    Array(1.6931472, dtype=float32)

    Source   Leng et al. 2022, arXiv:2204.12511, Poly-1.
    Differs  as `softmax_cross_entropy`.
    Raises   StructureError: a dtype is not floating-point, or the shapes do not fit.
    """
    check_dtype("poly_loss_cross_entropy", jnp.floating, logits=logits, labels=labels)
    labels, log_p = _log_softmax("poly_loss_cross_entropy", logits, labels, axis, where)
    return -jnp.sum(weigh(labels, log_p) + epsilon * labels * jnp.expm1(log_p), axis=axis)


def cross_entropy(loss: str, logits: ArrayLike, labels: ArrayLike, axis: Axis, where: ArrayLike | None) -> Array:
    """-sum labels log softmax(logits), over the elements of `where`."""
    check_dtype(loss, jnp.floating, logits=logits)
    return -jnp.sum(weigh(*_log_softmax(loss, logits, labels, axis, where)), axis=axis)


def _log_softmax(loss: str, logits: ArrayLike, labels: ArrayLike, axis: Axis, where: ArrayLike | None) -> tuple[Array, Array]:
    """The labels and log softmax(logits). Labels are 0 outside `where`, and log p is finite if nothing is inside."""
    logits, labels = broadcast(loss, logits=logits, labels=labels)
    if where is not None:
        where = _mask(loss, where, logits, axis)
        logits, labels = _finite(logits, where, axis), jnp.where(where, labels, 0)
    return labels, jax.nn.log_softmax(logits, axis)


def _mask(loss: str, where: ArrayLike, logits: ArrayLike, axis: Axis) -> Array:
    """`where` in the shape of logits; it may come without the axes that are summed over."""
    if axis is not None and jnp.ndim(where) != jnp.ndim(logits):
        where = jnp.expand_dims(jnp.asarray(where), axis)
    return mask(loss, where, logits)


def _finite(logits: ArrayLike, where: Array, axis: Axis) -> Array:
    """-inf outside `where`; 0 if nothing is inside."""
    return jnp.where(where, logits, jnp.where(jnp.any(where, axis, keepdims=True), -jnp.inf, 0.0))


def _axes(loss: str, axis: int | tuple[int, ...], logits: ArrayLike) -> tuple[int, ...]:
    """The axes, counted from the front."""
    if not isinstance(axis, tuple) and not hasattr(axis, "__index__"):
        raise HyperparameterError(f"{loss}: `axis` must be an int or a tuple of ints, but got {axis!r}.")
    axes = tuple(operator.index(i) for i in (axis if isinstance(axis, tuple) else (axis,)))
    ndim = jnp.ndim(logits)
    if not all(-ndim <= i < ndim for i in axes):
        raise HyperparameterError(f"{loss}: `axis` {axis!r} is out of bounds for logits of shape {jnp.shape(logits)}.")
    return tuple(i % ndim for i in axes)
