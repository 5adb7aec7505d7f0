"""AdaMuon: orthogonalized signs of a momentum, each element divided by its root mean square."""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple

import jax.numpy as jnp

from gradxform._numerics import abs_sq
from gradxform._types import (
    Average,
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
from gradxform.optimizers._matrices import Coefficients, coefficients, with_adam
from gradxform.registry import optimizer, transform
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate


class AdaMuonState(NamedTuple):
    """Running means of g and of |o|^2, and the coefficients of the iteration."""

    count: Clock
    mu: Annotated[Updates, Field(stored="mu_dtype", mean="beta")]
    nu: Annotated[RealUpdates, Field(mean=lambda beta, beta2: beta if beta2 is None else beta2, nonnegative=True)]
    ns_coeffs: Annotated[Shared, coefficients("scale_by_adamuon")]


@transform(source="Si et al. 2025, arXiv:2507.11005", homogeneity=0, example={"eps": 1e-30}, ndim=2)
@per_leaf(AdaMuonState, stack=True, sees="matrix")
def scale_by_adamuon(
    g, s, p, c,
    ns_coeffs: Coefficients = JORDAN, ns_steps: Whole = 5, beta: Average = 0.95, beta2: Decay | None = None, eps: NonNegative = 1e-7,
    mu_dtype: DType | None = None,
    *, nesterov: bool = True, sign: bool = True, preconditioning: Preconditioning = "frobenius", weight_dimension_numbers: Roles = None,
    consistent_rms: NonNegative = 0.2, eps_nu: NonNegative = 1e-8, spread: SpreadOver = None, wire: Wire = jnp.bfloat16,
    gram: bool = False,
):  # fmt: skip
    """Orthogonalize the signs of the gradient's running mean, and divide each element by its root mean square.

        mu = beta mu + (1 - beta) g
        m  = beta mu + (1 - beta) g                                 nesterov=False: mu
        o  = newton_schulz(sign(m))                                 sign=False: of m
        nu = b2 nu + (1 - b2) |o|^2                                 b2 = beta2, or beta
        v  = o / (sqrt(nu) + eps_nu)
        u  = consistent_rms sqrt(inputs outputs) v / (|v| + eps_nu)

    Args:
      ns_coeffs: the coefficients of the Newton-Schulz polynomial, a row for all steps or one for each; or the name of a table:
        "standard", "dion", "polar_express", "deepseek_v4", "cans", "cubic", "turbo", "dion2".
      ns_steps: the number of Newton-Schulz steps; a table with a row for each is used whole, "polar_express" as far as they go.
      beta: how much of the running mean of gradients stays at each update.
      beta2: how much of the running mean of squares stays at each update; None: beta.
      eps: added to the norm by which the matrix is divided first.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      nesterov: look ahead by one step of the momentum.
      sign: orthogonalize the signs of the momentum, so that the sizes of its elements do not count.
      preconditioning: how the matrix is scaled first: "frobenius", "spectral", "aol" or "schatten".
      weight_dimension_numbers: which axes are a leaf's inputs and outputs: `WeightDimensionNumbers`, "flax", "equinox", "conv" or
        None; one for all, patterns of paths, a tree, or a function.
      consistent_rms: the root mean square of every matrix's step, in units of the rate.
      eps_nu: added to the roots of nu, and to the norm.
      spread: the axis of the mesh, or a tuple of axes, over whose devices whole matrices are dealt out; None: each is iterated on
        where it lives.
      wire: with spread, the dtype in which matrices travel between devices; None: that of the iteration.
      gram: the same numbers by products of the shorter side; fewer operations where the longer is twice as long or more.

    >>> tx = gx.chain(gx.masked(gx.scale_by_adamuon(), gx.by_ndim(2)), gx.scale_by_learning_rate(1e-3))

    State    count; mu: like p, float32 or wider unless mu_dtype says otherwise; nu: like p, real, float32 or wider; ns_coeffs.
             Memory: 2 x params.
    Cost     ns_steps (4 s^2 l + 2 s^3) for a matrix of sides s <= l; with gram at most 8 s^2 l + 8 ns_steps s^3.
    Units    u is dimensionless, its root mean square is consistent_rms: scaling every gradient by k > 0 leaves u unchanged (eps -> 0).
    Shapes   matrices (inputs, outputs); other shapes with weight_dimension_numbers, also batches of matrices.
    Sharded  inside `shard_map` the device's own part of a matrix counts as the matrix; under `jit` the whole does.
    Source   Si et al. 2025, arXiv:2507.11005, as the authors' repository has it.
    Differs  from the repository: a zero gradient gives 0 in every dtype, and iterations of narrow parameters are float32. nu is not
             debiased, there as here: the norm takes out what all elements share. Of a square matrix "aol" scales the inputs, as with
             `muon`. The sign of a complex number is its phase.
    Raises   StructureError: a leaf is not a matrix. HyperparameterError: beta outside (-1, 1), beta2 outside [0, 1), another argument < 0,
             ns_coeffs of another shape, no table of that name, an unknown preconditioning, no mesh for spread, spread names no axis of it.
    """
    b2 = beta if beta2 is None else beta2
    mu = beta * s.mu + (1 - beta) * g
    m = beta * mu + (1 - beta) * g if nesterov else mu
    x = jnp.sign(m) if sign else m
    o = c.whole(newton_schulz, x, s.ns_coeffs.astype(c.dtype), ns_steps, preconditioning, eps, gram)
    nu = b2 * s.nu + (1 - b2) * abs_sq(o)
    v = o / (jnp.sqrt(nu) + eps_nu)
    u = consistent_rms * math.sqrt(g.size) / (frobenius(v) + eps_nu) * v
    return u, s._replace(mu=mu, nu=nu)


@optimizer(
    source="Si et al. 2025, arXiv:2507.11005",
    example={"learning_rate": 0.02, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 2e-2, "digits": 3e-2},
)
def adamuon(
    learning_rate: Real[Hyper],
    ns_coeffs: Coefficients = JORDAN,
    ns_steps: Whole = 5,
    beta: Average[Hyper] = 0.95,
    beta2: Decay[Hyper] | None = None,
    eps: NonNegative[Hyper] = 1e-7,
    weight_decay: Real[Hyper] = 0.01,
    weight_decay_mask: MaskOrFn = None,
    mu_dtype: DType | None = None,
    *,
    nesterov: bool = True,
    sign: bool = True,
    preconditioning: Preconditioning = "frobenius",
    adam_b1: Average[Hyper] = 0.9,
    adam_b2: Decay[Hyper] = 0.999,
    adam_eps_root: NonNegative[Hyper] = 0.0,
    adam_weight_decay: Real[Hyper] = 0.0,
    adam_learning_rate: Real[Hyper] | None = None,
    weight_dimension_numbers: DimensionNumbers = None,
    consistent_rms: NonNegative[Hyper] = 0.2,
    eps_nu: NonNegative[Hyper] = 1e-8,
    spread: SpreadOver = None,
    wire: Wire = jnp.bfloat16,
    gram: bool = False,
):
    """AdaMuon: orthogonalized signs of a momentum, divided by their root mean square, for matrices; AdamW for everything else.

        o = newton_schulz(sign(beta mu + (1 - beta) g))             mu = beta mu + (1 - beta) g
        v = o / (sqrt(nu) + eps_nu)                                 nu = beta2 nu + (1 - beta2) |o|^2
        u = -learning_rate (consistent_rms sqrt(inputs outputs) v / |v| + weight_decay p)

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      ns_coeffs: the coefficients of the Newton-Schulz polynomial, a row for all steps or one for each; or the name of a table:
        "standard", "dion", "polar_express", "deepseek_v4", "cans", "cubic", "turbo", "dion2".
      ns_steps: the number of Newton-Schulz steps; a table with a row for each is used whole, "polar_express" as far as they go.
      beta: how much of the running mean of gradients stays at each update.
      beta2: how much of the running mean of squares stays at each update; None: beta.
      eps: added to the norm by which the matrix is divided first.
      weight_decay: decoupled decay of the matrices: the part of the parameters, times learning_rate, that is taken away.
      weight_decay_mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a
        function; None: all.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      nesterov: look ahead by one step of the momentum.
      sign: orthogonalize the signs of the momentum, so that the sizes of its elements do not count.
      preconditioning: how the matrix is scaled first: "frobenius", "spectral", "aol" or "schatten".
      adam_b1: b1 of the AdamW that the other leaves get.
      adam_b2: b2 of the AdamW that the other leaves get.
      adam_eps_root: eps_root of the AdamW that the other leaves get.
      adam_weight_decay: weight_decay of the AdamW that the other leaves get.
      adam_learning_rate: the rate of the AdamW that the other leaves get; None: learning_rate.
      weight_dimension_numbers: which axes are a leaf's inputs and outputs: `WeightDimensionNumbers`, "flax", "equinox", "conv" or
        None; one for all, patterns of paths, a tree, or a function.
      consistent_rms: the root mean square of every matrix's step, in units of the rate.
      eps_nu: added to the roots of nu, and to the norm.
      spread: the axis of the mesh, or a tuple of axes, over whose devices whole matrices are dealt out; None: each is iterated on
        where it lives.
      wire: with spread, the dtype in which matrices travel between devices; None: that of the iteration.
      gram: the same numbers by products of the shorter side; fewer operations where the longer is twice as long or more.

    >>> tx = gx.adamuon(1e-3, weight_dimension_numbers={"b": None, "w": "flax"})  # None: no matrix, so AdamW
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    PartitionState: under "adamuon" AdaMuonState(count, mu, nu, ns_coeffs) and stateless stages, under "adam" the state of
             `adamw`. Memory: 2 x params.
    Cost     ns_steps (4 s^2 l + 2 s^3) for a matrix of sides s <= l; with gram at most 8 s^2 l + 8 ns_steps s^3.
    Units    learning_rate has those of p, as with `adamw`: the root mean square of a matrix's step is consistent_rms learning_rate.
    Shapes   matrices (inputs, outputs) get AdaMuon; with weight_dimension_numbers the leaves that have some. Do not use it for embeddings
             and the last layer: say None of them.
    Sharded  inside `shard_map` the device's own part of a matrix counts as the matrix; under `jit` the whole does.
    Source   Si et al. 2025, arXiv:2507.11005, as the authors' repository has it.
    Differs  as `scale_by_adamuon`.
    Raises   MissingArgumentError: no params. HyperparameterError: an argument out of range, no table of that name, no mesh for spread,
             spread names no axis of it.
    """
    if isinstance(ns_coeffs, str):
        polynomials("adamuon", ns_coeffs, ns_steps)
    matrices = chain(
        scale_by_adamuon(
            ns_coeffs, ns_steps, beta, beta2, eps, mu_dtype,
            nesterov=nesterov, sign=sign, preconditioning=preconditioning, weight_dimension_numbers=weight_dimension_numbers,
            consistent_rms=consistent_rms, eps_nu=eps_nu, spread=spread, wire=wire, gram=gram,
        ),
        add_decayed_weights(weight_decay, weight_decay_mask),
        scale_by_learning_rate(learning_rate),
    )  # fmt: skip
    return with_adam(
        "adamuon", matrices, weight_dimension_numbers, learning_rate, adam_learning_rate,
        adam_b1, adam_b2, eps, adam_eps_root, mu_dtype, adam_weight_decay, nesterov,
    )  # fmt: skip
