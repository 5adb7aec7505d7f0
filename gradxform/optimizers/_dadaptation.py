"""D-Adaptation and Prodigy: Adam that estimates how far away the solution is, and with it the learning rate."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import jax.numpy as jnp

from gradxform._numerics import abs_sq, inner
from gradxform._types import Clock, Decay, Field, NonNegative, ParamsCopy, Positive, Real, RealUpdates, Shared, Updates
from gradxform.core import per_tree
from gradxform.registry import optimizer

Estimate = Annotated[Shared, Field(first=lambda estim_lr0: estim_lr0, dtype="params", constant=True)]
Sum = Annotated[Shared, Field(first=lambda: 0.0, dtype="params")]


class DAdaptAdamWState(NamedTuple):
    """The running means of rate g, |g|^2 and rate g again (slower), the estimate d, and the numerator of its next value."""

    exp_avg: Annotated[Updates, Field(mean=lambda betas: betas[0])]
    exp_avg_sq: Annotated[RealUpdates, Field(mean=lambda betas: betas[1], nonnegative=True, lasting=True)]
    grad_sum: Updates
    estim_lr: Estimate
    numerator_weighted: Sum
    count: Clock


class ProdigyState(NamedTuple):
    """The running means of d g and |d g|^2, the weighted sum of g, the first parameters, d, and the numerator of its next value."""

    exp_avg: Annotated[Updates, Field(mean=lambda betas: betas[0], partner="exp_avg_sq")]
    exp_avg_sq: Annotated[RealUpdates, Field(mean=lambda betas: betas[1], nonnegative=True)]
    grad_sum: Updates
    params0: Annotated[ParamsCopy, Field(constant=True)]
    estim_lr: Estimate
    numerator_weighted: Sum
    count: Clock


def _rate(s, c, learning_rate, betas):
    """d times the learning rate and Adam's two bias corrections."""
    b1, b2 = betas
    return s.estim_lr * learning_rate * c.debias(1.0, b1) / jnp.sqrt(c.debias(1.0, b2))


def _larger(d, above, below):
    """The larger of d and above / below; d where nothing has come in yet."""
    return jnp.maximum(d, jnp.where(below > 0, above / jnp.where(below > 0, below, 1), 0))


def _dadapt_sum(g, s, c, learning_rate, betas):
    b = betas[1] ** 0.5
    return b * s.grad_sum + (1 - b) * _rate(s, c, learning_rate, betas) * g


def _dadapt_total(g, s, p, c, learning_rate, betas, eps):
    return inner(g, s.grad_sum / (jnp.sqrt(s.exp_avg_sq) + eps)), jnp.sum(jnp.abs(_dadapt_sum(g, s, c, learning_rate, betas)))


def _dadapt_advance(s, c, learning_rate, betas):
    b, (along, size) = betas[1] ** 0.5, c.total
    rate = _rate(s, c, learning_rate, betas)
    numerator = b * s.numerator_weighted + (1 - b) * rate * along
    d = _larger(s.estim_lr, numerator, (1 - b) * size)
    return s._replace(estim_lr=d, numerator_weighted=numerator), {"rate": rate}


@optimizer(
    source="Defazio & Mishchenko 2023, arXiv:2301.07733, Algorithm 5",
    homogeneity=0,
    rates={"default": 1.0, "digits": 1.0},
)
@per_tree(DAdaptAdamWState, needs=("params",), total=_dadapt_total, advance=_dadapt_advance)
def dadapt_adamw(
    g, s, p, c,
    learning_rate: Real = 1.0, betas: tuple[Decay, Decay] = (0.9, 0.999), eps: NonNegative = 1e-8, estim_lr0: Positive = 1e-6,
    weight_decay: Real = 0.0,
):  # fmt: skip
    """AdamW with a learning rate found by D-Adaptation: d, a growing lower bound on the distance to the solution.

        b, rate = sqrt(b2), learning_rate d sqrt(1 - b2^t) / (1 - b1^t)
        r   = b r + (1 - b) rate <g, S / (sqrt(v) + eps)>                   over all leaves, S and v before this update
        m   = b1 m + (1 - b1) rate g
        v   = b2 v + (1 - b2) |g|^2
        S   = b S + (1 - b) rate g
        d   = max(d, r / ((1 - b) ||S||_1))                                 for the next update
        u   = -m / (sqrt(v) + eps) - weight_decay rate p

    Args:
      learning_rate: a factor of the steps that are found: 1, or a schedule that peaks at 1.
      betas: how much of the running means of gradients and of squares stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.
      estim_lr0: the first estimate of the distance to the solution, small: it only grows.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update.

    >>> tx = gx.contrib.dadapt_adamw(gx.cosine_decay_schedule(1.0, 1000))

    State    exp_avg m, exp_avg_sq v, grad_sum S: like p, float32 or wider; estim_lr d, numerator_weighted r; count. Memory: 3 x params.
    Units    learning_rate is dimensionless, 1 or a schedule that peaks at 1: scaling every gradient by k > 0 leaves u unchanged.
    Shapes   any, scalars and complex included.
    Sharded  inside `shard_map` sums over the tree are over the device's own parts, and each device goes on with its own; under
             `jit` over all.
    Source   Defazio & Mishchenko 2023, arXiv:2301.07733, Algorithm 5, with the bias correction of the authors' code.
    Differs  zero gradients at the start leave d as it is, where Optax divides 0 by 0; d and r of narrow parameters are float32.
    Raises   MissingArgumentError: no params. HyperparameterError: a beta outside [0, 1), estim_lr0 <= 0, eps < 0.
    """
    b1, b2 = betas
    m = b1 * s.exp_avg + (1 - b1) * c.rate * g
    v = b2 * s.exp_avg_sq + (1 - b2) * abs_sq(g)
    u = -m / (jnp.sqrt(v) + eps) - weight_decay * c.rate * p
    return u, s._replace(exp_avg=m, exp_avg_sq=v, grad_sum=_dadapt_sum(g, s, c, learning_rate, betas))


def _prodigy_sum(g, s, c, learning_rate, betas, beta3, estim_lr0, safeguard_warmup):
    b3 = betas[1] ** 0.5 if beta3 is None else beta3
    weight = s.estim_lr if safeguard_warmup else _rate(s, c, learning_rate, betas)
    return b3 * s.grad_sum + weight * (s.estim_lr / estim_lr0) * g


def _prodigy_total(g, s, p, c, learning_rate, betas, beta3, estim_lr0, safeguard_warmup):
    S = _prodigy_sum(g, s, c, learning_rate, betas, beta3, estim_lr0, safeguard_warmup)
    return inner(g, s.params0 - p), jnp.sum(jnp.abs(S))


def _prodigy_advance(s, c, learning_rate, betas, beta3, estim_lr0, estim_lr_coef):
    b3, (along, size) = betas[1] ** 0.5 if beta3 is None else beta3, c.total
    rate = _rate(s, c, learning_rate, betas)
    numerator = b3 * s.numerator_weighted + (s.estim_lr / estim_lr0) * rate * along
    d = _larger(s.estim_lr, estim_lr_coef * numerator, size)
    return s._replace(estim_lr=d, numerator_weighted=numerator), {"rate": rate}


@optimizer(
    source="Mishchenko & Defazio 2023, arXiv:2306.06101, Algorithm 4",
    homogeneity=0,
    rates={"default": 1.0, "digits": 1.0},
)
@per_tree(ProdigyState, needs=("params",), total=_prodigy_total, advance=_prodigy_advance)
def prodigy(
    g, s, p, c,
    learning_rate: Real = 1.0, betas: tuple[Decay, Decay] = (0.9, 0.999), beta3: Decay | None = None, eps: NonNegative = 1e-8,
    estim_lr0: Positive = 1e-6, estim_lr_coef: Positive = 1.0, weight_decay: Real = 0.0, safeguard_warmup: bool = False,
):  # fmt: skip
    """Prodigy: AdamW with a learning rate found from the distance that the parameters have come, faster than by D-Adaptation.

        rate = learning_rate d sqrt(1 - b2^t) / (1 - b1^t)
        r    = b3 r + d/d0 rate <g, p0 - p>                                 over all leaves; p0 the first parameters, d0 = estim_lr0
        m    = b1 m + (1 - b1) d g
        v    = b2 v + (1 - b2) |d g|^2
        S    = b3 S + d/d0 rate g                                           safeguard_warmup: d for rate
        d'   = max(d, estim_lr_coef r / ||S||_1)
        u    = -rate (m / (sqrt(v) + d' eps) + weight_decay p);  d = d'

    b3 is beta3, or sqrt(b2). estim_lr_coef is the one knob worth turning: 2 for larger, 0.5 for smaller steps.

    Args:
      learning_rate: a factor of the steps that are found: 1, or a schedule that peaks at 1.
      betas: how much of the running means of gradients and of squares stays at each update.
      beta3: how much of the sums that estimate the distance stays; None: sqrt(b2).
      eps: added to the divisor, in its units, so that it is never 0.
      estim_lr0: the first estimate of the distance to the solution, small: it only grows.
      estim_lr_coef: a factor of the estimate: 2 for larger, 0.5 for smaller steps.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update.
      safeguard_warmup: leave the rate out of the sums, which helps with a long warm-up.

    >>> tx = gx.contrib.prodigy(gx.cosine_decay_schedule(1.0, 1000), weight_decay=0.01)

    State    exp_avg m, exp_avg_sq v, grad_sum S: like p, float32 or wider; params0 p0, a copy of p; estim_lr d, numerator_weighted r;
             count. Memory: 4 x params.
    Units    learning_rate is dimensionless, 1 or a schedule that peaks at 1: scaling every gradient by k > 0 leaves u unchanged.
    Shapes   any, scalars and complex included.
    Sharded  inside `shard_map` sums over the tree are over the device's own parts, and each device goes on with its own; under
             `jit` over all.
    Source   Mishchenko & Defazio 2023, arXiv:2306.06101, Algorithm 4, with the bias correction of the authors' code.
    Differs  zero gradients at the start leave d as it is, where Optax divides 0 by 0; d and r of narrow parameters are float32; the
             state can be donated together with the parameters.
    Raises   MissingArgumentError: no params. HyperparameterError: a beta outside [0, 1), estim_lr0 or estim_lr_coef <= 0, eps < 0.
    """
    b1, b2 = betas
    m = b1 * s.exp_avg + (1 - b1) * s.estim_lr * g
    v = b2 * s.exp_avg_sq + (1 - b2) * abs_sq(s.estim_lr * g)
    S = _prodigy_sum(g, s, c, learning_rate, betas, beta3, estim_lr0, safeguard_warmup)
    u = -c.rate * (m / (jnp.sqrt(v) + c.estim_lr * eps) + weight_decay * p)
    return u, s._replace(exp_avg=m, exp_avg_sq=v, grad_sum=S)
