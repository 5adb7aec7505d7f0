"""SPlus: the sign of the momentum in the eigenbasis of Shampoo's factors."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

import jax
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
    LeafNumbers,
    MaskOrFn,
    NonNegative,
    OptState,
    Params,
    Real,
    Schedule,
    Shape,
    SpreadWithState,
    Updates,
    Whole,
    Wire,
)
from gradxform.core import chain, per_leaf
from gradxform.core._evaluate import After
from gradxform.core._holes import is_array, is_gap
from gradxform.core._refresh import Every, Phase, Since, Start
from gradxform.core._roles import DimensionNumbers, Roles, Stacking
from gradxform.linear_algebra._kronecker import Matrices, along, each, first_basis, outer, squares
from gradxform.registry import optimizer, transform
from gradxform.transforms import scale_by_learning_rate


def _sides(shape: Shape, max_precond_dim: int) -> tuple[Axes | None, ...]:
    """The axes of the factors: of both sides of a matrix, if none is too long."""
    return squares(shape, None if len(shape) == 2 and max(shape) <= max_precond_dim else -1)


def _first_bases(zero: Array, max_precond_dim: int) -> Matrices:
    return each(lambda _, n: jnp.eye(n, dtype=zero.dtype), _sides(zero.shape, max_precond_dim), zero.shape)


class SPlusState(NamedTuple):
    """The mean of g, the sum of the parameters' average; for each side of a matrix a factor, and its eigenvectors as columns."""

    count: Clock
    mu: Annotated[Updates, Field(stored="mu_dtype", mean="b1")]
    ema: Updates
    factors: Annotated[Any, Field("leaf", axes=_sides)]
    bases: Annotated[Any, Field("leaf", axes=_sides, first=_first_bases)]
    since: Since = None


def _new_bases(old: Matrices, L: Matrices, eps: float | Array) -> Matrices:
    return each(lambda L_k: first_basis(L_k + (eps * jnp.eye(len(L_k), dtype=L_k.real.dtype)).astype(L_k.dtype)), L)


def _average(params: Params, s: OptState, after: After, ema_decay: Decay) -> Params:
    """The average of the parameters before each update so far; before the first, these."""

    def at(p: Array, ema: Array) -> Array:
        if not is_array(p):
            return p
        k, rest = s.count.astype(ema.real.dtype), jnp.asarray(1 - ema_decay, ema.real.dtype)
        return jnp.where(k > 0, ema / -jnp.expm1(k * jnp.log1p(-rest)).astype(ema.dtype), p)

    return jax.tree.map(at, params, s.ema, is_leaf=is_gap)


@transform(source="Frans et al. 2025, arXiv:2506.07254", example={"every": 2}, homogeneity=0, null_space=True)
@per_leaf(SPlusState, stack=True, sees="tensor", needs=("params",), evaluate=_average, averages=True)
def scale_by_splus(
    g, s, p, c,
    b1: Average = 0.9, b2: Decay = 0.999, eps: NonNegative = 1e-30, weight_decay: Real = 0.0, mask: LeafNumbers = None,
    mu_dtype: DType | None = None,
    *, ema_decay: Decay = 0.999, nonstandard_scale: Real = 1e-3, max_precond_dim: Whole = 10000, every: Every = 100, start: Start = 1,
    phase: Phase = "all", weight_dimension_numbers: Roles = None, spread: SpreadWithState = None, wire: Wire = jnp.bfloat16,
    stacked: Stacking = None,
):  # fmt: skip
    """Take the sign of the momentum in the eigenbasis of Shampoo's factors, and average the parameters.

        mu  = b1 mu + (1 - b1) g
        u   = 2 / (m + n) (Q0 sign(Q0* mu Q1) Q1* + weight_decay p)         of a matrix (m, n); at first Q = I
            = nonstandard_scale (sign(mu) + weight_decay p)                 of what is none, or has a side that is too long
        ema = ema_decay ema + (1 - ema_decay) p
        L   = b2 L + (1 - b2) G G*              for both sides, G: g, its transpose
        Q   = eigenvectors(L + eps I)           where it is due

    `eval_params` gives ema / (1 - ema_decay^t).

    Args:
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of each side's factor stays at each update.
      eps: added to the factors' diagonals before their eigenvectors are taken.
      weight_decay: the part of the parameters that is added to the direction, before both are scaled.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      ema_decay: how much of the average of the parameters stays at each update.
      nonstandard_scale: the size of the step of what is no matrix, or has a side that is too long.
      max_precond_dim: a matrix with a longer side has no factors.
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

    >>> tx = gx.chain(gx.scale_by_splus(), gx.scale_by_learning_rate(0.1))
    >>> updates, state = tx.update(grads, tx.init(params), params)
    >>> average = gx.eval_params(tx, state, params)

    State    count; mu, ema: like p, float32 or wider unless mu_dtype says otherwise; factors, bases: for each leaf one square
             matrix per axis, None where there is none; since: with a schedule, the updates since a refresh. Memory: 2 x params, and
             2 (m^2 + n^2) for a matrix (m, n).
    Cost     FLOPs for a matrix (m, n): 6 m n (m + n) a step; an eigendecomposition of each factor at a refresh.
    Units    u is dimensionless: scaling every gradient by k > 0 leaves u unchanged. A rate serves matrices of every width.
    Shapes   any; what has not two axes has no bases. Matrices of one shape are computed as one batch, with one conditional for
             their refreshes.
    Sharded  inside `shard_map` the device's own part of a leaf, or of a matrix, counts as the whole; under `jit` the whole does.
             With spread a matrix is updated on one device, with its state. Where the devices divide the number of matrices in a
             leaf, as of scanned layers or with stacked, the state rests there, as `state_shardings` places it, split by no other
             axis of the mesh, and only gradients, updates and parameters that are read travel: in bfloat16 as many bytes as the
             parameters have in float32. Those of other leaves are filled up to as many of a shape for each device, and their state
             travels there and back: several times as much. On an automatic mesh leave the axis in front whole in the parameters.
    Masks    weight_decay is left out where the mask is False; leaves that a pattern leaves out are decayed.
    Source   Frans et al. 2025, arXiv:2506.07254, in the order of the authors' JAX file.
    Differs  parameters are not told apart by names such as 'embed': use max_precond_dim, or roles. Where a factor is singular, as
             the larger one of a matrix that is not square is after one gradient, its eigenvectors of 0 are what rounding makes of
             them, in the authors' file too.
    Raises   MissingArgumentError: no params. HyperparameterError: b1 outside (-1, 1), b2 or ema_decay outside [0, 1), eps < 0,
             max_precond_dim < 0, every < 1, stacked < 1, an unknown phase, no mesh for spread, spread names no axis of it.
             StructureError: roles that do not fit a leaf.
    """
    L, Q = s.factors, s.bases
    is_standard = any(Q_k is not None for Q_k in Q)
    mu = b1 * s.mu + (1 - b1) * g
    scale = 2 / max(sum(g.shape), 1) if is_standard else nonstandard_scale
    u = scale * (along(jnp.sign(along(mu, Q)), Q, transposed=True) + weight_decay * c.mask * p)
    ema = ema_decay * s.ema + (1 - ema_decay) * p
    L = each(lambda L_k, k: b2 * L_k + (1 - b2) * outer(g, k), L, range(g.ndim))
    if is_standard:
        Q = c.refresh(_new_bases, Q, L, eps)
    return u, s._replace(mu=mu, ema=ema, factors=L, bases=Q)


@optimizer(
    source="Frans et al. 2025, arXiv:2506.07254",
    example={"learning_rate": 0.1, "every": 2},
    homogeneity=0,
    rates={"default": 1e-1, "digits": 3e-1},
    null_space=True,
)
def splus(
    learning_rate: Real[Hyper],
    b1: Average[Hyper] = 0.9,
    b2: Decay[Hyper] = 0.999,
    eps: NonNegative[Hyper] = 1e-30,
    weight_decay: Real[Hyper] = 0.01,
    mask: MaskOrFn = None,
    mu_dtype: DType | None = None,
    *,
    ema_decay: Decay[Hyper] = 0.999,
    nonstandard_scale: Real[Hyper] = 1e-3,
    max_precond_dim: int = 10000,
    every: int | Schedule = 100,
    start: int | None = 1,
    phase: Literal["all", "spread"] = "all",
    weight_dimension_numbers: DimensionNumbers = None,
    spread: SpreadWithState = None,
    wire: Wire = jnp.bfloat16,
    stacked: Stacking = None,
):
    """SPlus: the sign of the momentum in the eigenbasis of Shampoo's factors, and an average of the parameters to evaluate with.

        mu = b1 mu + (1 - b1) g
        u  = -learning_rate 2 / (m + n) (Q0 sign(Q0* mu Q1) Q1* + weight_decay p)       Q: the eigenvectors of EMA(g g*), EMA(g* g)
           = -learning_rate nonstandard_scale (sign(mu) + weight_decay p)               of what is no matrix

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of each side's factor stays at each update.
      eps: added to the factors' diagonals before their eigenvectors are taken.
      weight_decay: decoupled decay: the part of the parameters, times the size of a step, that is taken away at each update.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      ema_decay: how much of the average of the parameters stays at each update.
      nonstandard_scale: the size of the step of what is no matrix, or has a side that is too long.
      max_precond_dim: a matrix with a longer side has no factors.
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

    >>> tx = gx.splus(0.1)
    >>> updates, state = tx.update(grads, tx.init(params), params)
    >>> average = gx.eval_params(tx, state, params)

    State    (SPlusState(count, mu, ema, factors, bases, since), EmptyState()), as `scale_by_splus`. Memory: 2 x params, and 2 (m^2
             + n^2) for a matrix (m, n).
    Cost     FLOPs for a matrix (m, n): 6 m n (m + n) a step; an eigendecomposition of each factor at a refresh.
    Units    learning_rate, times 2 / (m + n) or nonstandard_scale, is in units of the parameters: the root mean square of a step.
    Shapes   any, as `scale_by_splus`.
    Sharded  inside `shard_map` the device's own part of a leaf, or of a matrix, counts as the whole; under `jit` the whole does.
             With spread a matrix is updated on one device, with its state, which rests there where the devices divide the number of
             matrices in a leaf, or of those stacked, and else travels there and back.
    Masks    weight_decay is left out where the mask is False; leaves that a pattern leaves out are decayed.
    Source   Frans et al. 2025, arXiv:2506.07254, in the order of the authors' JAX file.
    Differs  as `scale_by_splus`; the authors' PyTorch file decays the new parameters.
    Raises   MissingArgumentError: no params. HyperparameterError: b1 outside (-1, 1), b2 or ema_decay outside [0, 1), eps < 0,
             every < 1, stacked < 1, an unknown phase, no mesh for spread, spread names no axis of it. StructureError: roles that do
             not fit a leaf.
    """
    return chain(
        scale_by_splus(
            b1, b2, eps, weight_decay, mask, mu_dtype, ema_decay=ema_decay, nonstandard_scale=nonstandard_scale,
            max_precond_dim=max_precond_dim, every=every, start=start, phase=phase, weight_dimension_numbers=weight_dimension_numbers,
            spread=spread, wire=wire, stacked=stacked,
        ),
        scale_by_learning_rate(learning_rate),
    )  # fmt: skip
