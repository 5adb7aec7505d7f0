"""ASGO: one-sided Shampoo."""

from __future__ import annotations

import functools
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
    Updates,
    Wire,
)
from gradxform.core import chain, per_leaf
from gradxform.core._refresh import Every, Phase, Since, Start
from gradxform.core._roles import DimensionNumbers, Roles, Stacking
from gradxform.linear_algebra._kronecker import along, outer
from gradxform.linear_algebra._roots import Roots as Method
from gradxform.linear_algebra._roots import by_eigenvalues, inverse_power
from gradxform.optimizers._matrices import adam_direction, unless_matrix
from gradxform.registry import optimizer, transform
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate


def _shorter(shape: Shape) -> int:
    return 0 if shape[0] <= shape[1] else 1


def _square(shape: Shape) -> Axes | None:
    """The axes of the factor: of the shorter side of a matrix."""
    return Axes(_shorter(shape), _shorter(shape)) if len(shape) == 2 else None


def _first_root(zero: Array) -> Array | None:
    return jnp.eye(min(zero.shape), dtype=zero.dtype) if zero.ndim == 2 else None


class AsgoState(NamedTuple):
    """The mean of g, that of |g|^2 for what is no matrix; the factor of a matrix's shorter side, and its inverse root."""

    count: Clock
    mu: Annotated[Updates, Field(stored="mu_dtype", mean="b1")]
    nu: Annotated[RealUpdates, Field(axes=unless_matrix, nonnegative=True, mean=lambda: 0.999)]
    factor: Annotated[Any, Field("leaf", axes=_square)]
    root: Annotated[Any, Field("leaf", axes=_square, first=_first_root)]
    since: Since = None


def _rooted(method: Method, old: Array, V: Array, eps: float | Array) -> Array:
    if method == "eigh":
        return by_eigenvalues(lambda w: 1 / (jnp.sqrt(w) + eps), V)
    return inverse_power(V, 1 / 2, method, eps * eps)


@transform(source="An et al. 2025, arXiv:2503.20762", example={"eps": 1e-30, "every": 2}, homogeneity=0)
@per_leaf(AsgoState, stack=True, sees="tensor")
def scale_by_asgo(
    g, s, p, c,
    b1: Average = 0.9, b2: Decay = 0.8, eps: NonNegative = 1e-10, mu_dtype: DType | None = None,
    *, consistent_rms: NonNegative | None = 0.2, roots: Method = "eigh", every: Every = 1, start: Start = 1, phase: Phase = "all",
    weight_dimension_numbers: Roles = None, spread: SpreadWithState = None, wire: Wire = jnp.bfloat16,
    stacked: Stacking = None,
):  # fmt: skip
    """Multiply by the inverse root of Shampoo's factor of the shorter side.

        mu = b1 mu + (1 - b1) g
        V  = b2 V + (1 - b2) g g*               of a matrix (m, n), m <= n; else g* g
        X  = (V^(1/2) + eps I)^-1               where it is due; by products (V + eps^2 I)^(-1/2)
        u  = X mu                               of the other side mu X
        u  = consistent_rms u / rms(u)          not if None

    Other leaves get Adam(b1, 0.999, 1e-8).

    Args:
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the factor stays at each update.
      eps: added to the root of the factor before it is inverted.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      consistent_rms: the root mean square of every matrix's step, in units of the rate; None: it is as long as it comes.
      roots: how roots are found: "eigh", by eigenvectors, or by products alone, "newton" or "newton_db".
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

    >>> tx = gx.chain(gx.scale_by_asgo(every=10), gx.scale_by_learning_rate(0.01))
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    count; mu: like p, float32 or wider unless mu_dtype says otherwise; nu: of leaves that are no matrix, like them but
             real; factor, root: for each matrix one that is square in its shorter side; since: with a schedule, the updates since a
             refresh. Memory: 1 x params, and 2 min(m, n)^2 for a matrix (m, n), 2 x for what is none.
    Cost     FLOPs for a matrix (m, n): 4 m n min(m, n) a step; 2 min(m, n)^3 and an eigendecomposition of the factor at a refresh,
             by products 8 min(m, n)^3 for each iteration.
    Units    u is dimensionless: scaling every gradient by k > 0 leaves u unchanged (eps -> 0).
    Shapes   any; what has not two axes gets Adam. Matrices of one shape are computed as one batch, with one conditional for their
             refreshes.
    Sharded  inside `shard_map` the device's own part of a leaf, or of a matrix, counts as the whole; under `jit` the whole does.
             With spread a matrix is updated on one device, with its state. Where the devices divide the number of matrices in a
             leaf, as of scanned layers or with stacked, the state rests there, as `state_shardings` places it, split by no other
             axis of the mesh, and only gradients, updates and parameters that are read travel: in bfloat16 as many bytes as the
             parameters have in float32. Those of other leaves are filled up to as many of a shape for each device, and their state
             travels there and back: several times as much. On an automatic mesh leave the axis in front whole in the parameters.
    Source   An et al. 2025, arXiv:2503.20762, Algorithm 1, with a running mean in the place of the sum.
    Differs  eigenvalues of the factor count as no less than rounding makes of 0, n 2^-23 of the largest in float32. A root that is
             not finite is not taken: the old one stays.
    Raises   HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps < 0, consistent_rms < 0, no such way to roots, every <
             1, stacked < 1, an unknown phase, no mesh for spread, spread names no axis of it. StructureError: roles that do not fit
             a leaf.
    """
    mu = b1 * s.mu + (1 - b1) * g
    if g.ndim != 2:
        u, nu = adam_direction(c, g, mu, s.nu, b1, 1e-8)
        return u, s._replace(mu=mu, nu=nu)
    k = _shorter(g.shape)
    V = b2 * s.factor + (1 - b2) * outer(g, k)
    X = c.refresh(functools.partial(_rooted, roots), s.root, V, eps)
    u = along(mu, (X, None) if k == 0 else (None, X), transposed=True)
    if consistent_rms is not None:
        size = jnp.sqrt(jnp.mean(abs_sq(u)))
        u = consistent_rms * u / jnp.where(size > 0, size, 1)
    return u, s._replace(mu=mu, factor=V, root=X)


@optimizer(
    source="An et al. 2025, arXiv:2503.20762",
    example={"learning_rate": 0.1, "eps": 1e-30, "every": 2},
    homogeneity=0,
    rates={"default": 1e-2, "digits": 3e-2},
)
def asgo(
    learning_rate: Real[Hyper],
    b1: Average[Hyper] = 0.9,
    b2: Decay[Hyper] = 0.8,
    eps: NonNegative[Hyper] = 1e-10,
    weight_decay: Real[Hyper] = 0.1,
    mask: MaskOrFn = None,
    mu_dtype: DType | None = None,
    *,
    consistent_rms: NonNegative[Hyper] | None = 0.2,
    roots: Method = "eigh",
    every: int | Schedule = 1,
    start: int | None = 1,
    phase: Literal["all", "spread"] = "all",
    weight_dimension_numbers: DimensionNumbers = None,
    spread: SpreadWithState = None,
    wire: Wire = jnp.bfloat16,
    stacked: Stacking = None,
):
    """ASGO: one-sided Shampoo, the running mean of gradients times the inverse root of the factor of the shorter side.

        V = b2 V + (1 - b2) g g*                of a matrix (m, n), m <= n; else g* g
        u = -learning_rate (0.2 X / rms(X) + weight_decay p)            X = V^(-1/2) EMA(g)

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the factor stays at each update.
      eps: added to the root of the factor before it is inverted.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      consistent_rms: the root mean square of every matrix's step, in units of the rate; None: it is as long as it comes.
      roots: how roots are found: "eigh", by eigenvectors, or by products alone, "newton" or "newton_db".
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

    >>> tx = gx.asgo(0.01, every=10)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    (AsgoState(count, mu, nu, factor, root, since), EmptyState(), EmptyState()), as `scale_by_asgo`. Memory: 1 x params,
             and 2 min(m, n)^2 for a matrix (m, n), 2 x for what is none.
    Cost     FLOPs for a matrix (m, n): 4 m n min(m, n) a step; 2 min(m, n)^3 and an eigendecomposition of the factor at a refresh,
             by products 8 min(m, n)^3 for each iteration.
    Units    learning_rate is in units of the parameters: a matrix's step has the root mean square consistent_rms learning_rate, as
             AdamW's.
    Shapes   any, as `scale_by_asgo`.
    Sharded  inside `shard_map` the device's own part of a leaf, or of a matrix, counts as the whole; under `jit` the whole does.
             With spread a matrix is updated on one device, with its state, which rests there where the devices divide the number of
             matrices in a leaf, or of those stacked, and else travels there and back.
    Source   An et al. 2025, arXiv:2503.20762, Algorithm 1, with a running mean in the place of the sum.
    Differs  as `scale_by_asgo`.
    Raises   HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps < 0, consistent_rms < 0, no such way to roots, every <
             1, stacked < 1, an unknown phase, no mesh for spread, spread names no axis of it. StructureError: roles that do not fit
             a leaf.
    """
    return chain(
        scale_by_asgo(
            b1, b2, eps, mu_dtype, consistent_rms=consistent_rms, roots=roots, every=every, start=start, phase=phase,
            weight_dimension_numbers=weight_dimension_numbers, spread=spread, wire=wire, stacked=stacked,
        ),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )  # fmt: skip
