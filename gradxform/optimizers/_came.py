"""CAME."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import jax.numpy as jnp

from gradxform._numerics import abs_sq
from gradxform._types import (
    Axes,
    Clock,
    Decay,
    DType,
    Field,
    Hyper,
    MaskOrFn,
    Momentum,
    NonNegative,
    Positive,
    Real,
    RealUpdates,
    Updates,
)
from gradxform.core import chain, per_leaf
from gradxform.optimizers._adafactor import over_factored_root
from gradxform.registry import optimizer, transform
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate


def _whole(shape):
    return () if len(shape) >= 2 else Axes(*range(len(shape)))


def _rows(shape):
    return Axes(*range(len(shape) - 1)) if len(shape) >= 2 else ()


def _columns(shape):
    return Axes(*range(len(shape) - 2), len(shape) - 1) if len(shape) >= 2 else ()


def _mean(x, axis):
    """The mean along an axis, 0 of one without elements."""
    return x.sum(axis) / max(x.shape[axis], 1)


class ScaleByCameState(NamedTuple):
    """The running mean of the scaled gradient, and of |g|^2 and of its instability means over the last axis and over the one before.

    Leaves with fewer than two axes have the mean nu of |g|^2 itself, and () for the others; leaves with more have () for nu.
    """

    count: Clock
    mu: Annotated[Updates, Field(stored="mu_dtype", mean="b1")]
    nu: Annotated[RealUpdates, Field(axes=_whole)]
    row: Annotated[RealUpdates, Field(axes=_rows)]
    col: Annotated[RealUpdates, Field(axes=_columns)]
    res_row: Annotated[RealUpdates, Field(axes=_rows)]
    res_col: Annotated[RealUpdates, Field(axes=_columns)]


@transform(source="Luo et al. 2023, arXiv:2307.02047, Algorithm 2", homogeneity=0)
@per_leaf(ScaleByCameState)
def scale_by_came(
    g, s, p, c,
    b1: Momentum = 0.9, b2: Decay = 0.999, b3: Decay = 0.9999, eps: NonNegative = 1e-30, eps2: NonNegative = 1e-16,
    clip_threshold: Positive = 1.0, mu_dtype: DType | None = None,
):  # fmt: skip
    """Adafactor with momentum, divided by how far each scaled gradient is from it.

        row = b2 row + (1 - b2) mean over the last axis of (|g|^2 + eps)
        col = b2 col + (1 - b2) mean over the one before of (|g|^2 + eps)
        r   = g / sqrt(row col / mean(row))
        r   = r / max(1, rms(r) / clip_threshold)                           rms(x) = sqrt(mean |x|^2)
        mu  = b1 mu + (1 - b1) r
        res_row, res_col: as row and col, with b3 and |r - mu|^2 + eps2
        u   = mu / sqrt(res_row res_col / mean(res_row))

    Leaves with fewer than two axes have r = g / sqrt(nu) with nu = b2 nu + (1 - b2) (|g|^2 + eps), and u = mu.

    Args:
      b1: how much of the running mean of scaled gradients stays at each update.
      b2: how much of the running means of squares stays at each update.
      b3: how much of the running means of the instability stays at each update.
      eps: added to the squared gradients.
      eps2: added to the squared distance of a scaled gradient from their mean.
      clip_threshold: the largest root mean square of a leaf's scaled gradient.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.

    >>> tx = gx.chain(gx.scale_by_came(), gx.scale_by_learning_rate(2e-4))

    State    count; mu: like p, float32 or wider unless mu_dtype says otherwise; nu, row, col, res_row, res_col: real, () where unused.
             Memory: 1 x params, and 2 (m + n) for an m x n matrix.
    Units    u is dimensionless: scaling every gradient by k > 0 leaves u unchanged (eps -> 0).
    Shapes   any, scalars and complex included; of more than two axes those before the last two are a batch, mean(row) is one of each.
    Sharded  inside `shard_map` rows, columns and means are those of the device's own part of a leaf, whose shape decides whether it
             is factored; under `jit` those of the whole leaf.
    Source   Luo et al. 2023, arXiv:2307.02047, Algorithm 2; vectors as in the authors' code.
    Differs  Optax has none.
    Raises   HyperparameterError: b1 outside [-1, 1], b2 or b3 outside [0, 1), eps or eps2 < 0, clip_threshold <= 0.
    """
    factored, axes = g.ndim >= 2, (g.ndim - 2, g.ndim - 1)
    sq = abs_sq(g) + eps
    if factored:
        row = b2 * s.row + (1 - b2) * _mean(sq, -1)
        col = b2 * s.col + (1 - b2) * _mean(sq, -2)
        s = s._replace(row=row, col=col)
        r = over_factored_root(g, row, col, axes)
    else:
        s = s._replace(nu=b2 * s.nu + (1 - b2) * sq)
        r = g / jnp.sqrt(s.nu)
    r = r / jnp.maximum(1, jnp.sqrt(jnp.mean(abs_sq(r))) / clip_threshold)
    mu = b1 * s.mu + (1 - b1) * r
    if not factored:
        return mu, s._replace(mu=mu)
    res = abs_sq(r - mu) + eps2
    res_row = b3 * s.res_row + (1 - b3) * _mean(res, -1)
    res_col = b3 * s.res_col + (1 - b3) * _mean(res, -2)
    return over_factored_root(mu, res_row, res_col, axes), s._replace(mu=mu, res_row=res_row, res_col=res_col)


@optimizer(
    source="Luo et al. 2023, arXiv:2307.02047",
    example={"learning_rate": 1e-3},
    homogeneity=0,
    rates={"default": 2e-4, "digits": 2e-3},
)
def came(
    learning_rate: Real[Hyper],
    b1: Momentum[Hyper] = 0.9,
    b2: Decay[Hyper] = 0.999,
    b3: Decay[Hyper] = 0.9999,
    eps: NonNegative[Hyper] = 1e-30,
    eps2: NonNegative[Hyper] = 1e-16,
    clip_threshold: Positive[Hyper] = 1.0,
    weight_decay: Real[Hyper] = 0.0,
    mask: MaskOrFn = None,
    mu_dtype: DType | None = None,
):
    """CAME: Adafactor with momentum, which steps further where gradients agree with it.

        row = b2 row + (1 - b2) mean over the last axis of (|g|^2 + eps)    col: over the axis before
        r   = g / sqrt(row col / mean(row))
        r   = r / max(1, rms(r) / clip_threshold)
        mu  = b1 mu + (1 - b1) r
        res_row, res_col: as row and col, with b3 and |r - mu|^2 + eps2
        u   = -learning_rate (mu / sqrt(res_row res_col / mean(res_row)) + weight_decay p)

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of scaled gradients stays at each update.
      b2: how much of the running means of squares stays at each update.
      b3: how much of the running means of the instability stays at each update.
      eps: added to the squared gradients.
      eps2: added to the squared distance of a scaled gradient from their mean.
      clip_threshold: the largest root mean square of a leaf's scaled gradient.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.

    >>> tx = gx.came(2e-4, weight_decay=0.01)

    State    (ScaleByCameState(count, mu, nu, row, col, res_row, res_col), EmptyState(), EmptyState()). Memory: 1 x params, and
             2 (m + n) for an m x n matrix.
    Units    learning_rate has those of p. weight_decay has those of 1 / p.
    Shapes   any, scalars and complex included; of more than two axes those before the last two are a batch.
    Sharded  inside `shard_map` rows, columns and means are those of the device's own part of a leaf, whose shape decides whether it
             is factored; under `jit` those of the whole leaf.
    Source   Luo et al. 2023, arXiv:2307.02047, Algorithm 2; vectors as in the authors' code.
    Differs  Optax has none.
    Raises   MissingArgumentError: no params. HyperparameterError: b1 outside [-1, 1], b2 or b3 outside [0, 1), eps or eps2 < 0,
             clip_threshold <= 0.
    """
    direction = scale_by_came(b1, b2, b3, eps, eps2, clip_threshold, mu_dtype)
    return chain(direction, add_decayed_weights(weight_decay, mask), scale_by_learning_rate(learning_rate))
