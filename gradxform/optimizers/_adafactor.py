"""Adafactor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from gradxform._numerics import abs_sq
from gradxform._types import (
    Array,
    Axes,
    Bound,
    Clock,
    DType,
    Field,
    Hyper,
    MaskOrFn,
    NonNegative,
    Real,
    RealUpdates,
    Shape,
    Whole,
)
from gradxform.core import chain, per_leaf
from gradxform.core._hyper import called
from gradxform.registry import optimizer, transform
from gradxform.transforms import (
    add_decayed_weights,
    clip_by_block_rms,
    ema,
    scale,
    scale_by_learning_rate,
    scale_by_param_block_rms,
)
from gradxform.transforms._momentum import EmaDecay


def factored_axes(shape: tuple[int, ...], factored: bool, min_dim_size_to_factor: int) -> tuple[int, int] | None:
    """The second largest and the largest axis, if both are large enough to factor over."""
    if not factored or len(shape) < 2:
        return None
    i, j = (int(axis) for axis in np.argsort(shape, kind="stable")[-2:])
    return (i, j) if shape[i] >= min_dim_size_to_factor else None


def over_factored_root(x: Array, v_row: Array, v_col: Array, axes: tuple[int, int]) -> Array:
    """x / sqrt(v_row v_col / mean(v_row)), where v_row lacks the second of the two axes, v_col the first."""
    i, j = axes
    rows = v_row / v_row.mean(i - 1 if i > j else i, keepdims=True)
    return x / jnp.sqrt(jnp.expand_dims(rows, j)) / jnp.sqrt(jnp.expand_dims(v_col, i))


def mean_axes(shape: Shape, pair: tuple[int, int] | None, over: int | None) -> Axes:
    """The axes of a mean over the first or the second of a pair; None: of |g|^2 itself, where there is no pair."""
    if (pair is None) != (over is None):
        return Axes(None)
    return Axes(*(i for i in range(len(shape)) if pair is None or over is None or i != pair[over]))


def _mean(over: int | None) -> Field:
    return Field(axes=lambda shape, factored, min_dim_size_to_factor: mean_axes(
        shape, factored_axes(shape, factored, min_dim_size_to_factor), over
    ))  # fmt: skip


class FactoredState(NamedTuple):
    """Running means of |g|^2: of its rows and columns where a leaf is factored, else of itself. The others have shape (1,)."""

    count: Clock
    v_row: Annotated[RealUpdates, _mean(over=1)]
    v_col: Annotated[RealUpdates, _mean(over=0)]
    v: Annotated[RealUpdates, _mean(over=None)]


@transform(source="Shazeer & Stern 2018, arXiv:1804.04235, Algorithm 4", homogeneity=0, example={"min_dim_size_to_factor": 2})
@per_leaf(FactoredState)
def scale_by_factored_rms(
    g, s, p, c,
    factored: bool = True, decay_rate: NonNegative = 0.8, step_offset: Real = 0, min_dim_size_to_factor: Whole = 128,
    epsilon: NonNegative = 1e-30, decay_rate_fn: Callable[[Any, Any], Any] | None = None,
):  # fmt: skip
    """Divide updates by a running root mean square that is kept only for the rows and columns of a leaf.

        b     = 1 - max(t - step_offset, 1)^-decay_rate                     or decay_rate_fn(t - 1 - step_offset, decay_rate)
        v_row = b v_row + (1 - b) mean over columns of (|g|^2 + epsilon)
        v_col = b v_col + (1 - b) mean over rows of (|g|^2 + epsilon)
        u     = g / sqrt(v_row v_col / mean(v_row))

    Leaves with fewer than two axes of at least min_dim_size_to_factor keep v, the mean of |g|^2 + epsilon itself, and
    u = g / sqrt(v). Rows and columns are the second largest and the largest axis.

    Args:
      factored: keep rows and columns in the place of whole leaves.
      decay_rate: how fast the running mean's memory grows: it keeps 1 - t^-decay_rate.
      step_offset: the number of the update with which the memory begins, in a run that goes on.
      min_dim_size_to_factor: the least length of the two axes of a leaf for which rows and columns are kept.
      epsilon: added to the squared gradients.
      decay_rate_fn: (step, decay_rate) -> how much of the mean stays; None: 1 - t^-decay_rate.

    >>> tx = gx.chain(gx.scale_by_factored_rms(min_dim_size_to_factor=2), gx.scale_by_learning_rate(1e-2))

    State    count; v_row, v_col, v: real, float32 or wider, of shape (1,) where unused. Memory: (m + n) / (m n) x params for m x n.
    Units    u is dimensionless: scaling every gradient by k > 0 leaves u unchanged (epsilon -> 0).
    Shapes   any, scalars and complex included.
    Sharded  inside `shard_map` rows, columns and means are those of the device's own part of a leaf, whose shape decides whether it
             is factored; under `jit` those of the whole leaf.
    Source   Shazeer & Stern 2018, arXiv:1804.04235, Algorithm 4.
    Differs  a step_offset > 0 on a fresh state does not give NaN; params are not needed.
    Raises   HyperparameterError: decay_rate < 0, epsilon < 0, min_dim_size_to_factor < 0.
    """
    if decay_rate_fn is None:
        b = 1 - jnp.maximum(c.t.astype(c.dtype) - step_offset, 1) ** -decay_rate
    else:
        b = called("scale_by_factored_rms", "decay_rate_fn", decay_rate_fn, c.t - 1 - step_offset, decay_rate)
    sq = abs_sq(g) + epsilon
    axes = factored_axes(g.shape, factored, min_dim_size_to_factor)
    if axes is None:
        v = b * s.v + (1 - b) * sq
        return g / jnp.sqrt(v), s._replace(v=v)
    i, j = axes
    v_row = b * s.v_row + (1 - b) * sq.mean(j)
    v_col = b * s.v_col + (1 - b) * sq.mean(i)
    return over_factored_root(g, v_row, v_col, axes), s._replace(v_row=v_row, v_col=v_col)


@optimizer(
    source="Shazeer & Stern 2018, arXiv:1804.04235",
    example={"learning_rate": 1e-2, "min_dim_size_to_factor": 2},
    homogeneity=0,
    rates={"default": 1e-2, "digits": 1e-1},
)
def adafactor(
    learning_rate: Real[Hyper] | None = None,
    min_dim_size_to_factor: Whole = 128,
    decay_rate: NonNegative[Hyper] = 0.8,
    decay_offset: Real[Hyper] = 0,
    multiply_by_parameter_scale: bool = True,
    clipping_threshold: Bound[Hyper] | None = 1.0,
    momentum: EmaDecay[Hyper] | None = None,
    dtype_momentum: DType | None = jnp.float32,
    weight_decay_rate: Real[Hyper] | None = None,
    eps: NonNegative[Hyper] = 1e-30,
    factored: bool = True,
    weight_decay_mask: MaskOrFn = None,
):
    """Adafactor: a root mean square kept for rows and columns only, clipped, in the scale of the parameters.

        d = g / sqrt(v_row v_col / mean(v_row))                             `scale_by_factored_rms`
        d = d / max(1, rms(d) / clipping_threshold)
        d = learning_rate max(rms(p), 1e-3) d
        m = momentum m + (1 - momentum) d                                   momentum=None: m = d
        u = -(m + weight_decay_rate p)                                      the decay is not multiplied by the rate

    Args:
      learning_rate: the step as a part of each leaf's root mean square, a number or a schedule; None: no factor.
      min_dim_size_to_factor: the least length of the two axes of a leaf for which rows and columns are kept.
      decay_rate: how fast the running mean's memory grows: it keeps 1 - t^-decay_rate.
      decay_offset: the number of the update with which the memory begins, in a run that goes on.
      multiply_by_parameter_scale: make the step a part of each leaf's root mean square.
      clipping_threshold: the largest root mean square of a leaf's step, in units of the rate; None: no bound.
      momentum: how much of the running mean of steps stays at each update; None: no momentum.
      dtype_momentum: the dtype of the momentum.
      weight_decay_rate: the part of the parameters that is taken away at each update, not multiplied by the rate; None: none.
      eps: added to the squared gradients.
      factored: keep rows and columns in the place of whole leaves.
      weight_decay_mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function;
        None: all.

    >>> tx = gx.adafactor(1e-2, min_dim_size_to_factor=32)

    State    (FactoredState(count, v_row, v_col, v), EmptyState(), ...). Memory: (m + n) / (m n) x params for m x n, and
             1 x with momentum.
    Units    learning_rate is dimensionless: each leaf moves by learning_rate times its root mean square.
    Shapes   any, scalars and complex included.
    Sharded  inside `shard_map` rows, columns and means are those of the device's own part of a leaf, whose shape decides whether it
             is factored; under `jit` those of the whole leaf.
    Source   Shazeer & Stern 2018, arXiv:1804.04235, Algorithm 5.
    Differs  as `scale_by_factored_rms`.
    Raises   MissingArgumentError: no params. HyperparameterError: an argument out of range.
    """
    stages = [scale_by_factored_rms(factored, decay_rate, decay_offset, min_dim_size_to_factor, eps)]
    if clipping_threshold is not None:
        stages.append(clip_by_block_rms(clipping_threshold))
    if learning_rate is not None:
        stages.append(scale_by_learning_rate(learning_rate, flip_sign=False))
    if multiply_by_parameter_scale:
        stages.append(scale_by_param_block_rms())
    if momentum is not None:
        stages.append(ema(momentum, debias=False, accumulator_dtype=dtype_momentum))
    if weight_decay_rate is not None:
        stages.append(add_decayed_weights(weight_decay_rate, weight_decay_mask))
    return chain(*stages, scale(-1))
