"""Mechanic: a scale for another optimizer's updates, learned while it runs."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp

from gradxform._numerics import inner, sum_sq
from gradxform._types import Clock, Count, Extra, Field, Inner, NonNegative, ParamsCopy, Positive, Real, Shared
from gradxform.core import GradientTransformation, per_tree, wrapper
from gradxform.optimizers import sgd
from gradxform.registry import transform

Each = Annotated[Shared, Field(first=lambda num_betas: jnp.zeros(num_betas), dtype="params")]
"""One number for each decay of the tuner."""


class MechanicState(NamedTuple):
    """The inner state; for each decay of the tuner its reward r, largest |h| m, sum of h^2 v and scale s; the first parameters."""

    base_optimizer_state: Inner
    count: Clock
    r: Each
    m: Each
    v: Each
    s: Annotated[Each, Field(first=lambda num_betas, s_init: jnp.full(num_betas, s_init))]
    x0: Annotated[ParamsCopy, Field(constant=True, far=True)]


def _moved(s, p, c, eps):
    """The first parameters, which are those of the first update, and what the inner updates so far add up to, downhill counted as +."""
    x0 = jnp.where(c.t == 1, p, s.x0)
    return x0, (x0 - p) / (jnp.sum(s.s) + eps)


def _total(g, s, p, c, eps):
    _, moved = _moved(s, p, c, eps)
    return inner(g, moved), inner(p, moved), sum_sq(g), sum_sq(p)


def _advance(s, c, weight_decay, eps, s_init, num_betas):
    along_g, along_p, g_sq, p_sq = c.total
    beta = jnp.asarray([1 - 0.1**i for i in range(1, num_betas + 1)], s.s.dtype)
    h = along_g + weight_decay * jnp.sum(s.s) * jnp.sqrt(g_sq) / (jnp.sqrt(p_sq) + eps) * along_p
    clipped = jnp.clip(h, -s.m, s.m)
    m = jnp.maximum(beta * s.m, jnp.abs(h) + eps)
    v = beta**2 * s.v + h**2
    r = beta * s.r + clipped * s.s
    wealth = s_init / num_betas * m + jnp.maximum(r, 0)
    return s._replace(r=r, m=m, v=v, s=wealth / (jnp.sqrt(v) + eps)), {}


@per_tree(MechanicState, needs=("params", Extra("step", per_leaf=True)), total=_total, advance=_advance)
def _mechanize(
    g, s, p, c, weight_decay: Real = 1e-2, eps: NonNegative = 1e-8, s_init: Positive = 1e-6, num_betas: Count = 6
):  # fmt: skip
    """The scale of the inner updates so far, applied to them all: p moves to x0 - sum(s) moved."""
    x0, moved = _moved(s, p, c, eps)
    u = x0 - jnp.sum(c.s) * (moved - c.step) - p
    return u, s._replace(x0=x0)


def _evaluated(params, s, after, inside):
    scale = jnp.sum(s.s)
    return inside(params, lambda steps: after(jax.tree.map(lambda x: scale.astype(x.dtype) * x, steps)))


@transform(
    source="Cutkosky et al. 2023, arXiv:2306.00144, Algorithm 1",
    example={"base_optimizer": sgd(1.0), "weight_decay": 0.0},
)
@wrapper(MechanicState, needs=("params",), evaluate=_evaluated)
def mechanize(
    g, s, p, c,
    base_optimizer: GradientTransformation, weight_decay: Real = 1e-2, eps: NonNegative = 1e-8, s_init: Positive = 1e-6,
    num_betas: Count = 6,
):  # fmt: skip
    """Mechanic: learn the scale of another optimizer's updates, and so its learning rate.

        D = (x0 - p) / (sum(s) + eps)                                       x0 the first parameters
        h = <g + weight_decay sum(s) ||g|| / (||p|| + eps) p, D>            over all leaves
        r = beta r + max(-m, min(h, m)) s                                   beta = 0.9, 0.99, ..., num_betas of them; so r, m, v, s
        m = max(beta m, |h| + eps)
        v = beta^2 v + h^2
        s = (s_init / num_betas m + max(r, 0)) / (sqrt(v) + eps)
        u = x0 - sum(s) (D - base_optimizer(g)) - p

    Give the base optimizer a learning rate of 1, or a schedule that peaks at 1. It should not normalize its updates by the parameters,
    as LARS and LAMB do.

    Args:
      base_optimizer: the optimizer whose scale is learned, with a learning rate of 1, or a schedule that peaks at 1.
      weight_decay: the part of the parameters, scaled to the gradient's norm, that is added to the gradient.
      eps: the first scale of h, and added to divisors.
      s_init: the first scale.
      num_betas: the number of memories: 0.9, 0.99, ...

    >>> tx = gx.contrib.mechanize(gx.adamw(1.0))

    State    MechanicState(base_optimizer_state, count, r, m, v, s, x0). x0 is a copy of p, from the first update on that of p there.
             Memory: 1 x params, and that of base_optimizer.
    Units    those of base_optimizer.
    Shapes   any, scalars and complex included.
    Sharded  inside `shard_map` sums over the tree are over the device's own parts, and each device goes on with its own; under
             `jit` over all.
    Source   Cutkosky et al. 2023, arXiv:2306.00144, Algorithm 1; the bound on h is the authors', after the paper.
    Differs  r, m, v and s of narrow parameters are float32; the state can be donated together with the parameters.
    Raises   MissingArgumentError: no params. StructureError: base_optimizer is not a transformation. HyperparameterError: s_init <= 0,
             num_betas < 1, eps < 0.
    """
    step, inner_state = base_optimizer.update(g, s.base_optimizer_state, p)
    u, s = c.lift(_mechanize, g, s, p, step=step)
    return u, s._replace(base_optimizer_state=inner_state)
