"""KL-SOAP: Adam in the bases of KL-Shampoo's factors."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

import jax.numpy as jnp

from gradxform._numerics import abs_sq
from gradxform._types import (
    Array,
    Average,
    Clock,
    Decay,
    DType,
    Field,
    Hyper,
    MaskOrFn,
    NonNegative,
    Positive,
    Real,
    RealUpdates,
    Schedule,
    SpreadWithState,
    Updates,
    Whole,
    Wire,
)
from gradxform.core import chain, per_leaf
from gradxform.core._refresh import Every, Phase, Since, Start
from gradxform.core._roles import BlockSize, DimensionNumbers, MergeDims, Roles, Stacking
from gradxform.linear_algebra._kronecker import Matrices, along
from gradxform.optimizers._kl_shampoo import balanced, eigenvalues, first_bases, first_factors, next_factors, sides, turned
from gradxform.registry import optimizer, transform
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate


class KlSoapState(NamedTuple):
    """Adam's two means, in the bases; for each side of a matrix a factor, and nearly its eigenvectors as columns."""

    count: Clock
    mu: Annotated[Updates, Field(stored="mu_dtype", mean="b1")]
    nu: Annotated[RealUpdates, Field(mean="b2", nonnegative=True)]
    factors: Annotated[Any, Field("leaf", axes=sides, first=first_factors)]
    bases: Annotated[Any, Field("leaf", axes=sides, first=first_bases)]
    since: Since = None


def _turned(old: tuple[Array, Matrices], S: Matrices) -> tuple[Array, Matrices]:
    """The bases move on, and the mean with them."""
    mu, Q = old
    new = turned(Q, S)
    return along(along(mu, Q, transposed=True), new), new


@transform(source="Lin et al. 2025, arXiv:2509.03378", example={"every": 2})
@per_leaf(KlSoapState, stack=True, sees="tensor")
def scale_by_kl_soap(
    g, s, p, c,
    b1: Average = 0.95, b2: Decay = 0.95, shampoo_beta: Decay = 0.95, eps: NonNegative = 1e-8, mu_dtype: DType | None = None,
    *, init_factor: Positive = 0.1, max_precond_dim: Whole = 10000, block_size: BlockSize = None, merge_dims: MergeDims = None,
    every: Every = 2, start: Start = None, phase: Phase = "all", weight_dimension_numbers: Roles = None,
    spread: SpreadWithState = None, wire: Wire = jnp.bfloat16,
    stacked: Stacking = None,
):  # fmt: skip
    """Adam in the bases of KL-Shampoo's factors.

        The first g gives u = 0, and changes nothing. Of a matrix (m, n):
        G  = Q0* g Q1                           at first S = init_factor I, Q = I
        mu = b1 mu + (1 - b1) G
        nu = b2 nu + (1 - b2) |G|^2
        u  = sqrt(1 - b2^(t-1)) / (1 - b1^(t-1)) Q0 (mu / (sqrt(nu) + eps)) Q1*
        S  = b S + (1 - b) ...                  as in `scale_by_kl_shampoo`, with b = 1 - (1 - shampoo_beta) / (1 - shampoo_beta^t)
        Q  = qr(S Q)                            where it is due, as there; before it mu turns back, and after it into the new Q; nu stays

    Other leaves get the same without bases: Adam, one gradient late.

    Args:
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squared gradients stays at each update.
      shampoo_beta: how much of each side's factor stays at each update, once many have been.
      eps: added to the denominator, before what debiases; and the least eigenvalue that counts.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      init_factor: what the factors begin with, times the identity.
      max_precond_dim: an axis that is longer has no factor.
      block_size: cut every axis into blocks of that length, each with factors of its own; None: not at all.
      merge_dims: join neighbouring axes first, from the front, as long as they have no more elements together; None: none.
      every: at every how many updates the factors are refreshed; a schedule: the gap between two refreshes.
      start: the first update at which they are; None: every.
      phase: "all": at once; "spread": each update has its share of them, every needs to be a number.
      weight_dimension_numbers: which axes are a leaf's inputs and outputs, all others a batch of matrices; a leaf without any is a
        vector. `WeightDimensionNumbers`, "flax", "equinox", "conv"; one for all, patterns of paths, a tree, a function. None: a leaf
        is one tensor, all axes are alike.
      spread: the axis of the mesh, or a tuple of axes, over whose devices matrices are dealt out with all of their state; None:
        each is updated where it lives.
      wire: with spread, the dtype in which gradients and updates travel between devices; None: their own.
      stacked: hold matrices of one shape and role, each a leaf of its own, as one array, with copies of the last behind them up to
        a multiple of so many, and all state of theirs so; with spread, best the number of its devices. None: a leaf is held by
        itself; `transfer_state` goes from one to the other.

    >>> tx = gx.chain(gx.scale_by_kl_soap(every=10), gx.scale_by_learning_rate(3e-3))
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    count; mu, nu: like p, float32 or wider unless mu_dtype says otherwise, in the bases; factors, bases: for each leaf (of
             each block of it a tuple of) one square matrix per axis, None where there is none; since: with a schedule, the updates
             since a refresh. Memory: 2 x params, and 2 (m^2 + n^2) for a matrix (m, n).
    Cost     FLOPs for a matrix (m, n): 8 m n (m + n) + 2 (m^3 + n^3) a step; 4 m n (m + n) + 2 (m^3 + n^3) and a QR of each factor
             at a refresh.
    Units    u is dimensionless; the bases depend on init_factor, which has the units of |g|, as long as the factors have not
             forgotten it.
    Shapes   any; what has not two axes has no bases. Leaves and blocks of one shape are computed as one batch, with one conditional
             for their refreshes.
    Sharded  inside `shard_map` the device's own part of a leaf, or of a matrix, counts as the whole; under `jit` the whole does.
             With spread a matrix is updated on one device, with its state. Where the devices divide the number of matrices in a
             leaf, as of scanned layers or with stacked, the state rests there, as `state_shardings` places it, split by no other
             axis of the mesh, and only gradients, updates and parameters that are read travel: in bfloat16 as many bytes as the
             parameters have in float32. Those of other leaves are filled up to as many of a shape for each device, and their state
             travels there and back: several times as much. On an automatic mesh leave the axis in front whole in the parameters.
    Source   Lin et al. 2025, arXiv:2509.03378, with the factors of `scale_by_kl_shampoo`.
    Differs  the authors' file keeps running means of the eigenvalues and computes in bfloat16.
    Raises   HyperparameterError: b1 outside (-1, 1), b2 or shampoo_beta outside [0, 1), eps < 0, init_factor <= 0, max_precond_dim
             < 0, block_size or every < 1, stacked < 1, an unknown phase, no mesh for spread, spread names no axis of it.
             StructureError: roles that do not fit a leaf.
    """
    S, Q = s.factors, s.bases
    G = jnp.where(c.t > 1, along(g, Q), 0)
    mu = b1 * s.mu + (1 - b1) * G
    nu = b2 * s.nu + (1 - b2) * abs_sq(G)
    u = along(mu / (jnp.sqrt(nu) + eps), Q, transposed=True)
    u = c.debias(u, b1, ahead=-1) / jnp.sqrt(c.debias(jnp.ones((), nu.dtype), b2, ahead=-1))
    S = next_factors(c, g, S, Q, eigenvalues(S, Q, eps), shampoo_beta)
    if any(S_k is not None for S_k in S):
        mu, Q = c.refresh(_turned, (mu, Q), S)
    return u, s._replace(mu=mu, nu=nu, factors=balanced(S), bases=Q)


@optimizer(
    source="Lin et al. 2025, arXiv:2509.03378",
    example={"learning_rate": 0.1, "every": 2},
    rates={"default": 3e-3, "digits": 1e-2},
)
def kl_soap(
    learning_rate: Real[Hyper],
    b1: Average[Hyper] = 0.95,
    b2: Decay[Hyper] = 0.95,
    shampoo_beta: Decay[Hyper] = 0.95,
    eps: NonNegative[Hyper] = 1e-8,
    weight_decay: Real[Hyper] = 0.01,
    mask: MaskOrFn = None,
    mu_dtype: DType | None = None,
    *,
    init_factor: Positive[Hyper] = 0.1,
    max_precond_dim: int = 10000,
    block_size: int | None = None,
    merge_dims: int | None = None,
    every: int | Schedule = 2,
    start: int | None = None,
    phase: Literal["all", "spread"] = "all",
    weight_dimension_numbers: DimensionNumbers = None,
    spread: SpreadWithState = None,
    wire: Wire = jnp.bfloat16,
    stacked: Stacking = None,
):
    """KL-SOAP: AdamW in the bases of KL-Shampoo's factors.

        G  = Q0* g Q1                                       Q: nearly the eigenvectors of S0 = EMA(g S1^-1 g* / n), S1 = EMA(g* S0^-1 g / m)
        mu = b1 mu + (1 - b1) G
        nu = b2 nu + (1 - b2) |G|^2
        u  = -learning_rate (sqrt(1 - b2^t) / (1 - b1^t) Q0 (mu / (sqrt(nu) + eps)) Q1* + weight_decay p)       t from the second g

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squared gradients stays at each update.
      shampoo_beta: how much of each side's factor stays at each update, once many have been.
      eps: added to the denominator, before what debiases; and the least eigenvalue that counts.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      init_factor: what the factors begin with, times the identity.
      max_precond_dim: an axis that is longer has no factor.
      block_size: cut every axis into blocks of that length, each with factors of its own; None: not at all.
      merge_dims: join neighbouring axes first, from the front, as long as they have no more elements together; None: none.
      every: at every how many updates the factors are refreshed; a schedule: the gap between two refreshes.
      start: the first update at which they are; None: every.
      phase: "all": at once; "spread": each update has its share of them, every needs to be a number.
      weight_dimension_numbers: which axes are a leaf's inputs and outputs, all others a batch of matrices; a leaf without any is a
        vector. `WeightDimensionNumbers`, "flax", "equinox", "conv"; one for all, patterns of paths, a tree, a function. None: a leaf
        is one tensor, all axes are alike.
      spread: the axis of the mesh, or a tuple of axes, over whose devices matrices are dealt out with all of their state; None:
        each is updated where it lives.
      wire: with spread, the dtype in which gradients and updates travel between devices; None: their own.
      stacked: hold matrices of one shape and role, each a leaf of its own, as one array, with copies of the last behind them up to
        a multiple of so many, and all state of theirs so; with spread, best the number of its devices. None: a leaf is held by
        itself; `transfer_state` goes from one to the other.

    >>> tx = gx.kl_soap(3e-3, max_precond_dim=4096)         # an embedding's long axis has no factor
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    (KlSoapState(count, mu, nu, factors, bases, since), EmptyState(), EmptyState()), as `scale_by_kl_soap`. Memory: 2 x
             params, and 2 (m^2 + n^2) for a matrix (m, n).
    Cost     FLOPs for a matrix (m, n): 8 m n (m + n) + 2 (m^3 + n^3) a step; 4 m n (m + n) + 2 (m^3 + n^3) and a QR of each factor
             at a refresh.
    Units    learning_rate is in units of the parameters: a step's elements are about learning_rate, as Adam's. The first gives 0.
    Shapes   any, as `scale_by_kl_soap`.
    Sharded  inside `shard_map` the device's own part of a leaf, or of a matrix, counts as the whole; under `jit` the whole does.
             With spread a matrix is updated on one device, with its state, which rests there where the devices divide the number of
             matrices in a leaf, or of those stacked, and else travels there and back.
    Source   Lin et al. 2025, arXiv:2509.03378, with the factors of `kl_shampoo`.
    Differs  the authors' file decays the new parameters, and not at the first gradient. Here every update decays the old ones.
    Raises   HyperparameterError: b1 outside (-1, 1), b2 or shampoo_beta outside [0, 1), eps < 0, init_factor <= 0, block_size or
             every < 1, stacked < 1, an unknown phase, no mesh for spread, spread names no axis of it. StructureError: roles that do
             not fit a leaf.
    """
    return chain(
        scale_by_kl_soap(
            b1, b2, shampoo_beta, eps, mu_dtype, init_factor=init_factor, max_precond_dim=max_precond_dim, block_size=block_size,
            merge_dims=merge_dims, every=every, start=start, phase=phase, weight_dimension_numbers=weight_dimension_numbers,
            spread=spread, wire=wire, stacked=stacked,
        ),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )  # fmt: skip
