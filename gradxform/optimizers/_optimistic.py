"""Optimistic descent, for games: gradient descent and Adam."""

from __future__ import annotations

import warnings
from typing import Annotated, NamedTuple

import jax.numpy as jnp

from gradxform._numerics import in_place
from gradxform._types import Average, Decay, DType, Field, Hyper, NonNegative, Real, Shared, Updates
from gradxform.core import GradientTransformationExtraArgs, chain, elementwise
from gradxform.optimizers._adam import scale_by_adam
from gradxform.registry import optimizer, transform
from gradxform.transforms import scale_by_learning_rate


class ScaleByOptimisticGradientState(NamedTuple):
    """Whether no update has been made, and the last g."""

    is_initial_step: Annotated[Shared, Field(first=lambda: True, advance=lambda first, c: jnp.zeros_like(first))]
    previous_gradient: Updates


@transform(source="Mokhtari et al. 2020, arXiv:1901.08511", homogeneity=1)
@elementwise(ScaleByOptimisticGradientState)
def scale_by_optimistic_gradient(g, s, p, c, alpha: Real = 1.0, beta: Real = 1.0):
    """Extrapolate the gradient by its last change.

        u = alpha g + beta (g - last g)         alpha g at the first update

    Args:
      alpha: the weight of the gradient.
      beta: the weight of the gradient's last change.

    >>> tx = gx.chain(gx.scale_by_optimistic_gradient(), gx.scale_by_learning_rate(0.1))

    State    is_initial_step; previous_gradient: like p, float32 or wider. Memory: 1 x params.
    Units    those of g.
    Shapes   any, scalars and complex included.
    Source   Mokhtari et al. 2020, arXiv:1901.08511, the generalized optimistic gradient; alpha = beta = 1: Popov 1980.
    Differs  the last gradient of narrow parameters is float32.
    Raises   HyperparameterError: alpha or beta is not a finite number.
    """
    g = in_place(g, s.previous_gradient, s.is_initial_step)
    last = jnp.where(s.is_initial_step, g, s.previous_gradient)
    return (alpha + beta) * g - beta * last, s._replace(previous_gradient=g)


@optimizer(
    source="Mokhtari et al. 2020, arXiv:1901.08511",
    example={"learning_rate": 0.1},
    homogeneity=1,
    rates={"default": 0.1, "digits": 0.1},
    identities=[("optimistic_gradient_descent(0.1, beta=0.0)", "sgd(0.1)")],
)
def optimistic_gradient_descent(learning_rate: Real[Hyper], alpha: Real[Hyper] = 1.0, beta: Real[Hyper] = 1.0):
    """Descend along the gradient, extrapolated by its last change.

        u = -learning_rate (alpha g + beta (g - last g))            -learning_rate alpha g at the first update

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      alpha: the weight of the gradient.
      beta: the weight of the gradient's last change.

    >>> tx = gx.optimistic_gradient_descent(0.1)

    State    (ScaleByOptimisticGradientState(is_initial_step, previous_gradient), EmptyState()). Memory: 1 x params.
    Units    learning_rate has those of p / g.
    Shapes   any, scalars and complex included.
    Source   Mokhtari et al. 2020, arXiv:1901.08511, the generalized optimistic gradient.
    Differs  as `scale_by_optimistic_gradient`; alpha and beta may be schedules, at which Optax fails.
    Raises   HyperparameterError: alpha or beta is not a finite number.
    """
    return chain(scale_by_optimistic_gradient(alpha, beta), scale_by_learning_rate(learning_rate))


@optimizer(
    source="Daskalakis et al. 2018, arXiv:1711.00141",
    example={"learning_rate": 1e-3, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 1e-3, "digits": 1e-2},
    identities=[("optimistic_adam_v2(0.1, beta=0.0)", "nadam(0.1)")],
)
def optimistic_adam_v2(
    learning_rate: Real[Hyper],
    *,
    alpha: Real[Hyper] = 1.0,
    beta: Real[Hyper] = 1.0,
    b1: Average[Hyper] = 0.9,
    b2: Decay[Hyper] = 0.999,
    eps: NonNegative[Hyper] = 1e-8,
    eps_root: NonNegative[Hyper] = 0.0,
    mu_dtype: DType | None = None,
    nesterov: bool = True,
):
    """Optimistic Adam: Adam's direction, extrapolated by its last change.

        d = m / (sqrt(nu^ + eps_root) + eps)                        m, nu^ as in `adam`, or as in `nadam` with nesterov
        u = -learning_rate (alpha d + beta (d - last d))            -learning_rate alpha d at the first update

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      alpha: the weight of the direction.
      beta: the weight of the direction's last change.
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.
      eps_root: added inside the root; more than 0 makes derivatives through the update finite at gradients of 0.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      nesterov: look ahead by one step of the momentum.

    >>> tx = gx.optimistic_adam_v2(1e-3)

    State    (ScaleByAdamState(count, mu, nu), ScaleByOptimisticGradientState(is_initial_step, previous_gradient), EmptyState()).
             Memory: 3 x params.
    Units    learning_rate has those of p.
    Shapes   any, scalars and complex included.
    Source   Daskalakis et al. 2018, arXiv:1711.00141, Algorithm 1.
    Differs  as `scale_by_adam`.
    Raises   HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps < 0, alpha or beta is not a finite number.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        scale_by_optimistic_gradient(alpha, beta),
        scale_by_learning_rate(learning_rate),
    )


def optimistic_adam(
    learning_rate: Real[Hyper],
    optimism: Real[Hyper] | None = None,
    b1: Average[Hyper] = 0.9,
    b2: Decay[Hyper] = 0.999,
    eps: NonNegative[Hyper] = 1e-8,
    eps_root: NonNegative[Hyper] = 0.0,
    mu_dtype: DType | None = None,
    *,
    nesterov: bool = True,
) -> GradientTransformationExtraArgs:
    """Optimistic Adam with a rate for the direction and one for its change. Deprecated: use `optimistic_adam_v2`.

        u = -(learning_rate d + optimism (d - last d))              d as in `optimistic_adam_v2`; optimism=None: learning_rate

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      optimism: the rate of the direction's change; None: learning_rate.
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.
      eps_root: added inside the root; more than 0 makes derivatives through the update finite at gradients of 0.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      nesterov: look ahead by one step of the momentum.

    >>> tx = gx.optimistic_adam_v2(1e-3)  # the same with optimism=None

    State    as `optimistic_adam_v2`.
    Units    learning_rate and optimism have those of p.
    Shapes   any, scalars and complex included.
    Source   Daskalakis et al. 2018, arXiv:1711.00141, Algorithm 1.
    Differs  learning_rate may be a schedule; ScaleByOptimisticGradientState then stands in a CountedState.
    Raises   HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps < 0, optimism is not a finite number.
    """
    warnings.warn("optimistic_adam is deprecated: use `optimistic_adam_v2` instead.", DeprecationWarning, stacklevel=2)
    optimism = learning_rate if optimism is None else optimism
    adam_arguments = {"b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root, "mu_dtype": mu_dtype, "nesterov": nesterov}
    return optimistic_adam_v2(1.0, alpha=learning_rate, beta=optimism, **adam_arguments)
