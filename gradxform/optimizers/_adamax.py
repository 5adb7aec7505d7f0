"""Adamax: Adam in the infinity norm."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from gradxform._types import Decay, NonNegative
from gradxform.core import chain, elementwise
from gradxform.optimizers._adam import ScaleByAdamState
from gradxform.registry import optimizer, transform
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate


@transform(source="Kingma & Ba 2015, arXiv:1412.6980, Algorithm 2", homogeneity=0, example={"eps": 1e-30})
@elementwise(ScaleByAdamState)
def scale_by_adamax(g, s, p, c, b1: Decay = 0.9, b2: Decay = 0.999, eps: NonNegative = 1e-8):
    """Divide the gradient's running mean by its exponentially weighted infinity norm.

        mu = b1 mu + (1 - b1) g
        nu = max(b2 nu, |g| + eps)
        u  = mu^ / nu                           mu^ = mu / (1 - b1^t)

    State    count; mu: like p, float32 or wider; nu: like p but real. Memory: 2 x params.
    Units    u is dimensionless: scaling every gradient by k > 0 leaves u unchanged (eps -> 0).
    Shapes   any, scalars and complex included.
    Source   Kingma & Ba 2015, arXiv:1412.6980, Algorithm 2; eps inside the maximum as in Optax.
    Differs  float32 averages for narrow parameters; 0 / 0 is 0, also with eps=0.
    Raises   HyperparameterError: b1 or b2 outside [0, 1), eps < 0.
    """
    mu = b1 * s.mu + (1 - b1) * g
    nu = jnp.maximum(b2 * s.nu, jnp.abs(g) + eps)
    return jnp.where(nu > 0, c.debias(mu, b1) / jnp.where(nu > 0, nu, 1), 0), s._replace(mu=mu, nu=nu)


@optimizer(
    source="Kingma & Ba 2015, arXiv:1412.6980, section 7.1",
    example={"learning_rate": 2e-3, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 2e-3, "digits": 1e-2},
)
def adamax(learning_rate: NonNegative, b1: Decay = 0.9, b2: Decay = 0.999, eps: NonNegative = 1e-8):
    """Adamax: momentum, divided by the largest recent gradient.

        mu = b1 mu + (1 - b1) g
        nu = max(b2 nu, |g| + eps)
        u  = -learning_rate mu^ / nu            mu^ = mu / (1 - b1^t)

    State    (ScaleByAdamState(count, mu, nu), EmptyState()). Memory: 2 x params.
    Units    learning_rate has those of p.
    Shapes   any, scalars and complex included.
    Source   Kingma & Ba 2015, arXiv:1412.6980, Algorithm 2.
    Differs  as `scale_by_adamax`.
    Raises   HyperparameterError: learning_rate < 0, b1 or b2 outside [0, 1), eps < 0.
    """
    return chain(scale_by_adamax(b1, b2, eps), scale_by_learning_rate(learning_rate))


@optimizer(
    source="Kingma & Ba 2015; Loshchilov & Hutter 2019",
    example={"learning_rate": 2e-3, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 2e-3, "digits": 1e-2},
    identities=[("adamaxw(0.1, weight_decay=0.0)", "adamax(0.1)")],
)
def adamaxw(
    learning_rate: NonNegative,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative = 1e-4,
    mask: Any = None,
):
    """Adamax with decoupled weight decay.

        u = -learning_rate (mu^ / nu + weight_decay p)                      mu, nu as in `adamax`

    State    (ScaleByAdamState(count, mu, nu), EmptyState(), EmptyState()). Memory: 2 x params.
    Units    learning_rate has those of p; weight_decay those of 1 / p.
    Shapes   any, scalars and complex included.
    Source   Kingma & Ba 2015, arXiv:1412.6980; Loshchilov & Hutter 2019, arXiv:1711.05101.
    Differs  as `scale_by_adamax`.
    Raises   MissingArgumentError: no params. HyperparameterError: learning_rate < 0, b1 or b2 outside [0, 1), eps < 0.
    """
    return chain(scale_by_adamax(b1, b2, eps), add_decayed_weights(weight_decay, mask), scale_by_learning_rate(learning_rate))
