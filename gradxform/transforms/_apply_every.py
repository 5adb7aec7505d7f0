"""Summing updates, and handing out the sum every k-th time."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import jax.numpy as jnp

from gradxform._numerics import increment
from gradxform._types import Array, Count, Field, Shared, Updates
from gradxform.core import wrapper
from gradxform.registry import transform


class ApplyEvery(NamedTuple):
    """Updates since the last sum was handed out, and the sum; that of the last round until the next one begins."""

    count: Annotated[Shared, Field(first=lambda: jnp.zeros([], jnp.int32), at=lambda step, k: step % k)]
    grad_acc: Updates


def _left(total: Array, first: Array) -> Array:
    return jnp.where(first, 0, total)


def _sum(g: Array, total: Array) -> Array:
    return total + g


def _out(g: Array, total: Array, last: Array) -> Array:
    return jnp.where(last, total, 0)


@transform(source="Optax", example={"k": 2}, identities=[("apply_every(1)", "identity()")])
@wrapper(ApplyEvery, scope="elementwise")
def apply_every(g, s, p, c, k: Count = 1):
    """Sum k updates, hand out the sum, and begin again; zero in between.

        grad_acc = grad_acc + g                 g at the first of k updates
        u        = grad_acc                     at the last of k updates, else 0

    After an optimizer it makes larger steps; to make one update of several gradients use `accumulate`.

    Args:
      k: the number of updates that are summed.

    >>> tx = gx.chain(gx.adam(1e-3), gx.apply_every(4))

    State    ApplyEvery(count, grad_acc), count < k; grad_acc: like p, float32 or wider. Memory: 1 x params.
    Units    those of g.
    Shapes   any, scalars and complex included.
    Source   Optax.
    Differs  a NaN of one round does not reach the next. The sum of narrow updates is float32.
    Raises   HyperparameterError: k is not a whole number >= 1.
    """
    n = s.count % k
    left = c.map(_left, s.grad_acc, first=n == 0)
    (total,) = c.map(_sum, g, left, like=(left,))
    return c.map(_out, g, total, last=n == k - 1), s._replace(count=increment(s.count) % k, grad_acc=total)
