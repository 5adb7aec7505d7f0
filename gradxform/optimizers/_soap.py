"""SOAP: Adam in the eigenbasis of Shampoo's factors."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

import jax.numpy as jnp

from gradxform._numerics import abs_sq
from gradxform._types import (
    Array,
    Average,
    Axes,
    Clock,
    Decay,
    DType,
    Field,
    Hyper,
    MaskOrFn,
    NonNegative,
    Real,
    RealUpdates,
    Schedule,
    Shape,
    SpreadWithState,
    Tree,
    Updates,
    Whole,
    Wire,
)
from gradxform.core import chain, per_leaf
from gradxform.core._refresh import Every, Phase, Since, Start
from gradxform.core._roles import BlockSize, DimensionNumbers, MergeDims, Roles, Stacking
from gradxform.linear_algebra._kronecker import Matrices, along, each, first_basis, outer, squares, turned_basis
from gradxform.registry import optimizer, transform
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate


def _bases(shape: Shape, max_precond_dim: int, precondition_1d: bool = False) -> tuple[Axes | None, ...]:
    return squares(shape, max_precond_dim if len(shape) > 1 or precondition_1d else 0)


class SoapState(NamedTuple):
    """Adam's two means, in the bases; for each axis a factor, and its eigenvectors as columns."""

    count: Clock
    mu: Annotated[Updates, Field(stored="mu_dtype", mean="b1")]
    nu: Annotated[RealUpdates, Field(mean="b2", nonnegative=True)]
    factors: Annotated[Any, Field("leaf", axes=_bases)]
    bases: Annotated[Any, Field("leaf", axes=_bases)]
    since: Since = None


def _begun(old: Tree, L: Matrices, tie_break: float | Array) -> Tree:
    mu, nu, _ = old
    return mu, nu, each(lambda L_k: first_basis(L_k, tie_break), L)


def _turned(old: Tree, L: Matrices, _: float | Array) -> Tree:
    """The bases move on, and the means with them."""
    mu, nu, Q = old
    mu, new = along(mu, Q, transposed=True), list(Q)
    for k, (L_k, Q_k) in enumerate(zip(L, Q, strict=True)):
        if L_k is not None and Q_k is not None:
            new[k], order = turned_basis(L_k, Q_k)
            nu = jnp.take(nu, order, k)
    return along(mu, new), nu, tuple(new)


@transform(source="Vyas et al. 2024, arXiv:2409.11321", example={"eps": 1e-30, "every": 2}, homogeneity=0, null_space=True)
@per_leaf(SoapState, stack=True, sees="tensor")
def scale_by_soap(
    g, s, p, c,
    b1: Average = 0.95, b2: Decay = 0.95, shampoo_beta: Decay | None = None, eps: NonNegative = 1e-8, mu_dtype: DType | None = None,
    *, precondition_1d: bool = False, normalize_grads: bool = False, bias_correction: bool = True, max_precond_dim: Whole = 10000,
    block_size: BlockSize = None, merge_dims: MergeDims = None, every: Every = 10, start: Start = None, phase: Phase = "all",
    tie_break: NonNegative = 0.0, weight_dimension_numbers: Roles = None, spread: SpreadWithState = None, wire: Wire = jnp.bfloat16,
    stacked: Stacking = None,
):  # fmt: skip
    """Adam in the eigenbasis of Shampoo's factors.

        The first g gives u = 0 and, for each axis k, L = (1 - shampoo_beta) G G* and the basis Q = eigenvectors(L). G: mat_k(g).
        G  = Q0* g Q1                           and so on, for every axis that has a basis
        mu = b1 mu + (1 - b1) G
        nu = b2 nu + (1 - b2) |G|^2
        u  = Q0 (mu / (sqrt(nu) + eps)) Q1*     u = u / rms(u) if normalize_grads
        u  = u sqrt(1 - b2^t) / (1 - b1^t)      t counts from the second g; not without bias_correction
        L  = shampoo_beta L + (1 - shampoo_beta) mat_k(g) mat_k(g)*
        Q  = qr(L Q)                            where it is due; before it mu turns back, and after it into the new Q; the columns of
                                                Q and nu along k are sorted by diag(Q* L Q) first, the largest in front

    Args:
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squared gradients stays at each update.
      shampoo_beta: how much of each axis's factor stays at each update; None: b2.
      eps: added to the denominator, after the square root, before what debiases.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      precondition_1d: whether a vector has a basis, too.
      normalize_grads: divide what comes back from the bases by its root mean square.
      bias_correction: multiply by sqrt(1 - b2^t) / (1 - b1^t).
      max_precond_dim: an axis that is longer has no factor.
      block_size: cut every axis into blocks of that length, each with factors of its own; None: not at all.
      merge_dims: join neighbouring axes first, from the front, as long as they have no more elements together; None: none.
      every: at every how many updates the factors are refreshed; a schedule: the gap between two refreshes.
      start: the first update at which they are; None: every.
      phase: "all": at once; "spread": each update has its share of them, every needs to be a number.
      tie_break: the first factor gets this part of its mean eigenvalue times diag(1..n) / n, which orders its null space.
      weight_dimension_numbers: which axes are a leaf's inputs and outputs, all others a batch of matrices; a leaf without any is a
        vector. `WeightDimensionNumbers`, "flax", "equinox", "conv"; one for all, patterns of paths, a tree, a function. None: a leaf
        is one tensor, all axes are alike.
      spread: the axis of the mesh, or a tuple of axes, over whose devices matrices are dealt out with all of their state; None:
        each is updated where it lives.
      wire: with spread, the dtype in which gradients and updates travel between devices; None: their own.
      stacked: hold matrices of one shape and role, each a leaf of its own, as one array, with copies of the last behind them up to
        a multiple of so many, and all state of theirs so; with spread, best the number of its devices. None: a leaf is held by
        itself; `transfer_state` goes from one to the other.

    >>> tx = gx.chain(gx.scale_by_soap(every=10), gx.scale_by_learning_rate(3e-3))
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    count; mu, nu: like p, float32 or wider unless mu_dtype says otherwise, in the bases; factors, bases: for each leaf (of each
             block of it a tuple of) one square matrix per axis, None where there is none; since: with a schedule, the updates since a
             refresh. Memory: 2 x params, and 2 (m^2 + n^2) for a matrix (m, n).
    Cost     FLOPs for a matrix (m, n): 6 m n (m + n) a step; 4 m n (m + n) + 4 (m^3 + n^3) and a QR of each factor at a refresh.
    Units    u is dimensionless: scaling every gradient by k > 0 leaves u unchanged (eps -> 0).
    Shapes   any. A vector, a number, and an axis longer than max_precond_dim have no basis; where none has, this is Adam, one gradient
             late. Leaves and blocks of one shape are computed as one batch, with one conditional for their refreshes.
    Sharded  inside `shard_map` the device's own part of a leaf, or of a matrix, counts as the whole; under `jit` the whole does.
             With spread a matrix is updated on one device, with its state. Where the devices divide the number of matrices in a
             leaf, as of scanned layers or with stacked, the state rests there, as `state_shardings` places it, split by no other
             axis of the mesh, and only gradients, updates and parameters that are read travel: in bfloat16 as many bytes as the
             parameters have in float32. Those of other leaves are filled up to as many of a shape for each device, and their state
             travels there and back: several times as much. On an automatic mesh leave the axis in front whole in the parameters.
    Source   Vyas et al. 2024, arXiv:2409.11321, in the order of the authors' file.
    Differs  the authors' file decays the new parameters, here a decay is a stage of its own; tie_break. Where a factor is singular, as
             the larger one of a matrix that is not square is after one gradient, its eigenvectors of 0 are what rounding makes of
             them, in the authors' file too: with tie_break=1e-6 every machine finds the same.
    Raises   HyperparameterError: b1 outside (-1, 1), b2 or shampoo_beta outside [0, 1), eps < 0, max_precond_dim < 0, block_size or
             every < 1, stacked < 1, an unknown phase, no mesh for spread, spread names no axis of it. StructureError: roles that do
             not fit a leaf.
    """
    b3 = b2 if shampoo_beta is None else shampoo_beta
    L, Q = s.factors, s.bases
    G = jnp.where(c.t > 1, along(g, Q), 0)
    mu = b1 * s.mu + (1 - b1) * G
    nu = b2 * s.nu + (1 - b2) * abs_sq(G)
    u = along(mu / (jnp.sqrt(nu) + eps), Q, transposed=True)
    if normalize_grads:
        u = u / (1e-30 + jnp.sqrt(jnp.mean(abs_sq(u))))
    if bias_correction:
        u = c.debias(u, b1, ahead=-1) / jnp.sqrt(c.debias(jnp.ones((), nu.dtype), b2, ahead=-1))
    L = each(lambda L_k, k: b3 * L_k + (1 - b3) * outer(g, k), L, range(g.ndim))
    if any(Q_k is not None for Q_k in Q):
        mu, nu, Q = c.refresh(_turned, (mu, nu, Q), L, tie_break, at=c.t - 1, instead=[(c.t == 1, _begun)])
    return u, s._replace(mu=mu, nu=nu, factors=L, bases=Q)


@optimizer(
    source="Vyas et al. 2024, arXiv:2409.11321",
    example={"learning_rate": 0.1, "eps": 1e-30, "every": 2},
    homogeneity=0,
    rates={"default": 3e-3, "digits": 1e-2},
    null_space=True,
)
def soap(
    learning_rate: Real[Hyper],
    b1: Average[Hyper] = 0.95,
    b2: Decay[Hyper] = 0.95,
    shampoo_beta: Decay[Hyper] | None = None,
    eps: NonNegative[Hyper] = 1e-8,
    weight_decay: Real[Hyper] = 0.01,
    mask: MaskOrFn = None,
    mu_dtype: DType | None = None,
    *,
    precondition_1d: bool = False,
    normalize_grads: bool = False,
    bias_correction: bool = True,
    max_precond_dim: int = 10000,
    block_size: int | None = None,
    merge_dims: int | None = None,
    every: int | Schedule = 10,
    start: int | None = None,
    phase: Literal["all", "spread"] = "all",
    tie_break: NonNegative[Hyper] = 0.0,
    weight_dimension_numbers: DimensionNumbers = None,
    spread: SpreadWithState = None,
    wire: Wire = jnp.bfloat16,
    stacked: Stacking = None,
):
    """SOAP: AdamW in the eigenbasis of Shampoo's factors.

        G  = Q0* g Q1                                       Q: the eigenvectors of L = EMA(mat_k(g) mat_k(g)*), k = 0, 1
        mu = b1 mu + (1 - b1) G
        nu = b2 nu + (1 - b2) |G|^2
        u  = -learning_rate (sqrt(1 - b2^t) / (1 - b1^t) Q0 (mu / (sqrt(nu) + eps)) Q1* + weight_decay p)

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squared gradients stays at each update.
      shampoo_beta: how much of each axis's factor stays at each update; None: b2.
      eps: added to the denominator, after the square root, before what debiases.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      precondition_1d: whether a vector has a basis, too.
      normalize_grads: divide what comes back from the bases by its root mean square.
      bias_correction: multiply by sqrt(1 - b2^t) / (1 - b1^t).
      max_precond_dim: an axis that is longer has no factor.
      block_size: cut every axis into blocks of that length, each with factors of its own; None: not at all.
      merge_dims: join neighbouring axes first, from the front, as long as they have no more elements together; None: none.
      every: at every how many updates the factors are refreshed; a schedule: the gap between two refreshes.
      start: the first update at which they are; None: every.
      phase: "all": at once; "spread": each update has its share of them, every needs to be a number.
      tie_break: the first factor gets this part of its mean eigenvalue times diag(1..n) / n, which orders its null space.
      weight_dimension_numbers: which axes are a leaf's inputs and outputs, all others a batch of matrices; a leaf without any is a
        vector. `WeightDimensionNumbers`, "flax", "equinox", "conv"; one for all, patterns of paths, a tree, a function. None: a leaf
        is one tensor, all axes are alike.
      spread: the axis of the mesh, or a tuple of axes, over whose devices matrices are dealt out with all of their state; None:
        each is updated where it lives.
      wire: with spread, the dtype in which gradients and updates travel between devices; None: their own.
      stacked: hold matrices of one shape and role, each a leaf of its own, as one array, with copies of the last behind them up to
        a multiple of so many, and all state of theirs so; with spread, best the number of its devices. None: a leaf is held by
        itself; `transfer_state` goes from one to the other.

    >>> tx = gx.soap(3e-3, max_precond_dim=4096)            # an embedding's long axis has no factor
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    (SoapState(count, mu, nu, factors, bases, since), EmptyState(), EmptyState()), as `scale_by_soap`. Memory: 2 x params, and
             2 (m^2 + n^2) for a matrix (m, n).
    Cost     FLOPs for a matrix (m, n): 6 m n (m + n) a step; 4 m n (m + n) + 4 (m^3 + n^3) and a QR of each factor at a refresh.
    Units    learning_rate is in units of the parameters: a step's elements are about learning_rate, as Adam's. The first gives 0.
    Shapes   any, as `scale_by_soap`.
    Sharded  inside `shard_map` the device's own part of a leaf, or of a matrix, counts as the whole; under `jit` the whole does.
             With spread a matrix is updated on one device, with its state, which rests there where the devices divide the number of
             matrices in a leaf, or of those stacked, and else travels there and back.
    Source   Vyas et al. 2024, arXiv:2409.11321, in the order of the authors' file.
    Differs  the authors' file decays the new parameters, and not at the first gradient. Here every update decays the old ones.
    Raises   HyperparameterError: b1 outside (-1, 1), b2 or shampoo_beta outside [0, 1), eps < 0, block_size or every < 1, stacked <
             1, an unknown phase, no mesh for spread, spread names no axis of it. StructureError: roles that do not fit a leaf.
    """
    return chain(
        scale_by_soap(
            b1, b2, shampoo_beta, eps, mu_dtype, precondition_1d=precondition_1d, normalize_grads=normalize_grads,
            bias_correction=bias_correction, max_precond_dim=max_precond_dim, block_size=block_size, merge_dims=merge_dims,
            every=every, start=start, phase=phase, tie_break=tie_break, weight_dimension_numbers=weight_dimension_numbers,
            spread=spread, wire=wire, stacked=stacked,
        ),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )  # fmt: skip
