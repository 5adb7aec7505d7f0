"""Losses of the order of a list."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp

from gradxform._types import Array, ArrayLike
from gradxform.losses._arguments import broadcast, check_dtype, mask, rounded_once
from gradxform.losses._softmax import cross_entropy


@rounded_once("logits")
def ranking_softmax_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    reduce_fn: Callable[..., Array] | None = jnp.mean,
) -> Array:
    """The cross-entropy of a softmax over the items of a list, labels being their relevance.

        l = -sum_i weights_i labels_i log softmax(logits)_i     over the items in `where`

    The list is the last axis. `reduce_fn(losses, where=...)` goes over the lists that have items, and where is None if it was not
    given; with None instead of a function all losses are returned, 0 for a list without items.

    Args:
      logits: scores of the items, the last axis being the list.
      labels: the relevance of each item.
      where: the items that count; None: all.
      weights: a factor for each item; None: 1.
      reduce_fn: what makes one number of the lists' losses; None: they are returned.

    >>> gx.losses.ranking_softmax_loss(jnp.array([0.0, 0.0]), jnp.array([1.0, 0.0]))
    Array(0.6931472, dtype=float32)

    Source   Cao et al. 2007, 'Learning to rank: from pairwise approach to listwise approach'.
    Differs  items outside `where` may be NaN. The mean of no lists is 0.
    Raises   StructureError: logits are not floating-point, or the shapes do not fit.
    """
    check_dtype("ranking_softmax_loss", jnp.floating, logits=logits)
    logits = jnp.asarray(logits)
    labels = jnp.asarray(labels).astype(logits.dtype)
    if weights is not None:
        logits, labels, weights = broadcast("ranking_softmax_loss", logits=logits, labels=labels, weights=weights)
        labels = labels * weights
    where = None if where is None else mask("ranking_softmax_loss", where, logits)
    loss = cross_entropy("ranking_softmax_loss", logits, labels, -1, where)
    return _reduce(reduce_fn, loss, None if where is None else jnp.any(where, -1))


def _reduce(reduce_fn: Callable[..., Array] | None, x: Array, where: Array | None) -> Array:
    """reduce_fn(x); the mean of nothing is 0."""
    if reduce_fn is None:
        return x
    if reduce_fn is jnp.mean:
        return jnp.sum(x, where=where) / (max(x.size, 1) if where is None else jnp.maximum(jnp.sum(where, dtype=x.dtype), 1))
    return reduce_fn(x, where=where)
