"""Sophia: momentum, divided by a running estimate of the curvature, and clipped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp

from gradxform._numerics import clip_elements
from gradxform._types import (
    Array,
    ArrayLike,
    Average,
    Bound,
    Clock,
    Count,
    DType,
    Extra,
    Field,
    Hyper,
    Inner,
    MaskOrFn,
    NonNegative,
    Real,
    RealUpdates,
    Unit,
    Updates,
)
from gradxform.core import GradientTransformation, chain, elementwise, wrapper
from gradxform.core._holes import flatten, is_array
from gradxform.core._hyper import at_rank
from gradxform.core._update_if import update_if
from gradxform.registry import optimizer, transform
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate
from gradxform.transforms._hutchinson import hutchinson_estimator_diag_hessian, objective


class SophiaState(NamedTuple):
    """The running means of g and of the Hessian's diagonal, not debiased, and the state of what estimates that."""

    count: Clock
    mu: Annotated[Updates, Field(stored="mu_dtype", mean="b1")]
    nu: Annotated[RealUpdates, Field(mean="b2")]
    hessian_fn_state: Annotated[Inner, Field(aside=True)]


@elementwise(SophiaState, needs=(Extra("hessian_diag", per_leaf=True), "due"))
def _scale_by_sophia(
    g,
    s,
    p,
    c,
    b1: Average,
    b2: Unit,
    eps: NonNegative,
    gamma: NonNegative,
    clip_threshold: Bound | None,
    mu_dtype: DType | None,
):  # fmt: skip
    """Momentum, divided by the curvature and clipped, given an estimate of the curvature where one is due."""
    mu = b1 * s.mu + (1 - b1) * g
    u = c.debias(mu, b1) / jnp.maximum(gamma * s.nu, eps)
    u = u if clip_threshold is None else clip_elements(u, clip_threshold)
    nu = jnp.where(c.due, b2 * s.nu + (1 - b2) * c.hessian_diag.real, s.nu)
    return u, s._replace(mu=mu, nu=nu)


def _print_win_rate(t: Array, us: Sequence[Array], clip_threshold: ArrayLike, every: ArrayLike) -> None:
    """Print the share of elements that are not clipped, in updates whose number the interval divides."""
    inside = sum(jnp.sum(jnp.abs(x) < at_rank(jnp.asarray(clip_threshold), x.ndim)) for x in us)
    rate = inside / max(sum(x.size for x in us), 1)
    show = lambda: jax.debug.print("Sophia optimizer win rate: {}", rate)
    jax.lax.cond((t % jnp.maximum(every, 1) == 0) & (jnp.asarray(every) > 0), show, lambda: None)


_HUTCHINSON = hutchinson_estimator_diag_hessian()


@transform(source="Liu et al. 2023, arXiv:2305.14342, Algorithm 3", example={"update_interval": 2}, needs={"obj_fn": objective})
@wrapper(SophiaState, needs=("params",))
def scale_by_sophia(
    g, s, p, c,
    b1: Average[Hyper] = 0.965, b2: Unit[Hyper] = 0.99, eps: NonNegative[Hyper] = 1e-8, gamma: NonNegative[Hyper] = 0.01,
    clip_threshold: Bound | None = 1.0, update_interval: Count = 10,
    hessian_diagonal_fn: GradientTransformation = _HUTCHINSON, mu_dtype: DType | None = None, verbose: bool = False,
    print_win_rate_every_n_steps: int = 0,
):  # fmt: skip
    """Divide the gradient's running mean by a running mean of the Hessian's diagonal, and clip.

        mu = b1 mu + (1 - b1) g
        u  = mu^ / max(gamma nu, eps)                                       x^ = x / (1 - b^t)
        u  = min(max(u, -clip_threshold), clip_threshold)
        nu = b2 nu + (1 - b2) h                 every update_interval-th update, beginning with the first

    h is what hessian_diagonal_fn makes of g. It gets the parameters and all extra arguments; that of Hutchinson needs `obj_fn`, a
    function of the parameters that returns the loss. nu is used from the next update on, and is 0 in the first.

    Args:
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of the Hessian's diagonal stays each time that it is estimated.
      eps: the least divisor.
      gamma: a factor of the Hessian's diagonal: smaller clips more elements.
      clip_threshold: the size above which an element of u is cut; None: none is.
      update_interval: the number of updates from one estimate of the Hessian to the next.
      hessian_diagonal_fn: a transformation from gradients to estimates of the diagonal.
      mu_dtype: the dtype of the running mean of gradients; None: the parameter's, float32 or wider.
      verbose: print the share of elements that are not clipped, every so many updates.
      print_win_rate_every_n_steps: how many updates from one print to the next, if verbose.

    >>> tx = gx.chain(gx.scale_by_sophia(), gx.scale_by_learning_rate(1e-3))
    >>> updates, state = tx.update(grads, tx.init(params), params, obj_fn=lambda p: jnp.sum(p["w"] ** 2))

    State    SophiaState(count, mu, nu, hessian_fn_state). mu: like p, float32 or wider unless mu_dtype says otherwise; nu: like p but
             real, float32 or wider. Memory: 2 x params.
    Units    u is a number in [-clip_threshold, clip_threshold].
    Shapes   any, scalars and complex included.
    Sharded  inside `shard_map` `obj_fn` is given the device's own parts, and where the key is the same on every device parts of one
             shape are probed along the same directions; under `jit` the whole is.
    Source   Liu et al. 2023, arXiv:2305.14342, Algorithm 3; there nu is used at once.
    Differs  float32 averages for narrow parameters; nu is real; complex updates, which Optax cannot clip. Optax shows this under `sophia`
             only.
    Raises   MissingArgumentError: no params, no obj_fn. HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1], eps, gamma or
             clip_threshold < 0, update_interval < 1.
    """
    due = jnp.asarray(s.count % update_interval == 0)
    h, hessian_fn_state = update_if(due, hessian_diagonal_fn, g, s.hessian_fn_state, p)
    u, s = c.lift(_scale_by_sophia, g, s, hessian_diag=h, due=due)
    if verbose and clip_threshold is not None:
        us = [x for x in flatten(u)[0] if is_array(x)]
        _print_win_rate(c.t, us, clip_threshold, print_win_rate_every_n_steps)
    return u, s._replace(hessian_fn_state=hessian_fn_state)


@optimizer(
    source="Liu et al. 2023, arXiv:2305.14342",
    example={"learning_rate": 1e-3, "update_interval": 2},
    needs={"obj_fn": objective},
    rates={"default": 1e-3, "digits": 1e-3},
)
def sophia(
    learning_rate: Real[Hyper],
    b1: Average[Hyper] = 0.965,
    b2: Unit[Hyper] = 0.99,
    eps: NonNegative[Hyper] = 1e-8,
    weight_decay: Real[Hyper] = 1e-4,
    weight_decay_mask: MaskOrFn = None,
    gamma: NonNegative[Hyper] = 0.01,
    clip_threshold: Bound[Hyper] | None = 1.0,
    update_interval: Count = 10,
    hessian_diagonal_fn: GradientTransformation = _HUTCHINSON,
    mu_dtype: DType | None = None,
    verbose: bool = False,
    print_win_rate_every_n_steps: int = 0,
):
    """Sophia: momentum, divided by a running mean of the Hessian's diagonal, and clipped; weight decay apart.

        mu = b1 mu + (1 - b1) g
        u  = -learning_rate (clip(mu^ / max(gamma nu, eps)) + weight_decay p)             x^ = x / (1 - b^t)
        nu = b2 nu + (1 - b2) h                 every update_interval-th update, beginning with the first

    h is an estimate of the Hessian's diagonal: `update(g, state, params, obj_fn=loss)`, where loss is a function of the parameters.

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of the Hessian's diagonal stays each time that it is estimated.
      eps: the least divisor.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update.
      weight_decay_mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function;
        None: all.
      gamma: a factor of the Hessian's diagonal: smaller clips more elements.
      clip_threshold: the largest size of an element of the direction; None: no clipping.
      update_interval: the number of updates from one estimate of the Hessian to the next.
      hessian_diagonal_fn: a transformation from gradients to estimates of the Hessian's diagonal.
      mu_dtype: the dtype of the running mean of gradients; None: the parameter's, float32 or wider.
      verbose: print the share of elements that are not clipped, every so many updates.
      print_win_rate_every_n_steps: how many updates from one print to the next, if verbose.

    >>> tx = gx.contrib.sophia(1e-3)
    >>> updates, state = tx.update(grads, tx.init(params), params, obj_fn=lambda p: jnp.sum(p["w"] ** 2))

    State    (SophiaState(count, mu, nu, hessian_fn_state), EmptyState(), EmptyState()). Memory: 2 x params.
    Units    learning_rate has those of p: the step is at most learning_rate clip_threshold per element. weight_decay has those of 1 / p.
    Shapes   any, scalars and complex included.
    Sharded  inside `shard_map` `obj_fn` is given the device's own parts, and where the key is the same on every device parts of one
             shape are probed along the same directions; under `jit` the whole is.
    Source   Liu et al. 2023, arXiv:2305.14342, Algorithm 3.
    Differs  as `scale_by_sophia`.
    Raises   MissingArgumentError: no params, no obj_fn. HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1], eps, gamma or
             clip_threshold < 0, update_interval < 1.
    """
    direction = scale_by_sophia(
        b1, b2, eps, gamma, clip_threshold, update_interval, hessian_diagonal_fn, mu_dtype, verbose, print_win_rate_every_n_steps
    )
    return chain(direction, add_decayed_weights(weight_decay, weight_decay_mask), scale_by_learning_rate(learning_rate))
