"""A rate that falls when a metric no longer improves."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp

from gradxform._types import Array, Extra, Field, NonNegative, Range, Shared, Value, Whole
from gradxform.core import wrapper

Factor = Annotated[Value, Range("[0, 1)")]
Mode = Literal["min", "max"]
ThresholdMode = Literal["rel", "abs"]


def _number(x: float | Array) -> Array:
    return jnp.asarray(x, jnp.result_type(float))


class PlateauState(NamedTuple):
    """The part of the first rate that is left, the best metric, how many in a row were no better, and how many are not to be counted."""

    scale: Annotated[Shared, Field(first=lambda: _number(1.0))]
    best: Annotated[Shared, Field(first=lambda mode: _number(jnp.inf if mode == "min" else -jnp.inf))]
    num_bad_epochs: Annotated[Shared, Field(first=lambda: jnp.zeros([], jnp.int32))]
    cooldown_counter: Annotated[Shared, Field(first=lambda: jnp.zeros([], jnp.int32), constant=True)]


def _improves(value: Array, best: Array, mode: Mode, threshold: float | Array, threshold_mode: ThresholdMode) -> Array:
    sign = -1 if mode == "min" else 1
    bound = best * (1 + sign * threshold) if threshold_mode == "rel" else best + sign * threshold
    return value < bound if mode == "min" else value > bound


def _scaled(g: Array, scale: Array) -> Array:
    return scale * g


@wrapper(PlateauState, scope="elementwise", needs=(Extra("value", optional=True),))
def ReduceLROnPlateau(
    g, s, p, c,
    lr: NonNegative, mode: Mode = "min", factor: Factor = 0.1, patience: Whole = 10, threshold: NonNegative = 1e-4,
    threshold_mode: ThresholdMode = "rel", cooldown: Whole = 0, min_lr: NonNegative = 0.0, eps: NonNegative = 1e-8,
):  # fmt: skip
    """Multiply the rate by a factor when a metric has stopped improving: a transformation, to stand after the optimizer in a chain.

        tx = gx.chain(torch.sgd(0.1, momentum=0.9), ReduceLROnPlateau(0.1, patience=5))
        updates, state = tx.update(grads, state, params)                        most updates
        updates, state = tx.update(grads, state, params, value=metric)          the one that follows `scheduler.step(metric)`

        better = value < best (1 - threshold)           "max": value > best (1 + threshold); "abs": best -+ threshold
        new    = max(factor rate, min_lr)               once more than `patience` in a row were not better
        rate   = new                                    if rate - new > eps; then `cooldown` metrics are not counted
        u      = (rate / lr) g

    Args:
      lr: the rate of the optimizer, in whose place it stands; it says what min_lr and eps mean.
      mode: whether the metric is to fall, "min", or to rise, "max".
      factor: by what the rate is multiplied each time.
      patience: how many metrics in a row may be no better.
      threshold: by how much a metric must be better to count.
      threshold_mode: whether threshold is a part of the best, "rel", or a difference, "abs".
      cooldown: how many metrics are not counted after a change.
      min_lr: the lowest rate.
      eps: the least change of the rate that is made.

    >>> from gradxform.dialects import torch
    >>> tx = gx.chain(torch.sgd(0.1), torch.lr_scheduler.ReduceLROnPlateau(0.1, patience=5))
    >>> updates, state = tx.update(grads, tx.init(params), params, value=2.5)

    State    PlateauState(scale, best, num_bad_epochs, cooldown_counter). Memory: none.
    Units    those of g; min_lr and eps have those of lr.
    Shapes   any, scalars and complex included.
    Source   PyTorch 2.13, `ReduceLROnPlateau`.
    Differs  from `reduce_on_plateau`, which is Optax's and judges every update: only the updates that are given a value are judged, the
             rate falls after patience + 1 misses, and what counts as better is a factor of the best.
    Raises   HyperparameterError: an argument out of range, an unknown mode.
    """
    if c.value is not None:
        s = _judged(s, _number(c.value), lr, mode, factor, patience, threshold, threshold_mode, cooldown, min_lr, eps)
    return c.map(_scaled, g, scale=s.scale), s


def _judged(s, value, lr, mode, factor, patience, threshold, threshold_mode, cooldown, min_lr, eps):
    better, cooling = _improves(value, s.best, mode, threshold, threshold_mode), s.cooldown_counter > 0
    bad = jnp.where(better | cooling, 0, s.num_bad_epochs + 1)
    over = bad > patience
    rate = s.scale * lr
    new = jnp.maximum(rate * factor, min_lr)
    fresh = PlateauState(
        scale=jnp.where(over & (rate - new > eps), jnp.maximum(s.scale * factor, min_lr / jnp.where(lr == 0, 1, lr)), s.scale),
        best=jnp.where(better, value, s.best),
        num_bad_epochs=jnp.where(over, 0, bad),
        cooldown_counter=jnp.where(over, cooldown, jnp.maximum(s.cooldown_counter - 1, 0)),
    )
    return jax.tree.map(lambda x, old: x.astype(old.dtype), fresh, s)
