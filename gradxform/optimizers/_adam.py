"""Adam and its relatives: AdamW, NAdam, NAdamW."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp

from gradxform._numerics import abs_sq
from gradxform._types import Decay, NonNegative, RealUpdates, Shared, Updates
from gradxform.core import chain, elementwise
from gradxform.registry import optimizer, transform
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate


class ScaleByAdamState(NamedTuple):
    """The running means of g and |g|^2, not debiased."""

    count: Shared
    mu: Updates
    nu: RealUpdates


@transform(source="Kingma & Ba 2015, arXiv:1412.6980, Algorithm 1", homogeneity=0, example={"eps": 1e-30})
@elementwise(ScaleByAdamState, storage={"mu": "mu_dtype"})
def scale_by_adam(
    g, s, p, c,
    b1: Decay = 0.9, b2: Decay = 0.999, eps: NonNegative = 1e-8, eps_root: NonNegative = 0.0, mu_dtype: Any = None,
    *, nesterov: bool = False,
):  # fmt: skip
    """Divide the gradient's running mean by its running root mean square.

        mu = b1 mu + (1 - b1) g
        nu = b2 nu + (1 - b2) |g|^2
        m  = mu^                                x^ = x / (1 - b^t)
        u  = m / (sqrt(nu^ + eps_root) + eps)

    nesterov:  m = b1 mu / (1 - b1^(t+1)) + (1 - b1) g / (1 - b1^t)

    State    count; mu: like p, float32 or wider unless mu_dtype says otherwise; nu: like p but real. Memory: 2 x params.
    Units    u is dimensionless: scaling every gradient by k > 0 leaves u unchanged (eps -> 0).
    Shapes   any, scalars and complex included.
    Source   Kingma & Ba 2015, arXiv:1412.6980, Algorithm 1; nesterov: Dozat 2016.
    Differs  float32 averages for narrow parameters, so that a zero float16 gradient gives 0 and bfloat16 averages decay. nu is
             real.
    Raises   HyperparameterError: b1 or b2 outside [0, 1), eps < 0.
    """
    mu = b1 * s.mu + (1 - b1) * g
    nu = b2 * s.nu + (1 - b2) * abs_sq(g)
    m = b1 * c.debias(mu, b1, ahead=1) + (1 - b1) * c.debias(g, b1) if nesterov else c.debias(mu, b1)
    u = m / (jnp.sqrt(c.debias(nu, b2) + eps_root) + eps)
    return u, s._replace(mu=mu, nu=nu)


@optimizer(
    source="Kingma & Ba 2015, arXiv:1412.6980",
    example={"learning_rate": 1e-3, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 1e-3, "digits": 1e-2},
)
def adam(
    learning_rate: NonNegative,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
):
    """Adam: momentum, divided by the running root mean square of the gradient.

        mu = b1 mu + (1 - b1) g
        nu = b2 nu + (1 - b2) |g|^2
        u  = -learning_rate mu^ / (sqrt(nu^ + eps_root) + eps)              x^ = x / (1 - b^t)

    State    (ScaleByAdamState(count, mu, nu), EmptyState()). Memory: 2 x params.
    Units    learning_rate has those of p: the step is about learning_rate per element.
    Shapes   any, scalars and complex included.
    Source   Kingma & Ba 2015, arXiv:1412.6980, Algorithm 1.
    Differs  as `scale_by_adam`.
    Raises   HyperparameterError: learning_rate < 0, b1 or b2 outside [0, 1), eps < 0.
    """
    return chain(scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov), scale_by_learning_rate(learning_rate))


@optimizer(
    source="Loshchilov & Hutter 2019, arXiv:1711.05101",
    example={"learning_rate": 1e-3, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 1e-3, "digits": 1e-2},
    identities=[("adamw(0.1, weight_decay=0.0)", "adam(0.1)")],
)
def adamw(
    learning_rate: NonNegative,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    mu_dtype: Any = None,
    weight_decay: NonNegative = 1e-4,
    mask: Any = None,
    *,
    nesterov: bool = False,
):
    """AdamW: Adam with weight decay that does not pass through the preconditioner.

        mu = b1 mu + (1 - b1) g
        nu = b2 nu + (1 - b2) |g|^2
        u  = -learning_rate (mu^ / (sqrt(nu^ + eps_root) + eps) + weight_decay p)              x^ = x / (1 - b^t)

    State    (ScaleByAdamState(count, mu, nu), EmptyState(), EmptyState()). Memory: 2 x params.
    Units    learning_rate has those of p; weight_decay those of 1 / p.
    Shapes   any, scalars and complex included.
    Source   Loshchilov & Hutter 2019, arXiv:1711.05101, Algorithm 2; the decay is multiplied by the rate, as in PyTorch.
    Differs  as `scale_by_adam`.
    Raises   MissingArgumentError: no params. HyperparameterError: learning_rate < 0, b1 or b2 outside [0, 1), eps < 0.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )


@optimizer(
    source="Dozat 2016, ICLR workshop",
    example={"learning_rate": 1e-3, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 1e-3, "digits": 1e-2},
    identities=[("nadam(0.1)", "adam(0.1, nesterov=True)")],
)
def nadam(
    learning_rate: NonNegative,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = True,
):
    """NAdam: Adam with Nesterov's look-ahead in the numerator.

        mu = b1 mu + (1 - b1) g
        nu = b2 nu + (1 - b2) |g|^2
        m  = b1 mu / (1 - b1^(t+1)) + (1 - b1) g / (1 - b1^t)
        u  = -learning_rate m / (sqrt(nu^ + eps_root) + eps)                nu^ = nu / (1 - b2^t)

    State    (ScaleByAdamState(count, mu, nu), EmptyState()). Memory: 2 x params.
    Units    learning_rate has those of p.
    Shapes   any, scalars and complex included.
    Source   Dozat 2016, "Incorporating Nesterov momentum into Adam", with a constant b1 and no further factor b2.
    Differs  as `scale_by_adam`.
    Raises   HyperparameterError: learning_rate < 0, b1 or b2 outside [0, 1), eps < 0.
    """
    return adam(learning_rate, b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov)


@optimizer(
    source="Dozat 2016; Loshchilov & Hutter 2019",
    example={"learning_rate": 1e-3, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 1e-3, "digits": 1e-2},
    identities=[("nadamw(0.1, weight_decay=0.0)", "nadam(0.1)")],
)
def nadamw(
    learning_rate: NonNegative,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    mu_dtype: Any = None,
    weight_decay: NonNegative = 1e-4,
    mask: Any = None,
    *,
    nesterov: bool = True,
):
    """NAdamW: NAdam with decoupled weight decay.

        m = b1 mu / (1 - b1^(t+1)) + (1 - b1) g / (1 - b1^t)                mu, nu as in `nadam`
        u = -learning_rate (m / (sqrt(nu^ + eps_root) + eps) + weight_decay p)

    State    (ScaleByAdamState(count, mu, nu), EmptyState(), EmptyState()). Memory: 2 x params.
    Units    learning_rate has those of p; weight_decay those of 1 / p.
    Shapes   any, scalars and complex included.
    Source   Dozat 2016; Loshchilov & Hutter 2019, arXiv:1711.05101.
    Differs  as `scale_by_adam`.
    Raises   MissingArgumentError: no params. HyperparameterError: learning_rate < 0, b1 or b2 outside [0, 1), eps < 0.
    """
    return adamw(learning_rate, b1, b2, eps, eps_root, mu_dtype, weight_decay, mask, nesterov=nesterov)
