"""Scion: steps towards the corner of a norm's ball, a norm for each kind of layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple

import jax.numpy as jnp

from gradxform._errors import StructureError
from gradxform._numerics import size_along
from gradxform._types import (
    Array,
    Average,
    Clock,
    DType,
    Field,
    Hyper,
    LeafNumbers,
    NonNegative,
    PerLeaf,
    Real,
    Shared,
    SpreadOver,
    Tree,
    Updates,
    Whole,
    Wire,
)
from gradxform.core import chain, per_leaf
from gradxform.core._roles import DimensionNumbers, Roles
from gradxform.linear_algebra._newton_schulz import newton_schulz
from gradxform.linear_algebra._polynomials import JORDAN, polynomials
from gradxform.optimizers._matrices import Coefficients, coefficients
from gradxform.registry import optimizer, transform
from gradxform.transforms import add_decayed_weights, identity, scale_by_learning_rate

Norm = Literal["auto", "spectral", "spectral_max", "sign", "column", "row", "bias"]
Norms = Annotated[str | Tree, PerLeaf(Norm)]
"""One norm for all leaves, or labels of the leaves."""


class ScionState(NamedTuple):
    """The running mean of g, and the coefficients of the iteration."""

    count: Clock
    mu: Annotated[Updates, Field(stored="mu_dtype", mean="beta")]
    ns_coeffs: Annotated[Shared, coefficients("scale_by_lmo")]


def _lmo(whole: Callable[..., Array], x: Array, norm: str, eps: float | Array, coeffs: Array, steps: int) -> Array:
    """The corner of the unit ball of a norm in the direction of x, of which `whole` computes what needs a whole matrix."""
    length = lambda axis: size_along(x, axis)
    if norm == "bias" or (norm == "auto" and x.ndim < 2):
        return x / (length(None) / math.sqrt(max(x.size, 1)) + eps)
    if norm == "auto" and x.ndim > 2:
        *kernel, inputs, outputs = x.shape
        u = whole(newton_schulz, x.reshape(-1, outputs), coeffs, steps, "frobenius", eps)
        return math.sqrt(outputs / max(inputs, 1)) / max(math.prod(kernel), 1) * u.reshape(x.shape)
    if x.ndim != 2:
        raise StructureError(
            f"scale_by_lmo: the norm {norm!r} is one of matrices, but a leaf, or what its role leaves of it, has shape {x.shape}. Give it "
            '"auto" or "bias", or say which axes are inputs and outputs: `weight_dimension_numbers=WeightDimensionNumbers(...)`.'
        )
    inputs, outputs = max(x.shape[0], 1), max(x.shape[1], 1)
    if norm == "sign":
        return jnp.sign(x) / inputs
    if norm == "column":
        return x / (length(1) / math.sqrt(outputs) + eps)
    if norm == "row":
        return x / (length(0) * math.sqrt(inputs) + eps)
    scale = math.sqrt(outputs / inputs)
    return (max(1.0, scale) if norm == "spectral_max" else scale) * whole(newton_schulz, x, coeffs, steps, "frobenius", eps)


@transform(source="Pethick et al. 2025, arXiv:2502.07529", homogeneity=0, example={"eps": 1e-30})
@per_leaf(ScionState, stack=True, sees="tensor")
def scale_by_lmo(
    g, s, p, c,
    norm: Norms = "auto", radius: LeafNumbers = 1.0, beta: Average = 0.9, eps: NonNegative = 1e-8, mu_dtype: DType | None = None,
    *, ns_coeffs: Coefficients = JORDAN, ns_steps: Whole = 5, weight_dimension_numbers: Roles = None,
    spread: SpreadOver = None, wire: Wire = jnp.bfloat16,
):  # fmt: skip
    """Go to the corner of a norm's ball that lies in the direction of the gradient's running mean.

        mu = beta mu + (1 - beta) g
        u  = radius lmo(mu)

        norm              lmo(x) of x (inputs, outputs)                             the ball
        "spectral"        sqrt(outputs / inputs) newton_schulz(x)                   of matrices that keep the RMS of an input
        "spectral_max"    max(1, sqrt(outputs / inputs)) newton_schulz(x)
        "sign"            sign(x) / inputs                                          of the largest element
        "column"          x, the outputs of each input to RMS 1                     for embeddings
        "row"             x, the inputs of each output to norm 1 / sqrt(inputs)     for the last layer
        "bias"            x / (RMS of x)                                            of the RMS
        "auto"            "bias" for 0 and 1 axes, "spectral" for 2, and for more, which are (kernel..., inputs, outputs),
                          sqrt(outputs / inputs) / prod(kernel) newton_schulz of (kernel inputs, outputs)

    Args:
      norm: whose ball it is: "auto", "spectral", "spectral_max", "sign", "column", "row" or "bias"; one for all leaves, or patterns such
        as `{"head/*": "sign"}` (the others "auto"), a tree, a function.
      radius: the radius of the ball: a number, or patterns, a tree, a function of (path, leaf).
      beta: how much of the running mean of gradients stays at each update.
      eps: added to the norms by which a leaf is divided.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      ns_coeffs: the coefficients of the Newton-Schulz polynomial, a row for all steps or one for each; or the name of a table:
        "standard", "dion", "polar_express", "deepseek_v4", "cans", "cubic", "turbo", "dion2".
      ns_steps: the number of Newton-Schulz steps; a table with a row for each is used whole, "polar_express" as far as they go.
      weight_dimension_numbers: which axes are a leaf's inputs and outputs: `WeightDimensionNumbers`, "flax", "equinox", "conv" or
        None; one for all, patterns of paths, a tree, or a function.
      spread: the axis of the mesh, or a tuple of axes, over whose devices whole matrices are dealt out; None: each is iterated on
        where it lives.
      wire: with spread, the dtype in which matrices travel between devices; None: that of the iteration.

    >>> tx = gx.chain(gx.scale_by_lmo({"b": "bias", "w": "spectral"}), gx.scale_by_learning_rate(0.02))

    State    count; mu: like p, float32 or wider unless mu_dtype says otherwise; ns_coeffs. Memory: 1 x params.
    Cost     ns_steps (4 s^2 l + 2 s^3) for a matrix of sides s <= l whose norm is "spectral", "spectral_max" or "auto".
    Units    those of radius: scaling every gradient by k > 0 leaves u unchanged (eps -> 0).
    Shapes   any; leaves with two axes are (inputs, outputs), those with more convolutions. With weight_dimension_numbers leaves that have
             some are matrices, also batches of them, and the others vectors. With spread what is orthogonalized travels whole, as the
             matrices of `scale_by_muon`.
    Sharded  inside `shard_map` the device's own part of a leaf counts as the leaf; under `jit` the whole does.
    Source   Pethick et al. 2025, arXiv:2502.07529, Table 2, and the authors' repository.
    Differs  beta is 1 minus the paper's momentum. A zero gradient gives 0 in every dtype, and iterations of narrow parameters are float32.
    Raises   StructureError: a norm of matrices for another leaf. HyperparameterError: beta outside (-1, 1), eps < 0, no norm of
             that name, ns_coeffs of another shape, no table of that name, no mesh for spread, spread names no axis of it.
             LabelError: a pattern matches no leaf, a radius is not a number.
    """
    mu = beta * s.mu + (1 - beta) * g
    u = c.radius * _lmo(c.whole, mu, norm, eps, s.ns_coeffs.astype(c.dtype), ns_steps)
    return u, s._replace(mu=mu)


@optimizer(
    source="Pethick et al. 2025, arXiv:2502.07529",
    example={"learning_rate": 0.01, "radius": 10.0, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 1e-2, "digits": 1e-2},
)
def scion(
    learning_rate: Real[Hyper],
    norm: Norms = "auto",
    radius: LeafNumbers = 1.0,
    beta: Average[Hyper] = 0.9,
    eps: NonNegative[Hyper] = 1e-8,
    mu_dtype: DType | None = None,
    *,
    constrained: bool = True,
    ns_coeffs: Coefficients = JORDAN,
    ns_steps: Whole = 5,
    weight_dimension_numbers: DimensionNumbers = None,
    spread: SpreadOver = None,
    wire: Wire = jnp.bfloat16,
):
    """Scion: a part of the way to the corner of a norm's ball in the direction of the gradient, for every layer.

        mu = beta mu + (1 - beta) g
        u  = -learning_rate (radius lmo(mu) + p)                    constrained=False: -learning_rate radius lmo(mu)

    With constrained, parameters that begin inside of the ball stay there, and what begins outside comes in; there is no other decay, and
    no other optimizer for embeddings or vectors: `scale_by_lmo` says what lmo is for each norm.

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      norm: whose ball it is: "auto", "spectral", "spectral_max", "sign", "column", "row" or "bias"; one for all leaves, or patterns
        such as `{"head/*": "sign"}` (the others "auto"), a tree, a function.
      radius: the radius of the ball: a number, or patterns, a tree, a function of (path, leaf).
      beta: how much of the running mean of gradients stays at each update.
      eps: added to the norms by which a leaf is divided.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      constrained: keep the parameters in the ball, by a decay of the rate itself.
      ns_coeffs: the coefficients of the Newton-Schulz polynomial, a row for all steps or one for each; or the name of a table:
        "standard", "dion", "polar_express", "deepseek_v4", "cans", "cubic", "turbo", "dion2".
      ns_steps: the number of Newton-Schulz steps; a table with a row for each is used whole, "polar_express" as far as they go.
      weight_dimension_numbers: which axes are a leaf's inputs and outputs: `WeightDimensionNumbers`, "flax", "equinox", "conv" or
        None; one for all, patterns of paths, a tree, or a function.
      spread: the axis of the mesh, or a tuple of axes, over whose devices whole matrices are dealt out; None: each is iterated on
        where it lives.
      wire: with spread, the dtype in which matrices travel between devices; None: that of the iteration.

    >>> gpt = gx.scion(2**-12, {"head/*": "sign"}, {"head/*": 3000.0, "default": 50.0})  # all other layers "auto"
    >>> tx = gx.scion(0.01, {"b": "bias", "w": "spectral"}, radius=10.0)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    (ScionState(count, mu, ns_coeffs), EmptyState(), EmptyState()). Memory: 1 x params.
    Cost     ns_steps (4 s^2 l + 2 s^3) for a matrix of sides s <= l whose norm is "spectral", "spectral_max" or "auto".
    Units    radius has those of p in its norm; learning_rate is the part of the way, between 0 and 1 if constrained.
    Shapes   any; leaves with two axes are (inputs, outputs), those with more convolutions (kernel..., inputs, outputs).
    Sharded  inside `shard_map` the device's own part of a leaf counts as the leaf; under `jit` the whole does.
    Source   Pethick et al. 2025, arXiv:2502.07529, Algorithms 1 and 2.
    Differs  as `scale_by_lmo`. Parameters are taken as they come; the authors initialise each layer on its ball.
    Raises   as `scale_by_lmo`; MissingArgumentError: no params.
    """
    if isinstance(ns_coeffs, str):
        polynomials("scion", ns_coeffs, ns_steps)
    return chain(
        scale_by_lmo(
            norm, radius, beta, eps, mu_dtype,
            ns_coeffs=ns_coeffs, ns_steps=ns_steps, weight_dimension_numbers=weight_dimension_numbers, spread=spread, wire=wire,
        ),
        add_decayed_weights(1.0) if constrained else identity(),
        scale_by_learning_rate(learning_rate),
    )  # fmt: skip
