"""NorMuon: orthogonalized momentum, of which all outputs move alike."""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple

import jax.numpy as jnp

from gradxform._numerics import abs_sq
from gradxform._types import (
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
    Shared,
    SpreadOver,
    Updates,
    Whole,
    Wire,
)
from gradxform.core import chain, per_leaf
from gradxform.core._roles import DimensionNumbers, Roles
from gradxform.linear_algebra._newton_schulz import Preconditioning, frobenius, newton_schulz
from gradxform.linear_algebra._polynomials import JORDAN, polynomials
from gradxform.optimizers._matrices import Coefficients, ShapeScale, coefficients, scale_by_shape, with_adam
from gradxform.registry import optimizer, transform
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate


class NorMuonState(NamedTuple):
    """Running means of g, and for each output of the mean square of o; the coefficients of the iteration."""

    count: Clock
    mu: Annotated[Updates, Field(stored="mu_dtype", mean="beta")]
    nu: Annotated[RealUpdates, Field(axes=Axes(1), mean="beta2", nonnegative=True)]
    ns_coeffs: Annotated[Shared, coefficients("scale_by_normuon")]


@transform(source="Li et al. 2025, arXiv:2510.05491", homogeneity=0, example={"eps": 1e-30}, ndim=2)
@per_leaf(NorMuonState, stack=True, sees="matrix")
def scale_by_normuon(
    g, s, p, c,
    ns_coeffs: Coefficients = JORDAN, ns_steps: Whole = 5, beta: Average = 0.95, beta2: Decay = 0.95, eps: NonNegative = 1e-7,
    mu_dtype: DType | None = None,
    *, nesterov: bool = True, preconditioning: Preconditioning = "frobenius", weight_dimension_numbers: Roles = None,
    consistent_rms: NonNegative | None = None, eps_nu: NonNegative = 1e-10, spread: SpreadOver = None, wire: Wire = jnp.bfloat16,
    gram: bool = False,
):  # fmt: skip
    """Orthogonalize the gradient's running mean, and even out the sizes of its outputs.

        mu = beta mu + (1 - beta) g
        m  = beta mu + (1 - beta) g                                 nesterov=False: mu
        o  = newton_schulz(m)
        nu = beta2 nu + (1 - beta2) mean of |o|^2 over the inputs
        v  = o / (sqrt(nu) + eps_nu)
        u  = |o| v / (|v| + eps_nu)
        u  = consistent_rms sqrt(inputs outputs) v / |v|            with consistent_rms

    Args:
      ns_coeffs: the coefficients of the Newton-Schulz polynomial, a row for all steps or one for each; or the name of a table:
        "standard", "dion", "polar_express", "deepseek_v4", "cans", "cubic", "turbo", "dion2".
      ns_steps: the number of Newton-Schulz steps; a table with a row for each is used whole, "polar_express" as far as they go.
      beta: how much of the running mean of gradients stays at each update.
      beta2: how much of the running mean of squares stays at each update.
      eps: added to the norm by which the matrix is divided first.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      nesterov: look ahead by one step of the momentum.
      preconditioning: how the matrix is scaled first: "frobenius", "spectral", "aol" or "schatten".
      weight_dimension_numbers: which axes are a leaf's inputs and outputs: `WeightDimensionNumbers`, "flax", "equinox", "conv" or
        None; one for all, patterns of paths, a tree, or a function.
      consistent_rms: the root mean square of the result; None: it has the norm of what was orthogonalized.
      eps_nu: added to the roots of nu, and without consistent_rms to the norm.
      spread: the axis of the mesh, or a tuple of axes, over whose devices whole matrices are dealt out; None: each is iterated on
        where it lives.
      wire: with spread, the dtype in which matrices travel between devices; None: that of the iteration.
      gram: the same numbers by products of the shorter side; fewer operations where the longer is twice as long or more.

    >>> tx = gx.chain(gx.masked(gx.scale_by_normuon(), gx.by_ndim(2)), gx.scale_by_learning_rate(0.02))

    State    count; mu: like p, float32 or wider unless mu_dtype says otherwise; nu: a number for each output of each matrix; ns_coeffs.
             Memory: 1 x params, and 1 / inputs.
    Cost     ns_steps (4 s^2 l + 2 s^3) for a matrix of sides s <= l; with gram at most 8 s^2 l + 8 ns_steps s^3.
    Units    u is dimensionless; scaling every gradient by k > 0 leaves it unchanged (eps -> 0). Its root mean square is about
             1 / sqrt(max(inputs, outputs)), and with consistent_rms that.
    Shapes   matrices (inputs, outputs); other shapes with weight_dimension_numbers, also batches of matrices.
    Sharded  inside `shard_map` the device's own part of a matrix counts as the matrix; under `jit` the whole does.
    Source   Li et al. 2025, arXiv:2510.05491, Algorithm 1, and the authors' repository; consistent_rms=0.2 is the paper's scale.
    Differs  from the repository: a zero gradient gives 0 in every dtype, and iterations of narrow parameters are float32. The mean is
             over the inputs whatever the shape, as in the paper; other implementations take the longer side. Of a square matrix "aol"
             scales the inputs, as with `muon`.
    Raises   StructureError: a leaf is not a matrix. HyperparameterError: beta outside (-1, 1), beta2 outside [0, 1), another argument < 0,
             ns_coeffs of another shape, no table of that name, an unknown preconditioning, no mesh for spread, spread names no axis of it.
    """
    mu = beta * s.mu + (1 - beta) * g
    m = beta * mu + (1 - beta) * g if nesterov else mu
    o = c.whole(newton_schulz, m, s.ns_coeffs.astype(c.dtype), ns_steps, preconditioning, eps, gram)
    nu = beta2 * s.nu + (1 - beta2) * jnp.sum(abs_sq(o), 0) / max(len(g), 1)
    v = o / (jnp.sqrt(nu)[None] + eps_nu)
    if consistent_rms is None:
        u = frobenius(o) / (frobenius(v) + eps_nu) * v
    else:
        size = frobenius(v)
        u = consistent_rms * math.sqrt(g.size) / jnp.where(size > 0, size, 1) * v
    return u, s._replace(mu=mu, nu=nu)


@optimizer(
    source="Li et al. 2025, arXiv:2510.05491",
    example={"learning_rate": 0.02, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 2e-2, "digits": 3e-2},
)
def normuon(
    learning_rate: Real[Hyper],
    ns_coeffs: Coefficients = JORDAN,
    ns_steps: Whole = 5,
    beta: Average[Hyper] = 0.95,
    beta2: Decay[Hyper] = 0.95,
    eps: NonNegative[Hyper] = 1e-7,
    weight_decay: Real[Hyper] = 0.0,
    weight_decay_mask: MaskOrFn = None,
    mu_dtype: DType | None = None,
    *,
    nesterov: bool = True,
    preconditioning: Preconditioning = "frobenius",
    adam_b1: Average[Hyper] = 0.9,
    adam_b2: Decay[Hyper] = 0.999,
    adam_eps_root: NonNegative[Hyper] = 0.0,
    adam_weight_decay: Real[Hyper] = 0.0,
    adam_learning_rate: Real[Hyper] | None = None,
    weight_dimension_numbers: DimensionNumbers = None,
    shape_scale: ShapeScale = "original",
    consistent_rms: NonNegative[Hyper] | None = None,
    eps_nu: NonNegative[Hyper] = 1e-10,
    spread: SpreadOver = None,
    wire: Wire = jnp.bfloat16,
    gram: bool = False,
):
    """NorMuon: orthogonalized momentum of which all outputs move alike, for matrices; AdamW for everything else.

        o = newton_schulz(beta mu + (1 - beta) g)                   mu = beta mu + (1 - beta) g
        v = o / (sqrt(nu) + eps_nu)                                 nu = beta2 nu + (1 - beta2) mean of |o|^2 over the inputs
        u = -learning_rate (sqrt(max(1, outputs / inputs)) |o| v / |v| + weight_decay p)

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      ns_coeffs: the coefficients of the Newton-Schulz polynomial, a row for all steps or one for each; or the name of a table:
        "standard", "dion", "polar_express", "deepseek_v4", "cans", "cubic", "turbo", "dion2".
      ns_steps: the number of Newton-Schulz steps; a table with a row for each is used whole, "polar_express" as far as they go.
      beta: how much of the running mean of gradients stays at each update.
      beta2: how much of the running mean of squares stays at each update.
      eps: added to the norm by which the matrix is divided first.
      weight_decay: decoupled decay of the matrices: the part of the parameters, times learning_rate, that is taken away.
      weight_decay_mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a
        function; None: all.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      nesterov: look ahead by one step of the momentum.
      preconditioning: how the matrix is scaled first: "frobenius", "spectral", "aol" or "schatten".
      adam_b1: b1 of the AdamW that the other leaves get.
      adam_b2: b2 of the AdamW that the other leaves get.
      adam_eps_root: eps_root of the AdamW that the other leaves get.
      adam_weight_decay: weight_decay of the AdamW that the other leaves get.
      adam_learning_rate: the rate of the AdamW that the other leaves get; None: learning_rate.
      weight_dimension_numbers: which axes are a leaf's inputs and outputs: `WeightDimensionNumbers`, "flax", "equinox", "conv" or
        None; one for all, patterns of paths, a tree, or a function.
      shape_scale: how a matrix's step depends on its shape: "original", sqrt(max(1, outputs / inputs)); "spectral", without the
        max; "match_rms_adamw", 0.2 sqrt(max(inputs, outputs)); None: not at all.
      consistent_rms: the root mean square of every matrix's step, in units of the rate, in the place of shape_scale; None: as that says.
      eps_nu: added to the roots of nu, and without consistent_rms to the norm.
      spread: the axis of the mesh, or a tuple of axes, over whose devices whole matrices are dealt out; None: each is iterated on
        where it lives.
      wire: with spread, the dtype in which matrices travel between devices; None: that of the iteration.
      gram: the same numbers by products of the shorter side; fewer operations where the longer is twice as long or more.

    >>> tx = gx.normuon(0.02, weight_dimension_numbers={"b": None, "w": "flax"}, adam_learning_rate=1e-3)  # None: no matrix, so AdamW
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    PartitionState: under "normuon" NorMuonState(count, mu, nu, ns_coeffs) and stateless stages, under "adam" the state of
             `adamw`. Memory: 1 x the matrices, and 1 / inputs; 2 x the rest.
    Cost     ns_steps (4 s^2 l + 2 s^3) for a matrix of sides s <= l; with gram at most 8 s^2 l + 8 ns_steps s^3.
    Units    learning_rate has those of a spectral norm, as with `muon`; with consistent_rms those of p, as with `adamw`.
    Shapes   matrices (inputs, outputs) get NorMuon; with weight_dimension_numbers the leaves that have some. Do not use it for embeddings
             and the last layer: say None of them.
    Sharded  inside `shard_map` the device's own part of a matrix counts as the matrix; under `jit` the whole does.
    Source   Li et al. 2025, arXiv:2510.05491; consistent_rms=0.2 is the paper's scale, without it that of the authors' repository.
    Differs  as `scale_by_normuon`.
    Raises   MissingArgumentError: no params. HyperparameterError: an argument out of range, no table of that name, no mesh for spread,
             spread names no axis of it.
    """
    if isinstance(ns_coeffs, str):
        polynomials("normuon", ns_coeffs, ns_steps)
    matrices = chain(
        scale_by_normuon(
            ns_coeffs, ns_steps, beta, beta2, eps, mu_dtype,
            nesterov=nesterov, preconditioning=preconditioning, weight_dimension_numbers=weight_dimension_numbers,
            consistent_rms=consistent_rms, eps_nu=eps_nu, spread=spread, wire=wire, gram=gram,
        ),
        scale_by_shape(weight_dimension_numbers, shape_scale=shape_scale if consistent_rms is None else None),
        add_decayed_weights(weight_decay, weight_decay_mask),
        scale_by_learning_rate(learning_rate),
    )  # fmt: skip
    return with_adam(
        "normuon", matrices, weight_dimension_numbers, learning_rate, adam_learning_rate,
        adam_b1, adam_b2, eps, adam_eps_root, mu_dtype, adam_weight_decay, nesterov,
    )  # fmt: skip
