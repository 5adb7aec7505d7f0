"""AdEMAMix: Adam with a second, much slower momentum, and the simplified form with one momentum."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import jax.numpy as jnp
import numpy as np

from gradxform._numerics import abs_sq, increment
from gradxform._types import (
    Average,
    Clock,
    Decay,
    DType,
    Field,
    Hyper,
    MaskOrFn,
    Momentum,
    NonNegative,
    Real,
    RealUpdates,
    Shared,
    Unit,
    Updates,
)
from gradxform.core import chain, elementwise
from gradxform.registry import optimizer, transform
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate


class ScaleByAdemamixState(NamedTuple):
    """The fast and the slow running mean of g, and that of |g|^2, not debiased; `count_m2` counts updates like `count`."""

    count: Clock
    count_m2: Annotated[Shared, Field(first=lambda: np.int32(0), advance=lambda count, c: increment(count))]
    m1: Annotated[Updates, Field(stored="mu_dtype", mean="b1", partner="nu")]
    m2: Annotated[Updates, Field(stored="mu_dtype", mean="b3")]
    nu: Annotated[RealUpdates, Field(mean="b2", nonnegative=True)]


class ScaleBySimplifiedAdEMAMixState(NamedTuple):
    """The clock, the decaying sum of g, and the running mean of |g|^2, not debiased."""

    t: Clock
    m: Annotated[Updates, Field(mean="b1")]
    n: Annotated[RealUpdates, Field(mean="b2", nonnegative=True)]


@transform(source="Pagliardini et al. 2024, arXiv:2409.03137, Algorithm 1", homogeneity=0, example={"eps": 1e-30})
@elementwise(
    ScaleByAdemamixState,
)
def scale_by_ademamix(
    g, s, p, c,
    b1: Average = 0.9, b2: Decay = 0.999, b3: Unit = 0.9999, alpha: Real = 6.0, eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0, mu_dtype: DType | None = None,
):  # fmt: skip
    """Divide a fast running mean of the gradient, and alpha times a slow one, by its running root mean square.

        m1 = b1 m1 + (1 - b1) g
        m2 = b3 m2 + (1 - b3) g
        nu = b2 nu + (1 - b2) |g|^2
        u  = (m1^ + alpha m2) / (sqrt(nu^ + eps_root) + eps)                x^ = x / (1 - b^t)

    m2 is not debiased: it fills slowly. Schedules for b3 and alpha keep a long memory from hurting early on.

    Args:
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      b3: how much of the slow running mean stays at each update; a schedule, or a number.
      alpha: the weight of the slow mean; a schedule, or a number.
      eps: added to the divisor, in its units, so that it is never 0.
      eps_root: added inside the root; more than 0 makes derivatives through the update finite at gradients of 0.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.

    >>> tx = gx.chain(gx.contrib.scale_by_ademamix(alpha=5.0), gx.scale_by_learning_rate(1e-3))

    State    count; count_m2; m1, m2: like p, float32 or wider unless mu_dtype says otherwise; nu: like p but real. Memory: 3 x params.
    Units    u is dimensionless: scaling every gradient by k > 0 leaves u unchanged (eps -> 0).
    Shapes   any, scalars and complex included.
    Source   Pagliardini et al. 2024, arXiv:2409.03137, Algorithm 1.
    Differs  mu_dtype stays over updates, and is not that of nu; with bfloat16 the slow mean stalls, as 1 - b3 is below its resolution.
             Schedules read `count`. Float32 averages for narrow parameters. The default alpha here is 6.0, that of `ademamix` 5.0.
    Raises   HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), b3 outside [0, 1], eps < 0,
             eps_root < 0.
    """
    m1 = b1 * s.m1 + (1 - b1) * g
    m2 = b3 * s.m2 + (1 - b3) * g
    nu = b2 * s.nu + (1 - b2) * abs_sq(g)
    u = (c.debias(m1, b1) + alpha * m2) / (jnp.sqrt(c.debias(nu, b2) + eps_root) + eps)
    return u, s._replace(m1=m1, m2=m2, nu=nu)


@optimizer(
    source="Pagliardini et al. 2024, arXiv:2409.03137",
    example={"learning_rate": 1e-3, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 1e-3, "digits": 1e-2},
    identities=[("ademamix(0.1, alpha=0.0)", "adam(0.1)")],
)
def ademamix(
    learning_rate: Real[Hyper],
    b1: Average[Hyper] = 0.9,
    b2: Decay[Hyper] = 0.999,
    b3: Unit[Hyper] = 0.9999,
    alpha: Real[Hyper] = 5.0,
    eps: NonNegative[Hyper] = 1e-8,
    eps_root: NonNegative[Hyper] = 0.0,
    mu_dtype: DType | None = None,
    weight_decay: Real[Hyper] = 0.0,
    mask: MaskOrFn = None,
):
    """AdEMAMix: AdamW with a second momentum that remembers ten thousand updates.

        m1 = b1 m1 + (1 - b1) g
        m2 = b3 m2 + (1 - b3) g
        nu = b2 nu + (1 - b2) |g|^2
        u  = -learning_rate ((m1^ + alpha m2) / (sqrt(nu^ + eps_root) + eps) + weight_decay p)              x^ = x / (1 - b^t)

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      b3: how much of the slow running mean stays at each update; a schedule, or a number.
      alpha: the weight of the slow mean; a schedule, or a number.
      eps: added to the divisor, in its units, so that it is never 0.
      eps_root: added inside the root; more than 0 makes derivatives through the update finite at gradients of 0.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.

    >>> tx = gx.ademamix(1e-3, alpha=gx.linear_schedule(0.0, 5.0, 1000))

    State    (ScaleByAdemamixState(count, count_m2, m1, m2, nu), EmptyState(), EmptyState()). Memory: 3 x params.
    Units    learning_rate has those of p; weight_decay those of 1 / p.
    Shapes   any, scalars and complex included.
    Source   Pagliardini et al. 2024, arXiv:2409.03137, Algorithm 1; the decay is multiplied by the rate, as in the paper's program.
    Differs  as `scale_by_ademamix`.
    Raises   MissingArgumentError: no params. HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), b3 outside [0, 1], eps < 0,
             eps_root < 0.
    """
    return chain(
        scale_by_ademamix(b1, b2, b3, alpha, eps, eps_root, mu_dtype),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )


@transform(source="Morwani et al. 2025, arXiv:2502.02431", homogeneity=0, example={"eps": 1e-30})
@elementwise(ScaleBySimplifiedAdEMAMixState)
def scale_by_simplified_ademamix(
    g, s, p, c,
    b1: Momentum = 0.99, b2: Decay = 0.95, alpha: Real = 0.0, eps: NonNegative = 1e-8, eps_root: NonNegative = 0.0,
):  # fmt: skip
    """Divide the gradient's decaying sum, and alpha times the gradient, by its running root mean square.

        m = b1 m + g
        n = b2 n + (1 - b2) |g|^2
        u = (m + alpha g) / (sqrt(n^ + eps_root) + eps)                     x^ = x / (1 - b^t)

    m is a sum, up to 1 / (1 - b1) times as large as a mean: choose the learning rate for that.

    Args:
      b1: how much of the decaying sum stays at each update.
      b2: how much of the running mean of squares stays at each update.
      alpha: the weight of the gradient itself beside the sum.
      eps: added to the divisor, in its units, so that it is never 0.
      eps_root: added inside the root; more than 0 makes derivatives through the update finite at gradients of 0.

    >>> tx = gx.chain(gx.contrib.scale_by_simplified_ademamix(), gx.scale_by_learning_rate(1e-5))

    State    t; m: like p, float32 or wider; n: like p but real. Memory: 2 x params.
    Units    u is dimensionless: scaling every gradient by k > 0 leaves u unchanged (eps -> 0).
    Shapes   any, scalars and complex included.
    Source   Morwani et al. 2025, arXiv:2502.02431, Simplified-AdEMAMix.
    Differs  float32 averages for narrow parameters. Complex gradients: n is the mean of |g|^2, where Optax averages g^2.
    Raises   HyperparameterError: b1 outside [-1, 1], b2 outside [0, 1), alpha not finite, eps < 0, eps_root < 0.
    """
    m = b1 * s.m + g
    n = b2 * s.n + (1 - b2) * abs_sq(g)
    u = (m + alpha * g) / (jnp.sqrt(c.debias(n, b2) + eps_root) + eps)
    return u, s._replace(m=m, n=n)


@optimizer(
    source="Morwani et al. 2025, arXiv:2502.02431",
    example={"learning_rate": 1e-3, "b1": 0.9, "alpha": 2.0, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 1e-3, "digits": 1e-4},
)
def simplified_ademamix(
    learning_rate: Real[Hyper],
    b1: Momentum[Hyper] = 0.99,
    b2: Decay[Hyper] = 0.95,
    alpha: Real[Hyper] = 0.0,
    eps: NonNegative[Hyper] = 1e-8,
    eps_root: NonNegative[Hyper] = 0.0,
    weight_decay: Real[Hyper] = 0.0,
    mask: MaskOrFn = None,
):
    """Simplified AdEMAMix: one momentum, a sum, with alpha times the gradient for the fast one.

        m = b1 m + g
        n = b2 n + (1 - b2) |g|^2
        u = -learning_rate ((m + alpha g) / (sqrt(n^ + eps_root) + eps) + weight_decay p)                   x^ = x / (1 - b^t)

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the decaying sum stays at each update.
      b2: how much of the running mean of squares stays at each update.
      alpha: the weight of the gradient itself beside the sum.
      eps: added to the divisor, in its units, so that it is never 0.
      eps_root: added inside the root; more than 0 makes derivatives through the update finite at gradients of 0.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.

    >>> tx = gx.contrib.simplified_ademamix(1e-5, alpha=100.0)

    State    (ScaleBySimplifiedAdEMAMixState(t, m, n), EmptyState(), EmptyState()). Memory: 2 x params.
    Units    learning_rate has those of p: the step is up to learning_rate / (1 - b1) per element. weight_decay has those of 1 / p.
    Shapes   any, scalars and complex included.
    Source   Morwani et al. 2025, arXiv:2502.02431, Simplified-AdEMAMix.
    Differs  as `scale_by_simplified_ademamix`.
    Raises   MissingArgumentError: no params. HyperparameterError: b1 outside [-1, 1], b2 outside [0, 1), alpha not finite, eps < 0,
             eps_root < 0.
    """
    return chain(
        scale_by_simplified_ademamix(b1, b2, alpha, eps, eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
