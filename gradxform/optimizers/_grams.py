"""Grams."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform._numerics import abs_sq
from gradxform._types import Average, Decay, DType, Hyper, MaskOrFn, NonNegative, Real
from gradxform.core import chain, elementwise
from gradxform.optimizers._adam import ScaleByAdamState, bias_corrected
from gradxform.registry import optimizer, transform
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate


@transform(source="Cao et al. 2024, arXiv:2412.17107, Algorithm 1", homogeneity=0, example={"eps": 1e-30})
@elementwise(ScaleByAdamState)
def scale_by_grams(g, s, p, c, b1: Average = 0.9, b2: Decay = 0.999, eps: NonNegative = 1e-6, mu_dtype: DType | None = None):
    """Take the size of Adam's step, and the sign of the gradient.

        mu = b1 mu + (1 - b1) g
        nu = b2 nu + (1 - b2) |g|^2
        m  = mu / (sqrt(nu) + eps) sqrt(1 - b2^t) / (1 - b1^t)
        u  = |m| sign(g)

    Args:
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the root of nu before nu is debiased.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.

    >>> tx = gx.chain(gx.scale_by_grams(), gx.scale_by_learning_rate(1e-3))

    State    count; mu: like p, float32 or wider unless mu_dtype says otherwise; nu: like p but real. Memory: 2 x params.
    Units    u is dimensionless: scaling every gradient by k > 0 leaves u unchanged (eps -> 0).
    Shapes   any, scalars and complex included; the sign of a complex number is its phase.
    Source   Cao et al. 2024, arXiv:2412.17107, Algorithm 1, eps where the authors' code has it.
    Differs  Optax has none.
    Raises   HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps < 0.
    """
    mu = b1 * s.mu + (1 - b1) * g
    nu = b2 * s.nu + (1 - b2) * abs_sq(g)
    m = bias_corrected(c, mu / (jnp.sqrt(nu) + eps), b1, b2)
    return jnp.abs(m) * jnp.sign(g), s._replace(mu=mu, nu=nu)


@optimizer(
    source="Cao et al. 2024, arXiv:2412.17107",
    example={"learning_rate": 1e-3, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 1e-3, "digits": 1e-2},
)
def grams(
    learning_rate: Real[Hyper],
    b1: Average[Hyper] = 0.9,
    b2: Decay[Hyper] = 0.999,
    eps: NonNegative[Hyper] = 1e-6,
    mu_dtype: DType | None = None,
    weight_decay: Real[Hyper] = 0.0,
    mask: MaskOrFn = None,
):
    """Grams: the size of each element's step from Adam, its direction from the gradient.

        mu = b1 mu + (1 - b1) g
        nu = b2 nu + (1 - b2) |g|^2
        m  = mu / (sqrt(nu) + eps) sqrt(1 - b2^t) / (1 - b1^t)
        u  = -learning_rate (|m| sign(g) + weight_decay p)

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the root of nu before nu is debiased.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.

    >>> tx = gx.grams(1e-3, weight_decay=0.1)

    State    (ScaleByAdamState(count, mu, nu), EmptyState(), EmptyState()). Memory: 2 x params.
    Units    learning_rate has those of p: the step is about learning_rate per element. weight_decay has those of 1 / p.
    Shapes   any, scalars and complex included; the sign of a complex number is its phase.
    Source   Cao et al. 2024, arXiv:2412.17107, Algorithm 1, eps where the authors' code has it.
    Differs  Optax has none.
    Raises   MissingArgumentError: no params. HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps < 0.
    """
    direction = scale_by_grams(b1, b2, eps, mu_dtype)
    return chain(direction, add_decayed_weights(weight_decay, mask), scale_by_learning_rate(learning_rate))
