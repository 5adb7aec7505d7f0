"""Shampoo: gradients times inverse roots of the factors of their second moments."""

from __future__ import annotations

import functools
from typing import Annotated, Any, Literal, NamedTuple

import jax.numpy as jnp

from gradxform._errors import HyperparameterError
from gradxform._numerics import abs_sq, norm
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
    Unit,
    Updates,
    Whole,
    Wire,
)
from gradxform.core import chain, per_leaf
from gradxform.core._refresh import Every, Phase, Since, Start
from gradxform.core._roles import BlockSize, DimensionNumbers, MergeDims, Roles, Stacking
from gradxform.linear_algebra._kronecker import Matrices, along, each, outer
from gradxform.linear_algebra._roots import Roots as Method
from gradxform.linear_algebra._roots import can_root, inverse_power, kept
from gradxform.registry import optimizer, transform
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate

Graft = Literal["sgd", "adagrad", "rmsprop", "adam", None]
Exponents = tuple[float | None, ...] | None
DECAYING = ("rmsprop", "adam")


def _powers(shape: Shape, exponents: Exponents, max_precond_dim: int | None, roots: Method) -> tuple[float | None, ...]:
    """The exponent of each axis's root; None where there is no factor. A number is a vector of length 1."""
    shape = shape or (1,)
    if exponents is None or len(exponents) != len(shape):
        exponents = (1 / (2 * len(shape)),) * len(shape)
    for e in exponents:
        if e is not None and not e > 0:
            raise HyperparameterError(f"scale_by_shampoo: an exponent must be positive, or None for no factor, but got {e}.")
        if e is not None and not can_root(e, roots):
            raise HyperparameterError(
                f"scale_by_shampoo: roots={roots!r} makes no power -{e:g}, which a leaf or block of shape {shape} asks for. Take "
                "roots='eigh', or other `exponents`."
            )
    return tuple(None if max_precond_dim is not None and n > max_precond_dim else e for n, e in zip(shape, exponents, strict=True))


def _squares(shape: Shape, exponents: Exponents, max_precond_dim: int | None, roots: Method) -> tuple[Axes | None, ...]:
    axes = [Axes(k, k) for k in range(len(shape))] or [Axes(None, None)]
    powers = _powers(shape, exponents, max_precond_dim, roots)
    return tuple(None if e is None else a for a, e in zip(axes, powers, strict=True))


class ShampooState(NamedTuple):
    """Means of g, and of |g|^2 for the graft; for each axis a factor and its inverse root; how many roots were not finite."""

    count: Clock
    mu: Annotated[Updates, Field(stored="mu_dtype", mean="b1")]
    nu: Annotated[RealUpdates, Field(
        nonnegative=True, when=lambda graft: graft in ("adagrad", *DECAYING),
        mean=lambda graft, graft_b2: graft_b2 if graft in DECAYING else None,
    )]  # fmt: skip
    factors: Annotated[Any, Field("leaf", axes=_squares)]
    roots: Annotated[Any, Field("leaf", axes=_squares)]
    failures: Annotated[RealUpdates, Field(axes=Axes(), constant=True)]
    since: Since = None


def _rooted(
    powers: tuple[float | None, ...], method: Method, old: tuple[Matrices, Array], L: Matrices, eps: float | Array
) -> tuple[Matrices, Array]:
    """The inverse roots of the factors; an old one stays where the new one is not finite, and is counted."""
    roots, failures = list(old[0]), old[1]
    for k, (L_k, X_k, e) in enumerate(zip(L, old[0], powers, strict=True)):
        if L_k is not None and X_k is not None and e is not None:
            roots[k], failed = kept(inverse_power(L_k, e, method, eps), X_k)
            failures = failures + failed.astype(failures.dtype)
    return tuple(roots), failures


@transform(source="Gupta et al. 2018, arXiv:1802.09568; Shi et al. 2023, arXiv:2309.06497", example={"eps": 1e-6}, homogeneity=0)
@per_leaf(ShampooState, stack=True, sees="tensor")
def scale_by_shampoo(
    g, s, p, c,
    b1: Average = 0.9, b2: Unit = 1.0, b3: Average | None = None, eps: NonNegative = 1e-12, mu_dtype: DType | None = None,
    *, graft: Graft = None, graft_b2: Decay = 0.999, graft_eps: NonNegative = 1e-10, exponents: Exponents = None,
    roots: Method = "eigh", bias_correction: bool = True, block_size: BlockSize = 1024, merge_dims: MergeDims = None,
    max_precond_dim: Whole | None = None, every: Every = 1, start: Start = None, phase: Phase = "all",
    weight_dimension_numbers: Roles = None, spread: SpreadWithState = None, wire: Wire = jnp.bfloat16,
    stacked: Stacking = None,
):  # fmt: skip
    """Multiply by inverse roots of Shampoo's factors.

        f  = b3 mu + (1 - b3) g                 divided by 1 - b3 b1^(t-1), but not without bias_correction
        mu = b1 mu + (1 - b1) g
        L  = b2 L + (1 - b2) G G*               for each axis k, G = mat_k(g); b2 = 1: L + G G*
        X  = (L / (1 - b2^t) + eps I)^(-1/(2 d))            where it is due; d: the number of axes, or with exponents[k]
        v  = X0 f X1                            and so on, for every axis that has a factor
        u  = v                                  or with a graft, whose step is r: ||r|| / ||v|| v
        r  = f                                  graft="sgd", or none
           = f / (sqrt(nu) + graft_eps)         "adagrad": nu = nu + |g|^2, "rmsprop": nu = graft_b2 nu + (1 - graft_b2) |g|^2
           = f / (sqrt(nu / (1 - graft_b2^t)) + graft_eps)              "adam"

    As long as there are no roots, u = r.

    Args:
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of each axis's factor stays at each update; 1: it is a sum.
      b3: the share of the old running mean in what is multiplied by the roots; None: b1.
      eps: added to the eigenvalues of the factors before a root is taken.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      graft: whose step says how long that of each block is: "sgd", "adagrad", "rmsprop", "adam"; None: it is as long as it comes.
      graft_b2: how much of the graft's running mean of squared gradients stays at each update.
      graft_eps: added to the graft's denominator, after the square root.
      exponents: for each axis of a leaf with as many axes the power of the inverse root, None for no factor; None, and for other leaves:
        1 / (2 axes).
      roots: how roots are found: "eigh", by eigenvectors, or by products alone, "newton" or, of order 2, 4, 8, "newton_db".
      bias_correction: divide both means by what is missing of a mean that began at 0.
      block_size: cut every axis into blocks of that length, each with factors of its own; None: not at all.
      merge_dims: join neighbouring axes first, from the front, as long as they have no more elements together; None: none.
      max_precond_dim: an axis that is longer has no factor; None: every axis has one.
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

    >>> tx = gx.chain(gx.scale_by_shampoo(b2=0.99, graft="adam", every=10), gx.scale_by_learning_rate(1e-3))
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    count; mu: like p, float32 or wider unless mu_dtype says otherwise; nu: like p but real, for the grafts that have one;
             factors, roots: for each leaf (of each block of it a tuple of) one square matrix per axis, None where there is none;
             failures: for each leaf or block how many roots were not finite, in whose place the old ones stay; since: with a
             schedule, the updates since a refresh. Memory: 1 x params, 2 x with nu, and 2 (m^2 + n^2) for a matrix (m, n).
    Cost     FLOPs for a matrix (m, n): 4 m n (m + n) a step; 2 (m^3 + n^3) and an eigendecomposition of each factor at a refresh,
             by products 8 (m^3 + n^3) for each iteration.
    Units    u is dimensionless: scaling every gradient by k > 0 leaves u unchanged (eps -> 0), but for graft="sgd", exponents that
             do not sum to 1/2, and axes without a factor, which leave some power of k.
    Shapes   any; a number is a vector of length 1. Leaves and blocks of one shape are computed as one batch, with one conditional
             for their refreshes.
    Sharded  inside `shard_map` the device's own part of a leaf, or of a matrix, counts as the whole; under `jit` the whole does.
             With spread a matrix is updated on one device, with its state. Where the devices divide the number of matrices in a
             leaf, as of scanned layers or with stacked, the state rests there, as `state_shardings` places it, split by no other
             axis of the mesh, and only gradients, updates and parameters that are read travel: in bfloat16 as many bytes as the
             parameters have in float32. Those of other leaves are filled up to as many of a shape for each device, and their state
             travels there and back: several times as much. On an automatic mesh leave the axis in front whole in the parameters.
    Source   Gupta et al. 2018, arXiv:1802.09568, in the form of Shi et al. 2023, arXiv:2309.06497.
    Differs  eigenvalues of a factor count as no less than rounding makes of 0, n 2^-23 of the largest in float32, where the
             authors' code lifts them all by the least. A root that is not finite never stops the training. A leaf without any
             factor takes the graft's step itself.
    Raises   HyperparameterError: b1 or b3 outside (-1, 1), b2 outside [0, 1], graft_b2 outside [0, 1), eps or graft_eps < 0,
             max_precond_dim < 0, block_size or every < 1, stacked < 1, an unknown graft, an unknown phase, no such way to roots, an
             exponent that is not positive, one that `roots` cannot make, no mesh for spread, spread names no axis of it.
             StructureError: roles that do not fit a leaf.
    """
    L, X, share = s.factors, s.roots, b1 if b3 is None else b3
    f = share * s.mu + (1 - share) * g
    if bias_correction:
        f = f / (1 - share * b1 ** (c.t - 1).astype(c.dtype))
    mu = b1 * s.mu + (1 - b1) * g
    r, nu = f, s.nu
    if nu is not None:
        nu = nu + abs_sq(g) if graft == "adagrad" else graft_b2 * nu + (1 - graft_b2) * abs_sq(g)
        r = f / (jnp.sqrt(c.debias(nu, graft_b2) if graft == "adam" else nu) + graft_eps)
    G, v = (x.reshape(x.shape or (1,)) for x in (g, f))
    L = each(lambda L_k, k: b2 * L_k + jnp.where(b2 < 1, 1 - b2, 1) * outer(G, k), L, range(G.ndim))
    there, failures = jnp.zeros((), bool), s.failures
    if any(L_k is not None for L_k in L):
        mean = each(lambda L_k: c.debias(L_k, b2), L) if bias_correction else L
        rooted = functools.partial(_rooted, _powers(g.shape, exponents, max_precond_dim, roots), roots)
        X, failures = c.refresh(rooted, (X, failures), mean, eps)
        v, there = along(v, X, transposed=True), jnp.all(jnp.stack([jnp.trace(x).real > 0 for x in X if x is not None]))
    v = v.reshape(g.shape)
    if graft is not None:
        v = v * norm(r) / (norm(v) + 1e-16)
    return jnp.where(there, v, r), s._replace(mu=mu, nu=nu, factors=L, roots=X, failures=failures)


@optimizer(
    source="Gupta et al. 2018, arXiv:1802.09568; Shi et al. 2023, arXiv:2309.06497",
    example={"learning_rate": 0.1, "eps": 1e-6},
    homogeneity=0,
    rates={"default": 1e-2, "digits": 3e-2},
)
def shampoo(
    learning_rate: Real[Hyper],
    b1: Average[Hyper] = 0.9,
    b2: Unit[Hyper] = 1.0,
    b3: Average[Hyper] | None = None,
    eps: NonNegative[Hyper] = 1e-12,
    weight_decay: Real[Hyper] = 0.0,
    mask: MaskOrFn = None,
    mu_dtype: DType | None = None,
    *,
    graft: Graft = None,
    graft_b2: Decay[Hyper] = 0.999,
    graft_eps: NonNegative[Hyper] = 1e-10,
    exponents: Exponents = None,
    roots: Method = "eigh",
    bias_correction: bool = True,
    block_size: int | None = 1024,
    merge_dims: int | None = None,
    max_precond_dim: int | None = None,
    every: int | Schedule = 1,
    start: int | None = None,
    phase: Literal["all", "spread"] = "all",
    weight_dimension_numbers: DimensionNumbers = None,
    spread: SpreadWithState = None,
    wire: Wire = jnp.bfloat16,
    stacked: Stacking = None,
):
    """Shampoo: the running mean of gradients times inverse roots of the factors of their second moments, in the size of a graft's step.

        L = sum of mat_k(g) mat_k(g)*           for each axis k; with b2 < 1 a running mean
        u = -learning_rate (L0^(-1/4) f L1^(-1/4) + weight_decay p)     f: the running mean of gradients with this one in it, of a matrix

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of each axis's factor stays at each update; 1: it is a sum.
      b3: the share of the old running mean in what is multiplied by the roots; None: b1.
      eps: added to the eigenvalues of the factors before a root is taken.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      graft: whose step says how long that of each block is: "sgd", "adagrad", "rmsprop", "adam"; None: it is as long as it comes.
      graft_b2: how much of the graft's running mean of squared gradients stays at each update.
      graft_eps: added to the graft's denominator, after the square root.
      exponents: for each axis of a leaf with as many axes the power of the inverse root, None for no factor; None, and for other leaves:
        1 / (2 axes).
      roots: how roots are found: "eigh", by eigenvectors, or by products alone, "newton" or, of order 2, 4, 8, "newton_db".
      bias_correction: divide both means by what is missing of a mean that began at 0.
      block_size: cut every axis into blocks of that length, each with factors of its own; None: not at all.
      merge_dims: join neighbouring axes first, from the front, as long as they have no more elements together; None: none.
      max_precond_dim: an axis that is longer has no factor; None: every axis has one.
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

    >>> tx = gx.shampoo(1e-3, b2=0.99, graft="adam", every=10)  # Adam's rates serve
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    (ShampooState(count, mu, nu, factors, roots, failures, since), EmptyState(), EmptyState()), as `scale_by_shampoo`.
             Memory: 1 x params, 2 x with nu, and 2 (m^2 + n^2) for a matrix (m, n).
    Cost     FLOPs for a matrix (m, n): 4 m n (m + n) a step; 2 (m^3 + n^3) and an eigendecomposition of each factor at a refresh,
             by products 8 (m^3 + n^3) for each iteration.
    Units    learning_rate is in units of the parameters, as the graft's; without one the singular values of a matrix's first step
             are about learning_rate.
    Shapes   any, as `scale_by_shampoo`.
    Sharded  inside `shard_map` the device's own part of a leaf, or of a matrix, counts as the whole; under `jit` the whole does.
             With spread a matrix is updated on one device, with its state, which rests there where the devices divide the number of
             matrices in a leaf, or of those stacked, and else travels there and back.
    Source   Gupta et al. 2018, arXiv:1802.09568, in the form of Shi et al. 2023, arXiv:2309.06497.
    Differs  as `scale_by_shampoo`. Weight decay is decoupled and in proportion to learning_rate.
    Raises   HyperparameterError: b1 or b3 outside (-1, 1), b2 outside [0, 1], graft_b2 outside [0, 1), eps or graft_eps < 0,
             block_size or every < 1, stacked < 1, an unknown graft, an unknown phase, no such way to roots, an exponent that is not
             positive, one that `roots` cannot make, no mesh for spread, spread names no axis of it. StructureError: roles that do
             not fit a leaf.
    """
    return chain(
        scale_by_shampoo(
            b1, b2, b3, eps, mu_dtype, graft=graft, graft_b2=graft_b2, graft_eps=graft_eps, exponents=exponents, roots=roots,
            bias_correction=bias_correction, block_size=block_size, merge_dims=merge_dims, max_precond_dim=max_precond_dim,
            every=every, start=start, phase=phase, weight_dimension_numbers=weight_dimension_numbers, spread=spread, wire=wire,
            stacked=stacked,
        ),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )  # fmt: skip
