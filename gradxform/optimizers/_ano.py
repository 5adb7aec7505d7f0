"""Ano."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform._numerics import abs_sq
from gradxform._types import Average, Decay, DType, Field, Hyper, MaskOrFn, NonNegative, Real
from gradxform.core import chain, elementwise, layout
from gradxform.optimizers._adam import ScaleByAdamState
from gradxform.registry import optimizer, transform
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate


@transform(source="Kegreisz 2025, doi:10.5281/zenodo.16422081, Algorithm 1", homogeneity=0, example={"eps": 1e-30})
@elementwise(layout(ScaleByAdamState, mu=Field(partner=""), nu=Field(mean="")))
def scale_by_ano(g, s, p, c, b1: Average = 0.92, b2: Decay = 0.99, eps: NonNegative = 1e-8, mu_dtype: DType | None = None):
    """Take the sign of the momentum, and the size of the gradient over its root mean square.

        mu = b1 mu + (1 - b1) g
        nu = max(b2 nu + (1 - b2) sign(|g|^2 - nu) |g|^2, 0)
        u  = |g| sign(mu) / sqrt(nu^ + eps)                                 nu^ = nu / (1 - b2^t)

    The maximum changes nothing where b2 >= 1/2.

    Args:
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the mean of squares stays at each update.
      eps: added inside the root by which the gradient is divided.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.

    >>> tx = gx.chain(gx.scale_by_ano(), gx.scale_by_learning_rate(1e-4))

    State    count; mu: like p, float32 or wider unless mu_dtype says otherwise; nu: like p but real. Memory: 2 x params.
    Units    u is dimensionless: scaling every gradient by k > 0 leaves u unchanged (eps -> 0).
    Shapes   any, scalars and complex included; the sign of a complex number is its phase.
    Source   Kegreisz 2025, doi:10.5281/zenodo.16422081, Algorithm 1.
    Differs  Optax has none.
    Raises   HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps < 0.
    """
    mu = b1 * s.mu + (1 - b1) * g
    nu = jnp.maximum(b2 * s.nu + (1 - b2) * jnp.sign(abs_sq(g) - s.nu) * abs_sq(g), 0)
    u = jnp.abs(g) * jnp.sign(mu) / jnp.sqrt(c.debias(nu, b2) + eps)
    return u, s._replace(mu=mu, nu=nu)


@optimizer(
    source="Kegreisz 2025, doi:10.5281/zenodo.16422081",
    example={"learning_rate": 1e-3, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 1e-4, "digits": 1e-3},
)
def ano(
    learning_rate: Real[Hyper],
    b1: Average[Hyper] = 0.92,
    b2: Decay[Hyper] = 0.99,
    eps: NonNegative[Hyper] = 1e-8,
    mu_dtype: DType | None = None,
    weight_decay: Real[Hyper] = 0.0,
    mask: MaskOrFn = None,
):
    """Ano: momentum says where to, the gradient how far.

        mu = b1 mu + (1 - b1) g
        nu = max(b2 nu + (1 - b2) sign(|g|^2 - nu) |g|^2, 0)
        u  = -learning_rate (|g| sign(mu) / sqrt(nu^ + eps) + weight_decay p)                       nu^ = nu / (1 - b2^t)

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the mean of squares stays at each update.
      eps: added inside the root by which the gradient is divided.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.

    >>> tx = gx.ano(1e-4)

    State    (ScaleByAdamState(count, mu, nu), EmptyState(), EmptyState()). Memory: 2 x params.
    Units    learning_rate has those of p: the step is about learning_rate per element. weight_decay has those of 1 / p.
    Shapes   any, scalars and complex included; the sign of a complex number is its phase.
    Source   Kegreisz 2025, doi:10.5281/zenodo.16422081, Algorithm 1.
    Differs  Optax has none.
    Raises   MissingArgumentError: no params. HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps < 0.
    """
    direction = scale_by_ano(b1, b2, eps, mu_dtype)
    return chain(direction, add_decayed_weights(weight_decay, mask), scale_by_learning_rate(learning_rate))
