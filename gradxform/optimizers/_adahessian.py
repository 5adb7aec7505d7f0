"""AdaHessian."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import jax.numpy as jnp

from gradxform._numerics import abs_sq
from gradxform._types import (
    Average,
    Clock,
    Decay,
    DType,
    Extra,
    Field,
    Hyper,
    Inner,
    MaskOrFn,
    NonNegative,
    Real,
    RealUpdates,
    Updates,
)
from gradxform.core import GradientTransformation, chain, elementwise, wrapper
from gradxform.registry import optimizer, transform
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate
from gradxform.transforms._hutchinson import hutchinson_estimator_diag_hessian, objective


class ScaleByAdahessianState(NamedTuple):
    """The running means of g and of the squared diagonal of the Hessian, not debiased, and the state of what estimates that."""

    count: Clock
    mu: Annotated[Updates, Field(stored="mu_dtype", mean="b1")]
    nu: Annotated[RealUpdates, Field(mean="b2", nonnegative=True)]
    hessian_fn_state: Annotated[Inner, Field(aside=True)]


@elementwise(ScaleByAdahessianState, needs=(Extra("hessian_diag", per_leaf=True),))
def _scale_by_adahessian(g, s, p, c, b1: Average, b2: Decay, eps: NonNegative, hessian_power: NonNegative, mu_dtype: DType | None):
    """Adam, with an estimate of the Hessian's diagonal in the place of the gradient below."""
    mu = b1 * s.mu + (1 - b1) * g
    nu = b2 * s.nu + (1 - b2) * abs_sq(c.hessian_diag)
    u = c.debias(mu, b1) / (jnp.sqrt(c.debias(nu, b2)) ** hessian_power + eps)
    return u, s._replace(mu=mu, nu=nu)


_HUTCHINSON = hutchinson_estimator_diag_hessian()


@transform(source="Yao et al. 2020, arXiv:2006.00719, Algorithm 1", example={"eps": 0.1}, needs={"obj_fn": objective})
@wrapper(ScaleByAdahessianState, needs=("params",))
def scale_by_adahessian(
    g, s, p, c,
    b1: Average[Hyper] = 0.9, b2: Decay[Hyper] = 0.999, eps: NonNegative[Hyper] = 1e-8, hessian_power: NonNegative[Hyper] = 1.0,
    mu_dtype: DType | None = None, *, hessian_diagonal_fn: GradientTransformation = _HUTCHINSON,
):  # fmt: skip
    """Divide the gradient's running mean by the running root mean square of the Hessian's diagonal.

        mu = b1 mu + (1 - b1) g
        nu = b2 nu + (1 - b2) h^2
        u  = mu^ / (sqrt(nu^)^hessian_power + eps)                          x^ = x / (1 - b^t)

    h is what hessian_diagonal_fn makes of g. It gets the parameters and all extra arguments; that of Hutchinson needs `obj_fn`, a
    function of the parameters that returns the loss.

    Args:
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squared curvatures stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.
      hessian_power: 1: divide by the curvature, as Newton's method; 0: not at all; between them, by a power of it.
      mu_dtype: the dtype of the running mean of gradients; None: the parameter's, float32 or wider.
      hessian_diagonal_fn: a transformation from gradients to estimates of the diagonal.

    >>> tx = gx.chain(gx.scale_by_adahessian(), gx.scale_by_learning_rate(0.1))
    >>> updates, state = tx.update(grads, tx.init(params), params, obj_fn=lambda p: jnp.sum(p["w"] ** 2))

    State    ScaleByAdahessianState(count, mu, nu, hessian_fn_state). mu: like p, float32 or wider unless mu_dtype says otherwise; nu:
             like p but real, float32 or wider. Memory: 2 x params.
    Units    with hessian_power=1 those of p.
    Shapes   any, scalars and complex included.
    Sharded  inside `shard_map` `obj_fn` is given the device's own parts, and where the key is the same on every device parts of one
             shape are probed along the same directions; under `jit` the whole is.
    Source   Yao et al. 2020, arXiv:2006.00719, Algorithm 1.
    Differs  Optax has none. The paper's h is averaged over kernels of convolutions, or stretches of a matrix, first.
    Raises   MissingArgumentError: no params, no obj_fn. HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps or
             hessian_power < 0.
    """
    h, hessian_fn_state = hessian_diagonal_fn.update(g, s.hessian_fn_state, p)
    u, s = c.lift(_scale_by_adahessian, g, s, hessian_diag=h)
    return u, s._replace(hessian_fn_state=hessian_fn_state)


@optimizer(
    source="Yao et al. 2020, arXiv:2006.00719",
    example={"learning_rate": 0.1, "eps": 0.1},
    needs={"obj_fn": objective},
    rates={"default": 0.1, "digits": 0.1},
)
def adahessian(
    learning_rate: Real[Hyper],
    b1: Average[Hyper] = 0.9,
    b2: Decay[Hyper] = 0.999,
    eps: NonNegative[Hyper] = 1e-8,
    hessian_power: NonNegative[Hyper] = 1.0,
    mu_dtype: DType | None = None,
    weight_decay: Real[Hyper] = 0.0,
    mask: MaskOrFn = None,
    *,
    hessian_diagonal_fn: GradientTransformation = _HUTCHINSON,
):
    """AdaHessian: Adam that divides by the curvature in the place of the gradient's size.

        mu = b1 mu + (1 - b1) g
        nu = b2 nu + (1 - b2) h^2
        u  = -learning_rate (mu^ / (sqrt(nu^)^hessian_power + eps) + weight_decay p)                x^ = x / (1 - b^t)

    h is an estimate of the Hessian's diagonal: `update(g, state, params, obj_fn=loss)`, where loss is a function of the parameters.

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squared curvatures stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.
      hessian_power: 1: divide by the curvature, as Newton's method; 0: not at all; between them, by a power of it.
      mu_dtype: the dtype of the running mean of gradients; None: the parameter's, float32 or wider.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.
      hessian_diagonal_fn: a transformation from gradients to estimates of the diagonal.

    >>> tx = gx.adahessian(0.1)
    >>> updates, state = tx.update(grads, tx.init(params), params, obj_fn=lambda p: jnp.sum(p["w"] ** 2))

    State    (ScaleByAdahessianState(count, mu, nu, hessian_fn_state), EmptyState(), EmptyState()). Memory: 2 x params.
    Units    learning_rate is dimensionless with hessian_power=1, weight_decay has then those of 1.
    Shapes   any, scalars and complex included.
    Sharded  inside `shard_map` `obj_fn` is given the device's own parts, and where the key is the same on every device parts of one
             shape are probed along the same directions; under `jit` the whole is.
    Source   Yao et al. 2020, arXiv:2006.00719, Algorithm 1.
    Differs  as `scale_by_adahessian`.
    Raises   MissingArgumentError: no params, no obj_fn. HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps or
             hessian_power < 0.
    """
    direction = scale_by_adahessian(b1, b2, eps, hessian_power, mu_dtype, hessian_diagonal_fn=hessian_diagonal_fn)
    return chain(direction, add_decayed_weights(weight_decay, mask), scale_by_learning_rate(learning_rate))
