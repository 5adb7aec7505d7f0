"""KL-Shampoo: each side's factor is estimated through the inverse of the other's."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

import jax.numpy as jnp

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
    Positive,
    Real,
    RealUpdates,
    Schedule,
    Shape,
    SpreadWithState,
    Updates,
    Whole,
    Wire,
)
from gradxform.core import chain, per_leaf
from gradxform.core._engine import Context
from gradxform.core._refresh import Every, Phase, Since, Start
from gradxform.core._roles import BlockSize, DimensionNumbers, MergeDims, Roles, Stacking
from gradxform.linear_algebra._kronecker import Matrices, along, each, outer, squares, turned_basis
from gradxform.linear_algebra._products import matmul
from gradxform.optimizers._matrices import adam_direction, unless_matrix
from gradxform.registry import optimizer, transform
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate


def sides(shape: Shape, max_precond_dim: int) -> tuple[Axes | None, ...]:
    """The axes of the factors: of both sides of a matrix, if they are not too long."""
    return squares(shape, max_precond_dim if len(shape) == 2 else -1)


def first_factors(zero: Array, init_factor: float | Array, max_precond_dim: int) -> Matrices:
    return each(lambda _, n: init_factor * jnp.eye(n, dtype=zero.real.dtype), sides(zero.shape, max_precond_dim), zero.shape)


def first_bases(zero: Array, max_precond_dim: int) -> Matrices:
    return first_factors(zero, 1.0, max_precond_dim)


class KlShampooState(NamedTuple):
    """The mean of g, that of |g|^2 for what is no matrix; for each side a factor, and nearly its eigenvectors as columns."""

    count: Clock
    mu: Annotated[Updates, Field(stored="mu_dtype", mean="b1")]
    nu: Annotated[RealUpdates, Field(axes=unless_matrix, nonnegative=True, mean=lambda: 0.999)]
    factors: Annotated[Any, Field("leaf", axes=sides, first=first_factors)]
    bases: Annotated[Any, Field("leaf", axes=sides, first=first_bases)]
    since: Since = None


def eigenvalues(S: Matrices, Q: Matrices, eps: float | Array) -> Matrices:
    """diag(Q* S Q), at least eps."""
    return each(lambda S_k, Q_k: jnp.maximum(jnp.sum(Q_k.conj() * matmul(S_k, Q_k), 0).real, eps), S, Q)


def whitened(x: Array, Q: Matrices, D: Matrices) -> Array:
    """x in the bases Q, divided by the roots of D along each axis."""
    x = along(x, Q)
    for k, D_k in enumerate(D):
        x = x if D_k is None else x / jnp.sqrt(D_k).reshape([-1 if i == k else 1 for i in range(x.ndim)])
    return x


def next_factors(c: Context, g: Array, S: Matrices, Q: Matrices, D: Matrices, beta: Array) -> Matrices:
    """The factors with this gradient, each through the inverse of the other as it was; the first gradient changes nothing."""
    assert c.t is not None
    share = jnp.where(c.t > 1, c.debias(1 - beta, beta), 0)

    def of(S_k: Array, k: int) -> Array:
        other = lambda xs: tuple(None if i == k else x for i, x in enumerate(xs))
        return (1 - share) * S_k + share * outer(whitened(g, other(Q), other(D)), k) * (g.shape[k] / max(g.size, 1))

    return each(of, S, range(g.ndim))


def balanced(S: Matrices) -> Matrices:
    """Both factors multiplied so that their largest elements are equal; what they make together stays."""
    if len(S) != 2 or S[0] is None or S[1] is None:
        return S
    a, b = (jnp.max(jnp.abs(S_k), initial=0) for S_k in (S[0], S[1]))
    ratio = jnp.sqrt(jnp.where((a > 0) & (b > 0), b / jnp.where(a > 0, a, 1), 1))
    return S[0] * ratio, S[1] / ratio


def turned(Q: Matrices, S: Matrices) -> Matrices:
    """One step of the power iteration with each factor, the columns where they were."""

    def one(Q_k: Array, S_k: Array) -> Array:
        q, order = turned_basis(S_k, Q_k)
        return q[:, jnp.argsort(order)]

    return each(one, Q, S)


@transform(source="Lin et al. 2025, arXiv:2509.03378", example={"every": 2})
@per_leaf(KlShampooState, stack=True, sees="tensor")
def scale_by_kl_shampoo(
    g, s, p, c,
    b1: Average = 0.9, shampoo_beta: Decay = 0.95, eps: NonNegative = 1e-8, mu_dtype: DType | None = None,
    *, init_factor: Positive = 0.1, max_precond_dim: Whole = 10000, block_size: BlockSize = None, merge_dims: MergeDims = None,
    every: Every = 2, start: Start = None, phase: Phase = "all", weight_dimension_numbers: Roles = None,
    spread: SpreadWithState = None, wire: Wire = jnp.bfloat16,
    stacked: Stacking = None,
):  # fmt: skip
    """Multiply by inverse roots of the factors of the Kronecker product that is nearest to the second moments in divergence.

        The first g gives u = 0, and changes nothing. Of a matrix (m, n):
        mu = b1 mu + (1 - b1) g
        D  = max(diag(Q* S Q), eps)             for both sides; at first S = init_factor I, Q = I
        u  = Q0 D0^(-1/2) Q0* mu Q1 D1^(-1/2) Q1*
        S0 = b S0 + (1 - b) g Q1 D1^-1 Q1* g* / n           b = 1 - (1 - shampoo_beta) / (1 - shampoo_beta^t)
        S1 = b S1 + (1 - b) g* Q0 D0^-1 Q0* g / m
        Q  = qr(S Q)                            where it is due; the columns are taken in descending order of diag(Q* S Q), and put back
        S0, S1 are multiplied so that their largest elements are equal, and S0 x S1 stays

    Other leaves get Adam(b1, 0.999, eps), one gradient late.

    Args:
      b1: how much of the running mean of gradients stays at each update.
      shampoo_beta: how much of each side's factor stays at each update, once many have been.
      eps: the least eigenvalue that counts; for what is no matrix, added to Adam's denominator.
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

    >>> tx = gx.chain(gx.scale_by_kl_shampoo(every=10), gx.scale_by_learning_rate(3e-3))
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    count; mu: like p, float32 or wider unless mu_dtype says otherwise; nu: of leaves and blocks that are no matrix, like
             them but real; factors, bases: for each leaf (of each block of it a tuple of) one square matrix per axis, None where
             there is none; since: with a schedule, the updates since a refresh. Memory: 1 x params, and 2 (m^2 + n^2) for a matrix
             (m, n), 2 x for what is none.
    Cost     FLOPs for a matrix (m, n): 8 m n (m + n) + 2 (m^3 + n^3) a step; 2 (m^3 + n^3) and a QR of each factor at a refresh.
    Units    u is dimensionless once the factors have forgotten init_factor, which has the units of |g|.
    Shapes   any; what has not two axes gets Adam. Leaves and blocks of one shape are computed as one batch, with one conditional
             for their refreshes.
    Sharded  inside `shard_map` the device's own part of a leaf, or of a matrix, counts as the whole; under `jit` the whole does.
             With spread a matrix is updated on one device, with its state. Where the devices divide the number of matrices in a
             leaf, as of scanned layers or with stacked, the state rests there, as `state_shardings` places it, split by no other
             axis of the mesh, and only gradients, updates and parameters that are read travel: in bfloat16 as many bytes as the
             parameters have in float32. Those of other leaves are filled up to as many of a shape for each device, and their state
             travels there and back: several times as much. On an automatic mesh leave the axis in front whole in the parameters.
    Source   Lin et al. 2025, arXiv:2509.03378, in the form of HeavyBall.
    Differs  the authors' file keeps running means of the eigenvalues and computes in bfloat16.
    Raises   HyperparameterError: b1 outside (-1, 1), shampoo_beta outside [0, 1), eps < 0, init_factor <= 0, max_precond_dim < 0,
             block_size or every < 1, stacked < 1, an unknown phase, no mesh for spread, spread names no axis of it. StructureError:
             roles that do not fit a leaf.
    """
    g = jnp.where(c.t > 1, g, 0)
    mu = b1 * s.mu + (1 - b1) * g
    if g.ndim != 2:
        u, nu = adam_direction(c, g, mu, s.nu, b1, eps, late=1)
        return u, s._replace(mu=mu, nu=nu)
    S, Q = s.factors, s.bases
    D = eigenvalues(S, Q, eps)
    u = along(whitened(mu, Q, D), Q, transposed=True)
    S = next_factors(c, g, S, Q, D, shampoo_beta)
    if any(S_k is not None for S_k in S):
        Q = c.refresh(turned, Q, S)
    return u, s._replace(mu=mu, factors=balanced(S), bases=Q)


@optimizer(
    source="Lin et al. 2025, arXiv:2509.03378",
    example={"learning_rate": 0.1, "every": 2},
    rates={"default": 1e-2, "digits": 1e-2},
)
def kl_shampoo(
    learning_rate: Real[Hyper],
    b1: Average[Hyper] = 0.9,
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
    """KL-Shampoo: Shampoo whose factors are those of the Kronecker product that is nearest to the second moments in divergence.

        S0 = EMA(g S1^-1 g* / n)                S1 = EMA(g* S0^-1 g / m)
        u  = -learning_rate (S0^(-1/2) EMA(g) S1^(-1/2) + weight_decay p)

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of gradients stays at each update.
      shampoo_beta: how much of each side's factor stays at each update, once many have been.
      eps: the least eigenvalue that counts; for what is no matrix, added to Adam's denominator.
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

    >>> tx = gx.kl_shampoo(3e-3, max_precond_dim=4096)      # an embedding's long axis has no factor
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    (KlShampooState(count, mu, nu, factors, bases, since), EmptyState(), EmptyState()), as `scale_by_kl_shampoo`. Memory: 1
             x params, and 2 (m^2 + n^2) for a matrix (m, n), 2 x for what is none.
    Cost     FLOPs for a matrix (m, n): 8 m n (m + n) + 2 (m^3 + n^3) a step; 2 (m^3 + n^3) and a QR of each factor at a refresh.
    Units    learning_rate is in units of the parameters: a step's elements are about learning_rate, as Adam's. The first gives 0.
    Shapes   any, as `scale_by_kl_shampoo`.
    Sharded  inside `shard_map` the device's own part of a leaf, or of a matrix, counts as the whole; under `jit` the whole does.
             With spread a matrix is updated on one device, with its state, which rests there where the devices divide the number of
             matrices in a leaf, or of those stacked, and else travels there and back.
    Source   Lin et al. 2025, arXiv:2509.03378, in the form of HeavyBall.
    Differs  HeavyBall decays the new parameters, and not at the first gradient. Here every update decays the old ones.
    Raises   HyperparameterError: b1 outside (-1, 1), shampoo_beta outside [0, 1), eps < 0, init_factor <= 0, block_size or every <
             1, stacked < 1, an unknown phase, no mesh for spread, spread names no axis of it. StructureError: roles that do not fit
             a leaf.
    """
    return chain(
        scale_by_kl_shampoo(
            b1, shampoo_beta, eps, mu_dtype, init_factor=init_factor, max_precond_dim=max_precond_dim, block_size=block_size,
            merge_dims=merge_dims, every=every, start=start, phase=phase, weight_dimension_numbers=weight_dimension_numbers,
            spread=spread, wire=wire, stacked=stacked,
        ),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )  # fmt: skip
