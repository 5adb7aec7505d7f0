"""APOLLO: Adam's step sizes from gradients projected at random."""

from __future__ import annotations

import functools
import math
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from gradxform._numerics import abs_sq, norm
from gradxform._types import (
    Array,
    Average,
    Axes,
    Clock,
    Count,
    Decay,
    DType,
    Field,
    Hyper,
    Key,
    MaskOrFn,
    NonNegative,
    Positive,
    Real,
    Sampler,
    Schedule,
    Shape,
)
from gradxform.core import chain, per_leaf
from gradxform.core._refresh import Every, Phase, Since, Start
from gradxform.core._roles import DimensionNumbers, Roles
from gradxform.linear_algebra._newton_schulz import adjoint
from gradxform.linear_algebra._products import matmul
from gradxform.optimizers._adam import bias_corrected
from gradxform.registry import optimizer, transform
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate

ScaleType = Literal["channel", "tensor"]


def _short(shape: Shape) -> int:
    """The axis of a matrix that is projected: the shorter one, the inputs if they are equal."""
    return 0 if shape[0] <= shape[1] else 1


def _moment(shape: Shape) -> Axes:
    return Axes(1 - _short(shape), None) if len(shape) == 2 else Axes(*range(len(shape)))


def _first_moment(zero: Array, rank: int) -> Array:
    return jnp.zeros((max(zero.shape), min(rank, *zero.shape)), zero.dtype) if zero.ndim == 2 else zero


def _projection(shape: Shape) -> Axes | tuple[()]:
    return Axes(None, _short(shape)) if len(shape) == 2 else ()


def _first_projector(zero: Array, rank: int) -> Array | tuple[()]:
    return jnp.zeros((min(rank, *zero.shape), min(zero.shape)), zero.dtype) if zero.ndim == 2 else ()


class ApolloState(NamedTuple):
    """The running means of the projected gradient and its square, P and the norm of the last update of each matrix; a random key.

    Leaves that are no matrix have Adam's means, and () for the others.
    """

    count: Clock
    mu: Annotated[Any, Field("leaf", axes=_moment, first=_first_moment, stored="mu_dtype")]
    nu: Annotated[Any, Field("leaf", axes=_moment, first=_first_moment, dtype="real")]
    projector: Annotated[Any, Field("leaf", axes=_projection, first=_first_projector)]
    norm: Annotated[Any, Field("leaf", axes=lambda shape: Axes() if len(shape) == 2 else (), dtype="real")]
    since: Since
    key: Key


def _drawn(old: Array, key: Array, sampler: Sampler) -> Array:
    return sampler(key, old.shape, old.dtype) / math.sqrt(max(old.shape[0], 1))


@transform(
    source="Zhu et al. 2024, arXiv:2412.05270, Algorithm 1",
    example={"eps": 1e-30, "rank": 2, "scale": 2.0, "every": 3},
    homogeneity=0,
)
@per_leaf(ApolloState, stack=True, sees="tensor")
def scale_by_apollo(
    g, s, p, c,
    b1: Average = 0.9, b2: Decay = 0.999, eps: NonNegative = 1e-6, rank: Count = 256, scale: NonNegative = 1.0,
    mu_dtype: DType | None = None, *, scale_type: ScaleType = "channel", scale_front: bool = False,
    limiter: Positive | None = 1.01, every: Every = 200, start: Start = 1, phase: Phase = "all", key: Array | int = 0,
    sampler: Sampler = jax.random.normal, weight_dimension_numbers: Roles = None,
):  # fmt: skip
    """Scale each row of a matrix as Adam scales what is left of it in a few random directions.

        P  = normal(rank, short) / sqrt(rank)   of the shorter side, where it is due; g (long, short)
        r  = g P*
        mu = b1 mu + (1 - b1) r
        nu = b2 nu + (1 - b2) |r|^2
        f  = |mu / (sqrt(nu) + eps)| / (|r| + 1e-8)                         norms of rows; of the whole if scale_type="tensor"
        u  = f g
        u  = u / (max(||u|| / (||last u|| + 1e-8), limiter) / limiter)      not at first
        u  = sqrt(scale) u sqrt(1 - b2^t) / (1 - b1^t)                      sqrt(scale) one line earlier if scale_front

    Leaves that are no matrix get Adam: u = mu / (sqrt(nu) + eps) sqrt(1 - b2^t) / (1 - b1^t).

    Args:
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the root of nu before nu is debiased.
      rank: the number of dimensions that the shorter side of a matrix is projected to.
      scale: the square of a factor of the updates of matrices.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      scale_type: "channel": a factor for each row of the longer side; "tensor": one for the matrix.
      scale_front: multiply by the root of scale before the norm is limited, and not after it.
      limiter: how many times as large as the last a matrix's update may be; None: any.
      every: the number of updates from one projection to the next; a schedule: the gap between two.
      start: the first update at which there is one, before which matrices stand still; None: every.
      phase: "all": at once; "spread": each update has its share of them, every needs to be a number.
      key: a random key, or a whole number as a seed.
      sampler: what draws P: (key, shape, dtype) -> normal numbers, of the shape (rank, shorter side).
      weight_dimension_numbers: which axes are a leaf's inputs and outputs: `WeightDimensionNumbers`, "flax", "equinox", "conv" or None; one
        for all, patterns of paths, a tree, or a function.

    >>> tx = gx.chain(gx.scale_by_apollo(rank=8), gx.scale_by_learning_rate(0.01))

    State    ApolloState(count, mu, nu, projector, norm, since, key): for a matrix mu, nu (longer side, rank), projector (rank, shorter
             side), norm a number; mu, nu of other leaves as Adam's; since: with a schedule, the updates since P is new; key, split
             once per update and then once per leaf. Memory: for an m x n matrix (2 max(m, n) + min(m, n)) rank, 2 x the rest.
    Cost     FLOPs for a matrix of m x n: 2 m n rank a step.
    Units    u is dimensionless: scaling every gradient by k > 0 leaves u unchanged (eps -> 0).
    Shapes   any, scalars and complex included; only matrices are projected, of equal sides the inputs.
    Sharded  inside `shard_map` the device's own part of a matrix counts as the matrix; under `jit` the whole does.
    Source   Zhu et al. 2024, arXiv:2412.05270, Algorithm 1; the limiter: Chen et al. 2024, arXiv:2410.01623.
    Differs  Optax has none. After an update of 0 the next is not limited, where the authors' code all but stops for good. P is new at the
             first update and then at those that every divides.
    Raises   HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps or scale < 0, limiter <= 0, rank or
             every < 1, an unknown scale_type, an unknown phase. StructureError: roles that do not fit a leaf.
    """
    is_matrix = g.ndim == 2
    turned = is_matrix and _short(g.shape) == 0
    x = g.T if turned else g
    projector = c.refresh(functools.partial(_drawn, sampler=sampler), s.projector, c.key) if is_matrix else s.projector
    r = matmul(x, adjoint(projector)) if is_matrix else x
    mu = b1 * s.mu + (1 - b1) * r
    nu = b2 * s.nu + (1 - b2) * abs_sq(r)
    u = mu / (jnp.sqrt(nu) + eps)
    s = s._replace(mu=mu, nu=nu, projector=projector)
    if is_matrix:
        size = lambda x: jnp.sqrt(jnp.sum(abs_sq(x), 1 if scale_type == "channel" else None, keepdims=True))
        u = size(u) / (size(r) + 1e-8) * x
        u = jnp.sqrt(scale) * u if scale_front else u
        if limiter is not None:
            limited = u / jnp.maximum(norm(u) / (s.norm + 1e-8) / limiter, 1)
            u = jnp.where(s.norm > 0, limited, u)
        s = s._replace(norm=norm(u))
        u = (u.T if turned else u) * (1 if scale_front else jnp.sqrt(scale))
    return bias_corrected(c, u, b1, b2), s


@optimizer(
    source="Zhu et al. 2024, arXiv:2412.05270",
    example={"learning_rate": 0.01, "eps": 1e-30, "rank": 2, "every": 3},
    homogeneity=0,
    rates={"default": 1e-2, "digits": 1e-2},
)
def apollo(
    learning_rate: Real[Hyper],
    b1: Average[Hyper] = 0.9,
    b2: Decay[Hyper] = 0.999,
    eps: NonNegative[Hyper] = 1e-6,
    rank: Count = 256,
    scale: NonNegative[Hyper] = 1.0,
    weight_decay: Real[Hyper] = 0.0,
    mask: MaskOrFn = None,
    mu_dtype: DType | None = None,
    *,
    scale_type: ScaleType = "channel",
    scale_front: bool = False,
    limiter: Positive[Hyper] | None = 1.01,
    every: int | Schedule = 200,
    start: int | None = 1,
    phase: Literal["all", "spread"] = "all",
    key: Array | int = 0,
    sampler: Sampler = jax.random.normal,
    weight_dimension_numbers: DimensionNumbers = None,
):
    """APOLLO: the gradient, each row of a matrix scaled as Adam would, judged by a few random directions.

        P  = normal(rank, short) / sqrt(rank)   of the shorter side, where it is due; g (long, short)
        r  = g P*;  mu, nu: Adam's means of r
        d  = |mu / (sqrt(nu) + eps)| / (|r| + 1e-8) g                       norms of rows, or of the whole
        d  = d / (max(||d|| / (||last d|| + 1e-8), limiter) / limiter)
        u  = -learning_rate (sqrt(scale) d sqrt(1 - b2^t) / (1 - b1^t) + weight_decay p)


    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the root of nu before nu is debiased.
      rank: the number of dimensions that the shorter side of a matrix is projected to.
      scale: the square of a factor of the updates of matrices.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      scale_type: "channel": a factor for each row of the longer side; "tensor": one for the matrix.
      scale_front: multiply by the root of scale before the norm is limited, and not after it.
      limiter: how many times as large as the last a matrix's update may be; None: any.
      every: the number of updates from one projection to the next; a schedule: the gap between two.
      start: the first update at which there is one, before which matrices stand still; None: every.
      phase: "all": at once; "spread": each update has its share of them, every needs to be a number.
      key: a random key, or a whole number as a seed.
      sampler: what draws P: (key, shape, dtype) -> normal numbers, of the shape (rank, shorter side).
      weight_dimension_numbers: which axes are a leaf's inputs and outputs: `WeightDimensionNumbers`, "flax", "equinox", "conv" or None; one
        for all, patterns of paths, a tree, or a function.

    >>> tx = gx.apollo(0.01)

    State    (ApolloState(count, mu, nu, projector, norm, since, key), EmptyState(), EmptyState()). Memory: for an m x n matrix
             (2 max(m, n) + min(m, n)) rank, 2 x the rest.
    Cost     FLOPs for a matrix of m x n: 2 m n rank a step.
    Units    learning_rate has those of p: the step is about learning_rate per element. weight_decay has those of 1 / p.
    Shapes   any, scalars and complex included; only matrices are projected, others get Adam.
    Sharded  inside `shard_map` the device's own part of a matrix counts as the matrix; under `jit` the whole does.
    Source   Zhu et al. 2024, arXiv:2412.05270, Algorithm 1.
    Differs  as `scale_by_apollo`. The authors' code decays the new parameters.
    Raises   MissingArgumentError: no params. HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps or scale < 0, limiter <= 0,
             rank or every < 1, an unknown scale_type, an unknown phase. StructureError: roles that do not fit a leaf.
    """
    direction = scale_by_apollo(
        b1, b2, eps, rank, scale, mu_dtype,
        scale_type=scale_type, scale_front=scale_front, limiter=limiter, every=every, start=start, phase=phase, key=key,
        sampler=sampler, weight_dimension_numbers=weight_dimension_numbers,
    )  # fmt: skip
    return chain(direction, add_decayed_weights(weight_decay, mask), scale_by_learning_rate(learning_rate))


@optimizer(
    source="Zhu et al. 2024, arXiv:2412.05270",
    example={"learning_rate": 0.01, "eps": 1e-30, "every": 3},
    homogeneity=0,
    rates={"default": 1e-2, "digits": 1e-2},
)
def apollo_mini(
    learning_rate: Real[Hyper],
    b1: Average[Hyper] = 0.9,
    b2: Decay[Hyper] = 0.999,
    eps: NonNegative[Hyper] = 1e-6,
    rank: Count = 1,
    scale: NonNegative[Hyper] = 128.0,
    weight_decay: Real[Hyper] = 0.0,
    mask: MaskOrFn = None,
    mu_dtype: DType | None = None,
    *,
    scale_type: ScaleType = "tensor",
    scale_front: bool = False,
    limiter: Positive[Hyper] | None = 1.01,
    every: int | Schedule = 200,
    start: int | None = 1,
    phase: Literal["all", "spread"] = "all",
    key: Array | int = 0,
    sampler: Sampler = jax.random.normal,
    weight_dimension_numbers: DimensionNumbers = None,
):
    """APOLLO-Mini: the gradient, each matrix scaled as Adam would, judged by one random direction.

        P  = normal(1, short)                   of the shorter side, where it is due; g (long, short)
        r  = g P*;  mu, nu: Adam's means of r
        d  = ||mu / (sqrt(nu) + eps)|| / (||r|| + 1e-8) g
        d  = d / (max(||d|| / (||last d|| + 1e-8), limiter) / limiter)
        u  = -learning_rate (sqrt(scale) d sqrt(1 - b2^t) / (1 - b1^t) + weight_decay p)

    It is `apollo` with other defaults.


    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the root of nu before nu is debiased.
      rank: the number of dimensions that the shorter side of a matrix is projected to.
      scale: the square of a factor of the updates of matrices.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      scale_type: "channel": a factor for each row of the longer side; "tensor": one for the matrix.
      scale_front: multiply by the root of scale before the norm is limited, and not after it.
      limiter: how many times as large as the last a matrix's update may be; None: any.
      every: the number of updates from one projection to the next; a schedule: the gap between two.
      start: the first update at which there is one, before which matrices stand still; None: every.
      phase: "all": at once; "spread": each update has its share of them, every needs to be a number.
      key: a random key, or a whole number as a seed.
      sampler: what draws P: (key, shape, dtype) -> normal numbers, of the shape (rank, shorter side).
      weight_dimension_numbers: which axes are a leaf's inputs and outputs: `WeightDimensionNumbers`, "flax", "equinox", "conv" or None; one
        for all, patterns of paths, a tree, or a function.

    >>> tx = gx.apollo_mini(0.01)

    State    (ApolloState(count, mu, nu, projector, norm, since, key), EmptyState(), EmptyState()). Memory: for an m x n matrix
             2 max(m, n) + min(m, n) numbers, 2 x the rest.
    Cost     FLOPs for a matrix of m x n: 2 m n rank a step.
    Units    learning_rate has those of p: the step is about learning_rate per element. weight_decay has those of 1 / p.
    Shapes   any, scalars and complex included; only matrices are projected, others get Adam.
    Sharded  inside `shard_map` the device's own part of a matrix counts as the matrix; under `jit` the whole does.
    Source   Zhu et al. 2024, arXiv:2412.05270, Algorithm 1.
    Differs  as `scale_by_apollo`. The authors' code decays the new parameters.
    Raises   MissingArgumentError: no params. HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps or scale < 0, limiter <= 0,
             rank or every < 1, an unknown scale_type, an unknown phase. StructureError: roles that do not fit a leaf.
    """
    return apollo(
        learning_rate, b1, b2, eps, rank, scale, weight_decay, mask, mu_dtype,
        scale_type=scale_type, scale_front=scale_front, limiter=limiter, every=every, start=start, phase=phase, key=key,
        sampler=sampler, weight_dimension_numbers=weight_dimension_numbers,
    )  # fmt: skip
