"""DC-ASGD: descent along gradients that arrive late."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp

from gradxform._numerics import in_place
from gradxform._types import Bound, Clock, Extra, Hyper, Momentum, NonNegative, Real, Updates
from gradxform.core import chain, elementwise
from gradxform.registry import optimizer, transform
from gradxform.transforms import identity, scale_by_learning_rate, trace


class CompensateDelayState(NamedTuple):
    """The parameters of the last update."""

    count: Clock
    previous: Updates


@transform(source="Zheng et al. 2017, arXiv:1609.08326, equation 10")
@elementwise(CompensateDelayState, needs=("params", Extra("delayed_params", per_leaf=True, optional=True)))
def compensate_delay(g, s, p, c, lamda: NonNegative = 0.04, limit: Bound | None = 10.0):
    """Move gradients that were computed at earlier parameters to where the parameters are now.

        x = lamda |g| (p - delayed_params)
        u = g + |g| x / max(1, |x| / limit)     limit=None: g + |g| x

    The Hessian that this takes is the diagonal lamda |g|^2. `update(..., delayed_params=w)` says where g was computed. Without it
    that is where the parameters were at the last update: one synchronous worker, whose first update is not compensated.

    Args:
      lamda: the weight of the compensation: of order 1 over the size of g p.
      limit: the largest compensation, in units of |g|; None: no bound.

    >>> tx = gx.chain(gx.compensate_delay(lamda=0.04), gx.sgd(0.1))
    >>> updates, state = tx.update(grads, tx.init(params), params, delayed_params=params)

    State    count; previous: like p, float32 or wider. Memory: 1 x params.
    Units    those of g; lamda has those of 1 / (g p).
    Shapes   any, scalars and complex included.
    Source   Zheng et al. 2017, arXiv:1609.08326, equation 10.
    Differs  Optax has no such transformation. `limit`, which the paper has not, bounds the compensation at limit |g|: the expansion
             means nothing there, and the cube of a large gradient overflows.
    Raises   MissingArgumentError: no params. StructureError: delayed_params is no such tree.
             HyperparameterError: lamda < 0, limit < 0.
    """
    here = jnp.where(c.t == 1, p, s.previous) if c.delayed_params is None else c.delayed_params
    x = lamda * jnp.abs(g) * (p - here)
    bounded = x if limit is None else x / jnp.maximum(1, jnp.abs(x) / limit)
    return g + jnp.abs(g) * bounded, s._replace(previous=in_place(p, s.previous, c.t == 1))


@optimizer(
    source="Zheng et al. 2017, arXiv:1609.08326",
    example={"learning_rate": 0.1, "momentum": 0.9},
    rates={"default": 0.1, "digits": 0.1},
    identities=[("dcasgd(0.1, lamda=0.0)", "sgd(0.1)"), ("dcasgd(0.1, 0.9, lamda=0.0)", "sgd(0.1, 0.9)")],
)
def dcasgd(
    learning_rate: Real[Hyper],
    momentum: Momentum[Hyper] | None = None,
    lamda: NonNegative[Hyper] = 0.04,
    limit: Bound[Hyper] | None = 10.0,
):
    """DC-ASGD: descent with delayed gradients, compensated to first order.

        d = g + lamda |g|^2 (p - delayed_params)
        m = -learning_rate d + momentum m       momentum=None: m = -learning_rate d
        u = m

    `update(..., delayed_params=w)` says where g was computed; without it, where the parameters were at the last update. The
    compensation is at most limit |g|.

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      momentum: how much of the decaying sum of steps stays at each update; None: no momentum.
      lamda: the weight of the compensation: of order 1 over the size of g p.
      limit: the largest compensation, in units of |g|; None: no bound.

    >>> tx = gx.dcasgd(0.1, momentum=0.9)
    >>> updates, state = tx.update(grads, tx.init(params), params, delayed_params=params)

    State    (CompensateDelayState(count, previous), EmptyState(), TraceState(trace) or EmptyState()).
             Memory: 1 x params, 2 x with momentum.
    Units    learning_rate has those of p / g; lamda those of 1 / (g p).
    Shapes   any, scalars and complex included.
    Source   Zheng et al. 2017, arXiv:1609.08326, Algorithm 2 (DC-ASGD-c) and equation 10; momentum as in MXNet: the rate stands inside.
    Differs  Optax has no such optimizer. As `compensate_delay`.
    Raises   MissingArgumentError: no params. StructureError: delayed_params is no such tree.
             HyperparameterError: momentum outside [-1, 1], lamda < 0, limit < 0.
    """
    return chain(
        compensate_delay(lamda, limit),
        scale_by_learning_rate(learning_rate),
        identity() if momentum is None else trace(momentum),
    )
