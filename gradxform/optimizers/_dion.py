"""Dion: orthonormal updates of low rank, with what they leave kept in the momentum."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from gradxform._numerics import size_along
from gradxform._types import (
    STATIC,
    Array,
    Average,
    Axes,
    Clock,
    Decay,
    DType,
    Field,
    ForEngine,
    Hyper,
    MaskOrFn,
    NonNegative,
    Range,
    Real,
    Sampler,
    SpreadWithState,
    Updates,
    Wire,
)
from gradxform.core import chain, per_leaf
from gradxform.core._first import as_key
from gradxform.core._roles import DimensionNumbers, Roles, Stacking
from gradxform.linear_algebra._factorizations import orthonormal
from gradxform.linear_algebra._newton_schulz import adjoint
from gradxform.linear_algebra._products import matmul
from gradxform.optimizers._matrices import ShapeScale, scale_by_shape, with_adam
from gradxform.registry import optimizer, transform
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate

Share = Annotated[float, Range("(0, 1]"), STATIC]
FirstKey = Annotated[Array | int, ForEngine("first")]
FirstSampler = Annotated[Sampler, ForEngine("first")]
Orthogonalization = Literal["qr", "cholesky"]


def _first(zero: Array, rank_fraction: float, key: Array | int, sampler: Sampler) -> Array:
    return sampler(as_key(key), (zero.shape[0], math.ceil(rank_fraction * min(zero.shape))), zero.dtype)


class DionState(NamedTuple):
    """The momentum, less what has gone out of it; and for each matrix the inputs' side of the last update."""

    count: Clock
    mu: Annotated[Updates, Field(stored="mu_dtype")]
    q: Annotated[Any, Field("leaf", axes=Axes(0, None), first=_first)]


@transform(source="Ahn et al. 2025, arXiv:2504.05295", homogeneity=0, example={"eps": 1e-30}, ndim=2)
@per_leaf(DionState, stack=True, sees="matrix")
def scale_by_dion(
    g, s, p, c,
    rank_fraction: Share = 1.0, beta: Average = 0.95, eps: NonNegative = 1e-8, mu_dtype: DType | None = None,
    *, orthogonalization: Orthogonalization = "qr", weight_dimension_numbers: Roles = None,
    spread: SpreadWithState = None, wire: Wire = jnp.bfloat16,
    stacked: Stacking = None,
    key: FirstKey = 0, sampler: FirstSampler = jax.random.normal,
):  # fmt: skip
    """Orthonormal updates of low rank, by one step of the power iteration.

    Of a matrix whose rows are its inputs, the paper's transposed:

        M  = mu + g
        P  = orth(M* Q)
        R  = M P
        mu = M - (1 - beta) R P*
        Q  = R / (|each column| + eps)          one of 0 leaves that of the old Q
        u  = Q P*

    Args:
      rank_fraction: the rank of an update, as a part of the matrix's shorter side, rounded up.
      beta: how much stays in the momentum of what goes out of it as an update; all else stays.
      eps: added to the length of a column of R, by which it is divided.
      mu_dtype: the dtype of the momentum; None: the parameter's, float32 or wider.
      orthogonalization: how the orthonormal basis P is found: "qr"; "cholesky", the same by products of matrices, for accelerators.
      weight_dimension_numbers: which axes are a leaf's inputs and outputs: `WeightDimensionNumbers`, "flax", "equinox", "conv" or
        None; one for all, patterns of paths, a tree, or a function.
      spread: the axis of the mesh, or a tuple of axes, over whose devices matrices are dealt out with all of their state; None:
        each is updated where it lives.
      wire: with spread, the dtype in which gradients and updates travel between devices; None: their own.
      stacked: hold matrices of one shape and role, each a leaf of its own, as one array, with copies of the last behind them up to
        a multiple of so many, and all state of theirs so; with spread, best the number of its devices. None: a leaf is held by
        itself; `transfer_state` goes from one to the other.
      key: a random key, or a whole number as a seed.
      sampler: what draws the first Q: (key, shape, dtype) -> normal numbers, of the shape (inputs, rank).

    >>> tx = gx.chain(gx.masked(gx.scale_by_dion(rank_fraction=0.25), gx.by_ndim(2)), gx.scale_by_learning_rate(0.01))

    State    count; mu: like p, float32 or wider unless mu_dtype says otherwise; q: (inputs, rank) for each matrix.
             Memory: 1 x params, and n r for n inputs and rank r.
    Cost     FLOPs for a matrix of n inputs and m outputs: 8 m n r, and about 4 m r^2 for P.
    Units    u is dimensionless, with r columns of length 1 times orthonormal rows: scaling every gradient by k > 0 leaves it unchanged
             (eps -> 0).
    Shapes   matrices (inputs, outputs), complex included; other shapes with weight_dimension_numbers, also batches of matrices.
             Matrices of one shape are computed as one batch, and begin with one Q.
    Sharded  inside `shard_map` the device's own part of a leaf, or of a matrix, counts as the whole; under `jit` the whole does.
             With spread a matrix is updated on one device, with its state. Where the devices divide the number of matrices in a
             leaf, as of scanned layers or with stacked, the state rests there, as `state_shardings` places it, split by no other
             axis of the mesh, and only gradients, updates and parameters that are read travel: in bfloat16 as many bytes as the
             parameters have in float32. Those of other leaves are filled up to as many of a shape for each device, and their state
             travels there and back: several times as much. On an automatic mesh leave the axis in front whole in the parameters.
    Source   Ahn et al. 2025, arXiv:2504.05295, Algorithm 1.
    Differs  a matrix of zeros leaves Q as it is, as in the authors' repository; so does a column of R that is 0. Its randomized
             Cholesky QR is one without randomness here.
    Raises   StructureError: a leaf is not a matrix. HyperparameterError: rank_fraction outside (0, 1], beta outside (-1, 1), eps <
             0, an unknown orthogonalization, stacked < 1, no mesh for spread, spread names no axis of it.
    """
    M = s.mu + g
    P = orthonormal(matmul(adjoint(M), s.q), orthogonalization)
    R = matmul(M, P)
    mu = M - (1 - beta) * matmul(R, adjoint(P))
    size = size_along(R, 0)
    Q = R / (size + eps)
    u = matmul(jnp.where(size > 0, Q, 0), adjoint(P))
    return u, s._replace(mu=mu, q=jnp.where(size > 0, Q, s.q))


@optimizer(
    source="Ahn et al. 2025, arXiv:2504.05295",
    example={"learning_rate": 0.01, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 1e-2, "digits": 3e-2},
)
def dion(
    learning_rate: Real[Hyper],
    rank_fraction: Share = 1.0,
    beta: Average[Hyper] = 0.95,
    eps: NonNegative[Hyper] = 1e-8,
    weight_decay: Real[Hyper] = 0.01,
    weight_decay_mask: MaskOrFn = None,
    mu_dtype: DType | None = None,
    *,
    shape_scale: ShapeScale = "spectral",
    orthogonalization: Orthogonalization = "qr",
    adam_b1: Average[Hyper] = 0.9,
    adam_b2: Decay[Hyper] = 0.999,
    adam_eps_root: NonNegative[Hyper] = 0.0,
    adam_weight_decay: Real[Hyper] = 0.0,
    adam_learning_rate: Real[Hyper] | None = None,
    weight_dimension_numbers: DimensionNumbers = None,
    spread: SpreadWithState = None,
    wire: Wire = jnp.bfloat16,
    stacked: Stacking = None,
    key: FirstKey = 0,
    sampler: FirstSampler = jax.random.normal,
):
    """Dion: orthonormal updates of low rank for matrices, AdamW for everything else.

        R  = M P;  P = orth(M* Q);  M = mu + g                      the rows of M are the inputs
        mu = M - (1 - beta) R P*
        Q  = R / (|each column| + eps)
        u  = -learning_rate (sqrt(outputs / inputs) Q P* + weight_decay p)

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      rank_fraction: the rank of an update, as a part of the matrix's shorter side, rounded up.
      beta: how much stays in the momentum of what goes out of it as an update; all else stays.
      eps: added to the length of a column of R, by which it is divided.
      weight_decay: decoupled decay of the matrices: the part of the parameters, times learning_rate, that is taken away.
      weight_decay_mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a
        function; None: all.
      mu_dtype: the dtype of the momentum; None: the parameter's, float32 or wider.
      shape_scale: how a matrix's step depends on its shape: "original", sqrt(max(1, outputs / inputs)); "spectral", without the
        max; "match_rms_adamw", 0.2 sqrt(max(inputs, outputs)); None: not at all.
      orthogonalization: how the orthonormal basis P is found: "qr"; "cholesky", the same by products of matrices, for accelerators.
      adam_b1: b1 of the AdamW that the other leaves get.
      adam_b2: b2 of the AdamW that the other leaves get.
      adam_eps_root: eps_root of the AdamW that the other leaves get.
      adam_weight_decay: weight_decay of the AdamW that the other leaves get.
      adam_learning_rate: the rate of the AdamW that the other leaves get; None: learning_rate.
      weight_dimension_numbers: which axes are a leaf's inputs and outputs: `WeightDimensionNumbers`, "flax", "equinox", "conv" or
        None; one for all, patterns of paths, a tree, or a function.
      spread: the axis of the mesh, or a tuple of axes, over whose devices matrices are dealt out with all of their state; None:
        each is updated where it lives.
      wire: with spread, the dtype in which gradients and updates travel between devices; None: their own.
      stacked: hold matrices of one shape and role, each a leaf of its own, as one array, with copies of the last behind them up to
        a multiple of so many, and all state of theirs so; with spread, best the number of its devices. None: a leaf is held by
        itself; `transfer_state` goes from one to the other.
      key: a random key, or a whole number as a seed.
      sampler: what draws the first Q: (key, shape, dtype) -> normal numbers, of the shape (inputs, rank).

    >>> tx = gx.dion(0.01, rank_fraction=0.25, weight_dimension_numbers={"b": None, "w": "flax"})  # None: no matrix, so AdamW
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    PartitionState: under "dion" DionState(count, mu, q) and stateless stages, under "adam" the state of `adamw`.
             Memory: 1 x the matrices, and n r for n inputs and rank r; 2 x the rest.
    Cost     FLOPs for a matrix of n inputs and m outputs: 8 m n r, and about 4 m r^2 for P.
    Units    learning_rate has those of the norm of a linear map between vectors of RMS 1: by about it a layer's outputs move.
    Shapes   matrices (inputs, outputs) get Dion; with weight_dimension_numbers the leaves that have some. Do not use it for
             embeddings and the last layer: say None of them.
    Sharded  inside `shard_map` the device's own part of a leaf, or of a matrix, counts as the whole; under `jit` the whole does.
             With spread a matrix is updated on one device, with its state, which rests there where the devices divide the number of
             matrices in a leaf, or of those stacked, and else travels there and back.
    Source   Ahn et al. 2025, arXiv:2504.05295, Algorithm 1.
    Differs  as `scale_by_dion`.
    Raises   MissingArgumentError: no params. HyperparameterError: an argument out of range, an unknown shape_scale, an unknown
             orthogonalization, stacked < 1, no mesh for spread, spread names no axis of it.
    """
    matrices = chain(
        scale_by_dion(
            rank_fraction, beta, eps, mu_dtype, orthogonalization=orthogonalization,
            weight_dimension_numbers=weight_dimension_numbers, key=key, sampler=sampler, spread=spread, wire=wire, stacked=stacked,
        ),
        scale_by_shape(weight_dimension_numbers, None, shape_scale),
        add_decayed_weights(weight_decay, weight_decay_mask),
        scale_by_learning_rate(learning_rate),
    )  # fmt: skip
    return with_adam(
        "dion", matrices, weight_dimension_numbers, learning_rate, adam_learning_rate,
        adam_b1, adam_b2, eps, adam_eps_root, mu_dtype, adam_weight_decay, False,
    )  # fmt: skip
