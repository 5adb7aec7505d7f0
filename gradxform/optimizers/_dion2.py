"""Dion2: orthonormal updates of those rows of the momentum that are largest."""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp

from gradxform._types import (
    STATIC,
    Array,
    Average,
    Clock,
    Decay,
    DType,
    Field,
    Hyper,
    MaskOrFn,
    NonNegative,
    Range,
    Real,
    Shared,
    SpreadOver,
    Updates,
    Whole,
    Wire,
)
from gradxform.core import chain, per_leaf
from gradxform.core._roles import DimensionNumbers, Roles
from gradxform.linear_algebra._newton_schulz import newton_schulz
from gradxform.linear_algebra._polynomials import polynomials
from gradxform.optimizers._matrices import Coefficients, ShapeScale, coefficients, scale_by_shape, with_adam
from gradxform.registry import optimizer, transform
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate

Share = Annotated[float, Range("(0, 1]"), STATIC]


class Dion2State(NamedTuple):
    """The momentum, of which only what goes out decays, and the coefficients of the iteration."""

    count: Clock
    mu: Annotated[Updates, Field(stored="mu_dtype")]
    ns_coeffs: Annotated[Shared, coefficients("scale_by_dion2")]


def _largest(M: Array, fraction: float) -> Array:
    return jax.lax.top_k(jnp.sum(jnp.abs(M), 1), min(len(M), max(1, math.ceil(fraction * len(M)))))[1]


def _orthogonal(M: Array, coeffs: Array, ns_steps: int, eps: float | Array, fraction: float) -> Array:
    """The largest rows, orthogonalized; 0 at the others."""
    K = _largest(M, fraction)
    return jnp.zeros_like(M).at[K].set(newton_schulz(M[K], coeffs, ns_steps, eps=eps))


def _decayed(M: Array, u: Array, beta: float | Array) -> Array:
    """The momentum after an update whose rows were chosen elsewhere."""
    return jnp.where(jnp.any(u != 0, 1, keepdims=True), beta * M, M)


@transform(source="Ahn et al. 2025, arXiv:2512.16928", homogeneity=0, example={"eps": 1e-30}, ndim=2)
@per_leaf(Dion2State, stack=True, sees="matrix")
def scale_by_dion2(
    g, s, p, c,
    fraction: Share = 0.25, beta: Average = 0.95, ns_coeffs: Coefficients = "dion2", ns_steps: Whole = 5, eps: NonNegative = 1e-8,
    mu_dtype: DType | None = None, *, weight_dimension_numbers: Roles = None, spread: SpreadOver = None, wire: Wire = jnp.bfloat16,
):  # fmt: skip
    """Orthogonalize the largest rows of the momentum, which alone decay.

        M     = mu + g                          transposed where there are fewer outputs than inputs, or as many: d rows
        K     = the max(1, ceil(fraction d)) rows of M with the largest sum |M|
        u     = newton_schulz(M[K]) at K, 0 at the other rows
        mu    = beta M at K, M at the other rows

    Args:
      fraction: how many of the rows go out as an update, as a part of the matrix's shorter side, rounded up.
      beta: how much stays of the momentum's rows that go out; the others stay.
      ns_coeffs: the coefficients of the Newton-Schulz polynomial, a row for all steps or one for each; or the name of a table:
        "standard", "dion", "polar_express", "deepseek_v4", "cans", "cubic", "turbo", "dion2".
      ns_steps: the number of Newton-Schulz steps; a table with a row for each is used whole, "polar_express" as far as they go.
      eps: added to the norm by which the matrix is divided first.
      mu_dtype: the dtype of the momentum; None: the parameter's, float32 or wider.
      weight_dimension_numbers: which axes are a leaf's inputs and outputs: `WeightDimensionNumbers`, "flax", "equinox", "conv" or
        None; one for all, patterns of paths, a tree, or a function.
      spread: the axis of the mesh, or a tuple of axes, over whose devices whole matrices are dealt out; None: each is iterated on
        where it lives.
      wire: with spread, the dtype in which matrices travel between devices; None: that of the iteration.

    >>> tx = gx.chain(gx.masked(gx.scale_by_dion2(), gx.by_ndim(2)), gx.scale_by_learning_rate(0.01))

    State    count; mu: like p, float32 or wider unless mu_dtype says otherwise; ns_coeffs. Memory: 1 x params.
    Cost     ns_steps (4 s^2 l + 2 s^3) FLOPs for a matrix of sides d <= l, of whose rows s = fraction d go out.
    Units    u is dimensionless, its singular values are about 1: scaling every gradient by k > 0 leaves u unchanged (eps -> 0).
    Shapes   matrices (inputs, outputs), complex included; other shapes with weight_dimension_numbers, also batches of matrices.
             Matrices of one shape are computed as one batch. With spread they travel whole, as those of `scale_by_muon`, and rows
             are chosen of what arrives.
    Sharded  inside `shard_map` the device's own part of a matrix counts as the matrix; under `jit` the whole does.
    Source   Ahn et al. 2025, arXiv:2512.16928.
    Differs  rows are chosen in the whole matrix along its shorter side, however it is sharded; in the authors' repository along the
             side that is sharded, and by default in each device's part of it, so that the result depends on their number. There
             eps is added to 1.02 times the norm, for which its table is; here the sum is taken 1.02 times.
    Raises   StructureError: a leaf is not a matrix. HyperparameterError: fraction outside (0, 1], beta outside (-1, 1), eps < 0,
             ns_coeffs of another shape, no table of that name, no mesh for spread, spread names no axis of it.
    """
    M = s.mu + g
    M = M if g.shape[0] < g.shape[1] else M.T
    u = c.whole(_orthogonal, M, s.ns_coeffs.astype(c.dtype), ns_steps, eps, fraction)
    mu = M.at[_largest(M, fraction)].multiply(beta) if spread is None else _decayed(M, u, beta)
    u, mu = (u, mu) if g.shape[0] < g.shape[1] else (u.T, mu.T)
    return u, s._replace(mu=mu)


@optimizer(
    source="Ahn et al. 2025, arXiv:2512.16928",
    example={"learning_rate": 0.01, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 1e-2, "digits": 3e-2},
)
def dion2(
    learning_rate: Real[Hyper],
    fraction: Share = 0.25,
    beta: Average[Hyper] = 0.95,
    ns_coeffs: Coefficients = "dion2",
    ns_steps: Whole = 5,
    eps: NonNegative[Hyper] = 1e-8,
    weight_decay: Real[Hyper] = 0.01,
    weight_decay_mask: MaskOrFn = None,
    mu_dtype: DType | None = None,
    *,
    shape_scale: ShapeScale = "spectral",
    adam_b1: Average[Hyper] = 0.9,
    adam_b2: Decay[Hyper] = 0.999,
    adam_eps_root: NonNegative[Hyper] = 0.0,
    adam_weight_decay: Real[Hyper] = 0.0,
    adam_learning_rate: Real[Hyper] | None = None,
    weight_dimension_numbers: DimensionNumbers = None,
    spread: SpreadOver = None,
    wire: Wire = jnp.bfloat16,
):
    """Dion2: the largest rows of the momentum, orthogonalized, for matrices; AdamW for everything else.

        M  = mu + g                             d rows along the shorter side; K: the fraction of them with the largest sum |M|
        u  = -learning_rate (sqrt(outputs / inputs) newton_schulz(M[K]) at K + weight_decay p)
        mu = beta M at K, M elsewhere

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      fraction: how many of the rows go out as an update, as a part of the matrix's shorter side, rounded up.
      beta: how much stays of the momentum's rows that go out; the others stay.
      ns_coeffs: the coefficients of the Newton-Schulz polynomial, a row for all steps or one for each; or the name of a table:
        "standard", "dion", "polar_express", "deepseek_v4", "cans", "cubic", "turbo", "dion2".
      ns_steps: the number of Newton-Schulz steps; a table with a row for each is used whole, "polar_express" as far as they go.
      eps: added to the norm by which the matrix is divided first.
      weight_decay: decoupled decay of the matrices: the part of the parameters, times learning_rate, that is taken away.
      weight_decay_mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a
        function; None: all.
      mu_dtype: the dtype of the momentum; None: the parameter's, float32 or wider.
      shape_scale: how a matrix's step depends on its shape: "original", sqrt(max(1, outputs / inputs)); "spectral", without the
        max; "match_rms_adamw", 0.2 sqrt(max(inputs, outputs)); None: not at all.
      adam_b1: b1 of the AdamW that the other leaves get.
      adam_b2: b2 of the AdamW that the other leaves get.
      adam_eps_root: eps_root of the AdamW that the other leaves get.
      adam_weight_decay: weight_decay of the AdamW that the other leaves get.
      adam_learning_rate: the rate of the AdamW that the other leaves get; None: learning_rate.
      weight_dimension_numbers: which axes are a leaf's inputs and outputs: `WeightDimensionNumbers`, "flax", "equinox", "conv" or
        None; one for all, patterns of paths, a tree, or a function.
      spread: the axis of the mesh, or a tuple of axes, over whose devices whole matrices are dealt out; None: each is iterated on
        where it lives.
      wire: with spread, the dtype in which matrices travel between devices; None: that of the iteration.

    >>> tx = gx.dion2(0.01, weight_dimension_numbers={"b": None, "w": "flax"})  # None: no matrix, so AdamW
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    PartitionState: under "dion2" Dion2State(count, mu, ns_coeffs) and stateless stages, under "adam" the state of `adamw`.
             Memory: 1 x the matrices, 2 x the rest.
    Cost     ns_steps (4 s^2 l + 2 s^3) FLOPs for a matrix of sides d <= l, of whose rows s = fraction d go out.
    Units    learning_rate has those of the norm of a linear map between vectors of RMS 1: by about it a layer's outputs move.
    Shapes   matrices (inputs, outputs) get Dion2; with weight_dimension_numbers the leaves that have some. Do not use it for
             embeddings and the last layer: say None of them.
    Sharded  inside `shard_map` the device's own part of a matrix counts as the matrix; under `jit` the whole does.
    Source   Ahn et al. 2025, arXiv:2512.16928.
    Differs  as `scale_by_dion2`.
    Raises   MissingArgumentError: no params. HyperparameterError: an argument out of range, an unknown shape_scale, no table of
             that name, no mesh for spread, spread names no axis of it.
    """
    if isinstance(ns_coeffs, str):
        polynomials("dion2", ns_coeffs, ns_steps)
    matrices = chain(
        scale_by_dion2(
            fraction, beta, ns_coeffs, ns_steps, eps, mu_dtype, weight_dimension_numbers=weight_dimension_numbers, spread=spread,
            wire=wire,
        ),
        scale_by_shape(weight_dimension_numbers, None, shape_scale),
        add_decayed_weights(weight_decay, weight_decay_mask),
        scale_by_learning_rate(learning_rate),
    )  # fmt: skip
    return with_adam(
        "dion2", matrices, weight_dimension_numbers, learning_rate, adam_learning_rate,
        adam_b1, adam_b2, eps, adam_eps_root, mu_dtype, adam_weight_decay, False,
    )  # fmt: skip
