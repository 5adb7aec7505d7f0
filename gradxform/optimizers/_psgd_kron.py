"""PSGD: a preconditioner for each axis, fitted so that it whitens gradients."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from gradxform._numerics import clip_elements, power_of_two, size_along
from gradxform._types import (
    STATIC,
    Array,
    Average,
    Axes,
    Clock,
    Count,
    DType,
    Field,
    Hyper,
    Key,
    MaskOrFn,
    NonNegative,
    Positive,
    Range,
    Real,
    Sampler,
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
from gradxform.linear_algebra._kronecker import gram, times
from gradxform.linear_algebra._newton_schulz import adjoint
from gradxform.linear_algebra._products import matmul
from gradxform.linear_algebra._spectral_norm import norm_from_longest_column, norm_from_vectors, tiny_of
from gradxform.registry import optimizer, transform
from gradxform.schedules import psgd_gap
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate

Factors = tuple[Array, ...]
"""For each axis Q, or its diagonal."""
Draw = Callable[[Shape], Array]
"""Normal numbers of a shape, others at each call."""
Skew = Annotated[float, Range("[0, inf]"), STATIC]
Diagonal = Literal["all", "largest", None]
Form = Literal["pro", "triangular"]
Whiten = Literal["momentum", "gradient"]
GAP = psgd_gap()
VECTORS = 32
"""Of a norm."""


def _factors(shape: Shape, form: Form, diagonal: Diagonal, max_precond_dim: int, max_skew: float) -> tuple[Axes, ...]:
    """The axes of Q for each axis, or of its diagonal; a number is a vector of length 1."""
    if not shape:
        return (Axes(None),)
    longest = max(k for k, d in enumerate(shape) if d == max(shape))

    def is_diagonal(k: int, d: int) -> bool:
        skew = len(shape) < 2 if form == "triangular" else d**2 > max_skew * math.prod(shape)
        return skew or d <= 1 or d > max_precond_dim or diagonal == "all" or (diagonal == "largest" and k == longest)

    return tuple(Axes(k) if is_diagonal(k, d) else Axes(k, k) for k, d in enumerate(shape))


def _first(zero: Array, form: Form, init_scale: float, diagonal: Diagonal, max_precond_dim: int, max_skew: float) -> Factors:
    axes = _factors(zero.shape, form, diagonal, max_precond_dim, max_skew)
    scale = jnp.asarray(init_scale).astype(zero.dtype) ** (1 / len(axes))
    ones = [(jnp.ones if len(a) == 1 else jnp.eye)(d, dtype=zero.dtype) for a, d in zip(axes, zero.shape or (1,), strict=True)]
    return tuple(scale * one for one in ones)


def _numbers(shape: Shape) -> tuple[Axes, ...]:
    return (Axes(),) * max(len(shape), 1)


class PsgdKronState(NamedTuple):
    """The running mean; for each axis Q and the largest curvature that it has met lately; how often Q was updated; a random key."""

    count: Clock
    mu: Annotated[Updates, Field(stored="mu_dtype", mean="b1")]
    q: Annotated[Any, Field("leaf", axes=_factors, first=_first)]
    lipschitz: Annotated[Any, Field("leaf", axes=_numbers, dtype="real", when=lambda form: form == "pro")]
    turns: Annotated[Any, Field("leaf", axes=Axes(), dtype="real", constant=True)]
    since: Since
    key: Key


def _drawing(sampler: Sampler, key: Array, dtype: DType) -> Draw:
    numbers = itertools.count()
    return lambda shape: sampler(jax.random.fold_in(key, next(numbers)), shape, dtype)


def _balanced(Q: Factors) -> Factors:
    sizes = [jnp.max(jnp.abs(q), initial=0) for q in Q]
    mean = math.prod(size ** (1 / len(Q)) for size in sizes)
    return tuple(q * (mean / size) for q, size in zip(Q, sizes, strict=True))


def _rotated(Q: Array, draw: Draw) -> Array:
    """Towards a Hermitian Q by a rotation from the left, e^(aR) but for a^3; a makes the trace largest, and is at most 1/8."""
    R = adjoint(Q) - Q
    R = R / (norm_from_vectors(R, draw((VECTORS, len(R)))) + tiny_of(R))
    RQ = matmul(R, Q)
    RRQ = matmul(R, RQ)
    slope, bend = jnp.trace(RQ).real, jnp.trace(RRQ).real
    a = jnp.where(bend < 0, jnp.minimum(slope / jnp.where(bend < 0, -bend, 1), 1 / 8), 1 / 8)
    return Q + a * (RQ + a / 2 * RRQ)


def _pro(Q: Factors, lipschitz: Factors, x: Array, draw: Draw, precond_lr: Array) -> tuple[Factors, Factors]:
    x = x + (1e-9 + float(jnp.finfo(x.dtype).eps) * jnp.abs(x)) * draw(x.shape)
    x, new, most = times(times(x, Q), Q, back=True), [], []
    for k, (q, L) in enumerate(zip(Q, lipschitz, strict=True)):
        T, c = gram(x, k, q), x.size / max(x.shape[k], 1)
        curvature = (jnp.max(T, initial=0) if q.ndim == 1 else norm_from_vectors(T, draw((VECTORS, len(T))))) + c
        L = jnp.maximum(0.9 * L + 0.1 * curvature, curvature)
        step = precond_lr / L
        new.append(q - step * (T - c) * q if q.ndim == 1 else _rotated(q - step * (matmul(T, q) - c * q), draw))
        most.append(L)
    return tuple(new), tuple(most)


def _triangular(Q: Factors, x: Array, draw: Draw, precond_lr: Array) -> Factors:
    size, B = jnp.mean(jnp.abs(x)), draw(x.shape)
    A = times(x + 2**-11.5 * size * B, Q)
    for k, q in enumerate(Q):
        if q.ndim == 1:
            B = B / jnp.expand_dims(q.conj(), [i for i in range(x.ndim) if i != k])
        else:
            rows = jnp.moveaxis(B, k, 0)
            solved = jax.scipy.linalg.solve_triangular(q, rows.reshape(len(q), -1), trans="C")
            B = jnp.moveaxis(solved.reshape(rows.shape), 0, k)
    unit = power_of_two(jnp.maximum(jnp.max(jnp.abs(A), initial=0), jnp.max(jnp.abs(B), initial=0)))
    A, B, new = A / unit, B / unit, []
    for k, q in enumerate(Q):
        S, T = gram(A, k, q), gram(B, k, q)
        if q.ndim == 1:
            step = (S - T) * q / jnp.maximum(jnp.max(S + T, initial=0), tiny_of(q))
        else:
            step = matmul(jnp.triu(S - T), q) / jnp.maximum(norm_from_longest_column(S + T), tiny_of(q))
        new.append(jnp.where(size > 0, q - precond_lr * step, q))
    return tuple(new)


def _fitted(
    old: Tree, x: Array, key: Array, precond_lr: Array, *, form: Form, sampler: Sampler, balance_every: int
) -> tuple[Factors, Factors | None, Array]:
    """Q after an update, all axes from the old ones."""
    Q, lipschitz, turns = old
    draw, turns = _drawing(sampler, key, x.dtype), turns + 1
    balanced = lambda Q: tuple(jnp.where(turns % balance_every == 0, b, q) for b, q in zip(_balanced(Q), Q, strict=True))
    if form == "triangular":
        return _triangular(balanced(Q), x, draw, precond_lr), None, turns
    Q, lipschitz = _pro(Q, lipschitz, x, draw, precond_lr)
    return balanced(Q), lipschitz, turns


@transform(source="Li 2018, arXiv:1512.04202, 1809.10232, 2402.11858", example={"balance_every": 3})
@per_leaf(PsgdKronState, stack=True, sees="tensor")
def scale_by_psgd_kron(
    g, s, p, c,
    b1: Average = 0.9, precond_lr: NonNegative = 0.1, mu_dtype: DType | None = None,
    *, form: Form = "pro", whiten: Whiten = "momentum", init_scale: Positive = 1.0,
    clip_rms: Positive | None = 1.1, clip_value: Positive | None = None, diagonal: Diagonal = None, max_precond_dim: Whole = 8192,
    max_skew: Skew = 1.0, block_size: BlockSize = None, merge_dims: MergeDims = None, every: Every = GAP, start: Start = None,
    phase: Phase = "all", balance_every: Count = 100, key: Array | int = 0, sampler: Sampler = jax.random.normal,
    weight_dimension_numbers: Roles = None, spread: SpreadWithState = None, wire: Wire = jnp.bfloat16,
    stacked: Stacking = None,
):  # fmt: skip
    """Precondition the gradient's running mean by a matrix for each axis, fitted so that gradients come out white.

        mu = b1 mu + (1 - b1) g;  m = mu / (1 - b1^t)
        Q is updated where that is due, by x = m, or g if whiten="gradient"; n is normal, d_k the length of axis k
        u  = Q0* Q0 m Q1* Q1                    and so on, for every axis
        u  = u / max(1, rms(u) / clip_rms), and each element within clip_value

        form="pro", inverse-free:
        y = Q0* Q0 z Q1* Q1;  z = x + (1e-9 + ulp |x|) n
        T = mat_k(y) mat_k(y)*;  c = size / d_k;  L = max(0.9 L + 0.1 l, l);  l = |T| + c
        Q = Q - precond_lr / L (T Q - c Q), then e^(aR) Q where Q is a matrix; R = (Q* - Q) / |Q* - Q|; a <= 1/8 makes tr Q largest

        form="triangular", Q upper triangular:
        A = Q0 z Q1';  z = x + 2^-11.5 mean|x| n;  B = Q0^-* n Q1^-c      Q1' is Q1 transposed, Q1^-c its conjugate's inverse
        Q = Q - precond_lr triu(S - T) Q / |S + T|;  S = mat_k(A) mat_k(A)*;  T = mat_k(B) mat_k(B)*

    Args:
      b1: how much of the running mean of gradients stays at each update.
      precond_lr: the size of a step of Q, in parts of it.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      form: "pro": no inverse, and Q nearly Hermitian; "triangular": an upper triangular Q, with which systems are solved.
      whiten: what Q is fitted to: "momentum", the debiased mean, or "gradient".
      init_scale: the size of all axes' Q together at first: u is init_scale^2 m where Q has not been updated.
      clip_rms: the largest root mean square of a leaf's, or a block's, update; None: any.
      clip_value: the largest size of its elements, after that; None: any.
      diagonal: which axes have a diagonal Q whatever their length: "all"; "largest", the longest, of several the last; or None.
      max_precond_dim: an axis that is longer has a diagonal Q.
      max_skew: in form "pro" so has one whose length squared is more than max_skew times the number of elements.
      block_size: cut every axis into blocks of that length, each with factors of its own; None: not at all.
      merge_dims: join neighbouring axes first, from the front, as long as they have no more elements together; None: none.
      every: at every how many updates Q is updated; a schedule: the gap between two updates of it.
      start: the first update at which it is; None: every, with a schedule the first.
      phase: "all": at once; "spread": each update has its share of them, every needs to be a number.
      balance_every: after how many updates of Q all axes' are brought to one size, which leaves the result as it is.
      key: a random key, or a whole number as a seed.
      sampler: what draws n: (key, shape, dtype) -> normal numbers, of the shape of a leaf or block; in form "pro" for norms also of
        shape (32, d).
      weight_dimension_numbers: which axes are a leaf's inputs and outputs, all others a batch of matrices; a leaf without any is a
        vector. `WeightDimensionNumbers`, "flax", "equinox", "conv"; one for all, patterns of paths, a tree, a function. None: a leaf
        is one tensor, all axes are alike.
      spread: the axis of the mesh, or a tuple of axes, over whose devices matrices are dealt out with all of their state; None:
        each is updated where it lives.
      wire: with spread, the dtype in which gradients and updates travel between devices; None: their own.
      stacked: hold matrices of one shape and role, each a leaf of its own, as one array, with copies of the last behind them up to
        a multiple of so many, and all state of theirs so; with spread, best the number of its devices. None: a leaf is held by
        itself; `transfer_state` goes from one to the other.

    >>> tx = gx.chain(gx.scale_by_psgd_kron(), gx.scale_by_learning_rate(1e-3))
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    count; mu: like p, float32 or wider unless mu_dtype says otherwise; q: for each leaf (of each block of it a tuple of)
             one square matrix per axis, or a vector where it is diagonal; lipschitz: the L of each, None if triangular; turns: how
             often Q was updated; since: with a schedule, the updates since then; key, split once per update and then once per leaf.
             Memory: 1 x params, and m^2 + n^2 for a matrix (m, n), in form "pro" m^2 + n if m < n.
    Cost     FLOPs for N elements: 4 N D a step; at an update of Q 6 N D + 6 S, or if triangular 7 N D + 2 S. D: the sum of the
             lengths d of the axes that have a matrix, S: that of d^3. For a square matrix D is 2 n, S 2 n^3.
    Units    u is dimensionless: once Q is fitted its root mean square is about 1.
    Shapes   any, scalars and complex included. Leaves and blocks of one shape are one batch, with one conditional for updates of Q.
    Sharded  inside `shard_map` the device's own part of a leaf, or of a matrix, counts as the whole; under `jit` the whole does.
             With spread a matrix is updated on one device, with its state. Where the devices divide the number of matrices in a
             leaf, as of scanned layers or with stacked, the state rests there, as `state_shardings` places it, split by no other
             axis of the mesh, and only gradients, updates and parameters that are read travel: in bfloat16 as many bytes as the
             parameters have in float32. Those of other leaves are filled up to as many of a shape for each device, and their state
             travels there and back: several times as much. On an automatic mesh leave the axis in front whole in the parameters.
    Source   Li 2018, arXiv:1512.04202, 1809.10232, 2402.11858; "pro": psgd_torch of 2025; "triangular": psgd_jax.
    Differs  when Q is updated is left to no chance. The mean is debiased, in psgd_torch b1 is min(t / (t + 1), b1); clip_rms=2,
             clip_value=10 and b1=0 are its defaults. kron_torch damps m itself, of which then a little is noise. Where x is 0, a
             triangular Q stays, which elsewhere grows without end.
    Raises   HyperparameterError: b1 outside (-1, 1), precond_lr < 0, init_scale, clip_rms or clip_value <= 0, max_precond_dim or
             max_skew < 0, block_size, every or balance_every < 1, stacked < 1, an unknown form, an unknown whiten, an unknown
             diagonal, an unknown phase, no mesh for spread, spread names no axis of it. StructureError: roles that do not fit a
             leaf.
    """
    mu = b1 * s.mu + (1 - b1) * g
    m = c.debias(mu, b1)
    x = jnp.atleast_1d(m if whiten == "momentum" else g)
    fitted = functools.partial(_fitted, form=form, sampler=sampler, balance_every=balance_every)
    Q, lipschitz, turns = c.refresh(fitted, (s.q, s.lipschitz, s.turns), x, c.key, precond_lr)
    u = times(times(jnp.atleast_1d(m), Q), Q, back=True).reshape(g.shape)
    if clip_rms is not None:
        u = u / jnp.maximum(1, size_along(u).reshape(()) / math.sqrt(max(u.size, 1)) / clip_rms)
    if clip_value is not None:
        u = clip_elements(u, clip_value)
    return u, s._replace(mu=mu, q=Q, lipschitz=lipschitz, turns=turns)


@optimizer(
    source="Li 2018, arXiv:1512.04202, 1809.10232, 2402.11858",
    example={"learning_rate": 0.1, "balance_every": 3},
    rates={"default": 1e-3, "digits": 1e-2},
)
def psgd_kron(
    learning_rate: Real[Hyper],
    b1: Average[Hyper] = 0.9,
    precond_lr: NonNegative[Hyper] = 0.1,
    weight_decay: Real[Hyper] = 0.0,
    mask: MaskOrFn = None,
    mu_dtype: DType | None = None,
    *,
    form: Form = "pro",
    whiten: Whiten = "momentum",
    init_scale: Positive[Hyper] = 1.0,
    clip_rms: Positive[Hyper] | None = 1.1,
    clip_value: Positive[Hyper] | None = None,
    diagonal: Diagonal = None,
    max_precond_dim: Whole = 8192,
    max_skew: Skew = 1.0,
    block_size: int | None = None,
    merge_dims: int | None = None,
    every: int | Schedule = GAP,
    start: int | None = None,
    phase: Literal["all", "spread"] = "all",
    balance_every: Count = 100,
    key: Array | int = 0,
    sampler: Sampler = jax.random.normal,
    weight_dimension_numbers: DimensionNumbers = None,
    spread: SpreadWithState = None,
    wire: Wire = jnp.bfloat16,
    stacked: Stacking = None,
):
    """PSGD: momentum, whitened by a preconditioner for each axis.

        m = mu / (1 - b1^t);  mu = b1 mu + (1 - b1) g
        d = Q0* Q0 m Q1* Q1                                 Q as `scale_by_psgd_kron` updates it
        u = -learning_rate (d / max(1, rms(d) / clip_rms) + weight_decay p)

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of gradients stays at each update.
      precond_lr: the size of a step of Q, in parts of it.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      form: "pro": no inverse, and Q nearly Hermitian; "triangular": an upper triangular Q, with which systems are solved.
      whiten: what Q is fitted to: "momentum", the debiased mean, or "gradient".
      init_scale: the size of all axes' Q together at first: u is init_scale^2 m where Q has not been updated.
      clip_rms: the largest root mean square of a leaf's, or a block's, update; None: any.
      clip_value: the largest size of its elements, after that; None: any.
      diagonal: which axes have a diagonal Q whatever their length: "all"; "largest", the longest, of several the last; or None.
      max_precond_dim: an axis that is longer has a diagonal Q.
      max_skew: in form "pro" so has one whose length squared is more than max_skew times the number of elements.
      block_size: cut every axis into blocks of that length, each with factors of its own; None: not at all.
      merge_dims: join neighbouring axes first, from the front, as long as they have no more elements together; None: none.
      every: at every how many updates Q is updated; a schedule: the gap between two updates of it.
      start: the first update at which it is; None: every, with a schedule the first.
      phase: "all": at once; "spread": each update has its share of them, every needs to be a number.
      balance_every: after how many updates of Q all axes' are brought to one size, which leaves the result as it is.
      key: a random key, or a whole number as a seed.
      sampler: what draws n: (key, shape, dtype) -> normal numbers, of the shape of a leaf or block; in form "pro" for norms also of
        shape (32, d).
      weight_dimension_numbers: which axes are a leaf's inputs and outputs, all others a batch of matrices; a leaf without any is a
        vector. `WeightDimensionNumbers`, "flax", "equinox", "conv"; one for all, patterns of paths, a tree, a function. None: a leaf
        is one tensor, all axes are alike.
      spread: the axis of the mesh, or a tuple of axes, over whose devices matrices are dealt out with all of their state; None:
        each is updated where it lives.
      wire: with spread, the dtype in which gradients and updates travel between devices; None: their own.
      stacked: hold matrices of one shape and role, each a leaf of its own, as one array, with copies of the last behind them up to
        a multiple of so many, and all state of theirs so; with spread, best the number of its devices. None: a leaf is held by
        itself; `transfer_state` goes from one to the other.

    >>> tx = gx.psgd_kron(1e-3, weight_decay=0.1)           # about a third of Adam's rate, and three to ten times its decay
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    (PsgdKronState(count, mu, q, lipschitz, turns, since, key), EmptyState(), EmptyState()), as `scale_by_psgd_kron`.
             Memory: 1 x params, and m^2 + n^2 for a matrix (m, n), in form "pro" m^2 + n if m < n.
    Cost     FLOPs for N elements: 4 N D a step; at an update of Q 6 N D + 6 S, or if triangular 7 N D + 2 S. D: the sum of the
             lengths d of the axes that have a matrix, S: that of d^3. For a square matrix D is 2 n, S 2 n^3.
    Units    learning_rate is in units of the parameters: a step's root mean square is about learning_rate, at most clip_rms
             times it.
    Shapes   any, as `scale_by_psgd_kron`.
    Sharded  inside `shard_map` the device's own part of a leaf, or of a matrix, counts as the whole; under `jit` the whole does.
             With spread a matrix is updated on one device, with its state, which rests there where the devices divide the number of
             matrices in a leaf, or of those stacked, and else travels there and back.
    Source   Li 2018, arXiv:1512.04202, 1809.10232, 2402.11858; "pro": psgd_torch of 2025; "triangular": psgd_jax.
    Differs  as `scale_by_psgd_kron`. psgd_jax decays matrices only: `mask=by_ndim(2)`.
    Raises   HyperparameterError: b1 outside (-1, 1), precond_lr < 0, init_scale, clip_rms or clip_value <= 0, max_precond_dim or
             max_skew < 0, block_size, every or balance_every < 1, stacked < 1, an unknown form, an unknown whiten, an unknown
             diagonal, an unknown phase, no mesh for spread, spread names no axis of it. StructureError: roles that do not fit a
             leaf. MissingArgumentError: no params.
    """
    return chain(
        scale_by_psgd_kron(
            b1, precond_lr, mu_dtype, form=form, whiten=whiten, init_scale=init_scale, clip_rms=clip_rms, clip_value=clip_value,
            diagonal=diagonal, max_precond_dim=max_precond_dim, max_skew=max_skew, block_size=block_size, merge_dims=merge_dims,
            every=every, start=start, phase=phase, balance_every=balance_every, key=key, sampler=sampler,
            weight_dimension_numbers=weight_dimension_numbers, spread=spread, wire=wire, stacked=stacked,
        ),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )  # fmt: skip
