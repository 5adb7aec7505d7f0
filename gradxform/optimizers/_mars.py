"""MARS: AdamW, Lion or Muon, with gradients corrected by how they change."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import jax.numpy as jnp

from gradxform._numerics import abs_sq, norm
from gradxform._types import (
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
    Updates,
    Whole,
)
from gradxform.core import chain, per_leaf
from gradxform.core._roles import DimensionNumbers, Roles
from gradxform.linear_algebra._newton_schulz import newton_schulz
from gradxform.linear_algebra._polynomials import JORDAN, polynomials
from gradxform.optimizers._matrices import Coefficients, rows_of, shape_factor, with_adam
from gradxform.registry import optimizer, transform
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate

Kind = Literal["adamw", "lion", "muon"]


class ScaleByMarsState(NamedTuple):
    """The running means of the corrected gradient c and of |c|^2, not debiased, and the gradient of the last update."""

    count: Clock
    mu: Annotated[Updates, Field(stored="mu_dtype", mean="b1")]
    nu: Annotated[RealUpdates, Field(mean="b2", nonnegative=True)]
    last_grad: Updates


@transform(source="Yuan et al. 2024, arXiv:2411.10438, Algorithms 2 to 4")
@per_leaf(ScaleByMarsState, stack=True, sees="tensor")
def scale_by_mars(
    g, s, p, c,
    b1: Average = 0.95, b2: Decay = 0.99, eps: NonNegative = 1e-8, gamma: Real = 0.025, mu_dtype: DType | None = None,
    *, kind: Kind = "adamw", clip_threshold: Positive | None = 1.0, ns_coeffs: Coefficients = JORDAN, ns_steps: Whole = 5,
    weight_dimension_numbers: Roles = None,
):  # fmt: skip
    """Correct the gradient by a part of how it changed, clip it, and average it.

        d  = g + gamma b1 / (1 - b1) (g - last_grad)
        d  = d / max(1, ||d|| / clip_threshold)
        mu = b1 mu + (1 - b1) d
        kind="adamw":  nu = b2 nu + (1 - b2) |d|^2;  u = mu^ / (sqrt(nu^) + eps)                    x^ = x / (1 - b^t)
        kind="lion":   u = sign(mu)
        kind="muon":   u = sqrt(max(1, outputs / inputs)) newton_schulz(mu / (1 - b1))              a leaf that is no matrix: as "adamw"

    Args:
      b1: how much of the running mean of corrected gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the divisor, in its units, so that it is never 0; of "muon" to the norm by which the matrix is divided first.
      gamma: how much of the correction counts; 0: none.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      kind: what is made of the running mean: "adamw", "lion" or "muon".
      clip_threshold: the largest norm of a leaf's corrected gradient; None: any.
      ns_coeffs: the coefficients of the Newton-Schulz polynomial, a row for all steps or one for each; or the name of a table: "standard",
        "dion", "polar_express", "deepseek_v4", "cans", "cubic", "turbo", "dion2".
      ns_steps: the number of Newton-Schulz steps; a table with a row for each is used whole, "polar_express" as far as they go.
      weight_dimension_numbers: which axes are a leaf's inputs and outputs: `WeightDimensionNumbers`, "flax", "equinox", "conv" or None; one
        for all, patterns of paths, a tree, or a function.

    >>> tx = gx.chain(gx.scale_by_mars(kind="lion"), gx.scale_by_learning_rate(3e-4))

    State    count; mu, last_grad: like p, float32 or wider, mu unless mu_dtype says otherwise; nu: like p but real, 0 where it is not
             asked. Memory: 3 x params.
    Cost     kind="muon": FLOPs for a matrix of sides s <= l: ns_steps (4 s^2 l + 2 s^3).
    Units    u is dimensionless; gradients are those of a norm of about clip_threshold.
    Shapes   any, scalars and complex included; each matrix of a batch is clipped by itself.
    Sharded  inside `shard_map` the device's own part of a matrix counts as the matrix; under `jit` the whole does.
    Source   Yuan et al. 2024, arXiv:2411.10438, Algorithms 2 to 4; "muon": the authors' mars-shampoo.
    Differs  Optax has none. It is the approximate form: last_grad is that of the last batch, at first 0. The exact form has the gradient
             of the present batch at the last parameters.
    Raises   HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps < 0, gamma is not a finite number, clip_threshold <= 0, an
             unknown kind, no table of that name. StructureError: roles that do not fit a leaf.
    """
    d = g + gamma * b1 / (1 - b1) * (g - s.last_grad)
    d = d if clip_threshold is None else d / jnp.maximum(1, norm(d) / clip_threshold)
    mu = b1 * s.mu + (1 - b1) * d
    s = s._replace(mu=mu, last_grad=g)
    if kind == "lion":
        return jnp.sign(mu), s
    if kind == "muon" and g.ndim == 2:
        rows = rows_of("scale_by_mars", ns_coeffs, ns_steps, ns_steps).astype(c.dtype)
        u = c.whole(newton_schulz, mu / (1 - b1), rows, ns_steps, "frobenius", eps)
        return shape_factor("original", None, *g.shape) * u, s
    nu = b2 * s.nu + (1 - b2) * abs_sq(d)
    return c.debias(mu, b1) / (jnp.sqrt(c.debias(nu, b2)) + eps), s._replace(nu=nu)


@optimizer(source="Yuan et al. 2024, arXiv:2411.10438", example={"learning_rate": 3e-3}, rates={"default": 3e-3, "digits": 1e-2})
def mars(
    learning_rate: Real[Hyper],
    b1: Average[Hyper] = 0.95,
    b2: Decay[Hyper] = 0.99,
    eps: NonNegative[Hyper] = 1e-8,
    gamma: Real[Hyper] = 0.025,
    weight_decay: Real[Hyper] = 0.0,
    mask: MaskOrFn = None,
    mu_dtype: DType | None = None,
    *,
    kind: Kind = "adamw",
    clip_threshold: Positive[Hyper] | None = 1.0,
    optimize_1d: bool = False,
    adam_b1: Average[Hyper] = 0.9,
    adam_b2: Decay[Hyper] = 0.95,
    adam_weight_decay: Real[Hyper] = 0.1,
    adam_learning_rate: Real[Hyper] | None = None,
    ns_coeffs: Coefficients = JORDAN,
    ns_steps: Whole = 5,
    weight_dimension_numbers: DimensionNumbers = None,
):
    """MARS: AdamW, Lion or Muon for matrices, with less noise in what they average; AdamW for everything else.

        d  = g + gamma b1 / (1 - b1) (g - last_grad)
        d  = d / max(1, ||d|| / clip_threshold)
        mu = b1 mu + (1 - b1) d
        kind="adamw":  nu = b2 nu + (1 - b2) |d|^2;  u = -learning_rate (mu^ / (sqrt(nu^) + eps) + weight_decay p)
        kind="lion":   u = -learning_rate (sign(mu) + weight_decay p)
        kind="muon":   u = -learning_rate (sqrt(max(1, outputs / inputs)) newton_schulz(mu / (1 - b1)) + weight_decay p)

    Where the gradient turns, d turns first: for a small gamma it estimates what the mean of fresh gradients would be.

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of corrected gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the divisor, in its units, so that it is never 0; of "muon" to the norm by which the matrix is divided first.
      gamma: how much of the correction counts; 0: none.
      weight_decay: decoupled decay of the matrices: the part of the parameters, times learning_rate, that is taken away.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      kind: what is made of the running mean: "adamw", "lion" or "muon".
      clip_threshold: the largest norm of a leaf's corrected gradient; None: any.
      optimize_1d: whether leaves that are no matrices get the same; False: plain AdamW.
      adam_b1: b1 of the AdamW that the other leaves get.
      adam_b2: b2 of the AdamW that the other leaves get.
      adam_weight_decay: weight_decay of the AdamW that the other leaves get.
      adam_learning_rate: the rate of the AdamW that the other leaves get; None: learning_rate.
      ns_coeffs: the coefficients of the Newton-Schulz polynomial, a row for all steps or one for each; or the name of a table: "standard",
        "dion", "polar_express", "deepseek_v4", "cans", "cubic", "turbo", "dion2".
      ns_steps: the number of Newton-Schulz steps; a table with a row for each is used whole, "polar_express" as far as they go.
      weight_dimension_numbers: which axes are a leaf's inputs and outputs: `WeightDimensionNumbers`, "flax", "equinox", "conv" or None; one
        for all, patterns of paths, a tree, or a function.

    >>> tx = gx.mars(3e-3)
    >>> tx = gx.mars(0.02, kind="muon", adam_learning_rate=3e-3)

    State    a PartitionState: for "mars" (ScaleByMarsState(count, mu, nu, last_grad), EmptyState(), EmptyState()), for "adam" that of
             `adamw`; with optimize_1d the former alone. Memory: 3 x the matrices, 2 x the rest.
    Cost     kind="muon": FLOPs for a matrix of sides s <= l: ns_steps (4 s^2 l + 2 s^3).
    Units    learning_rate has those of p, of "muon" those of a spectral norm. weight_decay has those of 1 / p.
    Shapes   matrices (inputs, outputs), with weight_dimension_numbers the leaves that have some, get MARS.
    Sharded  inside `shard_map` the device's own part of a matrix counts as the matrix; under `jit` the whole does.
    Source   Yuan et al. 2024, arXiv:2411.10438, Algorithms 2 to 4; "muon": the authors' mars-shampoo.
    Differs  as `scale_by_mars`. With zero_grad(set_to_none=False) the authors' code keeps no gradient of the last update, so that
             gamma counts for nothing.
    Raises   MissingArgumentError: no params. HyperparameterError: an argument out of range, an unknown kind, no table of that name.
             StructureError: roles that do not fit a leaf.
    """
    if isinstance(ns_coeffs, str):
        polynomials("mars", ns_coeffs, ns_steps)
    matrices = chain(
        scale_by_mars(
            b1, b2, eps, gamma, mu_dtype,
            kind=kind, clip_threshold=clip_threshold, ns_coeffs=ns_coeffs, ns_steps=ns_steps,
            weight_dimension_numbers=weight_dimension_numbers,
        ),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )  # fmt: skip
    if optimize_1d:
        return matrices
    rest = adam_b1, adam_b2, eps, 0.0, mu_dtype, adam_weight_decay, False
    return with_adam("mars", matrices, weight_dimension_numbers, learning_rate, adam_learning_rate, *rest)
