"""MADGRAD."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import jax.numpy as jnp

from gradxform._numerics import abs_sq
from gradxform._types import Clock, Decay, Field, Hyper, NonNegative, ParamsCopy, Real, RealUpdates, Updates
from gradxform.core import chain, elementwise
from gradxform.registry import optimizer, transform
from gradxform.transforms import add_decayed_weights


class MadgradState(NamedTuple):
    """The weighted sums of |g|^2 and g, and the parameters as they began."""

    count: Clock
    grad_sum_sq: Annotated[RealUpdates, Field(nonnegative=True)]
    s: Updates
    x0: Annotated[ParamsCopy, Field(constant=True)]


@transform(
    source="Defazio & Jelassi 2021, arXiv:2101.11075, Algorithm 1", homogeneity=1 / 3, example={"learning_rate": 1e-2, "eps": 1e-30}
)
@elementwise(MadgradState, needs=("params",))
def scale_by_madgrad(g, s, p, c, learning_rate: NonNegative, momentum: Decay = 0.9, eps: NonNegative = 1e-6):
    """Step to a mean of where the parameters are and where the dual average of all gradients puts them.

        lamb        = (learning_rate + eps) sqrt(t)
        grad_sum_sq = grad_sum_sq + lamb |g|^2
        s           = s + lamb g
        z           = x0 - s / (cbrt(grad_sum_sq) + eps)
        u           = (1 - momentum) (z - p)

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      momentum: how much of the way to the dual average is not gone at each update.
      eps: added to the rate and to the cube root.

    >>> tx = gx.scale_by_madgrad(0.1)  # its updates are complete

    State    count; grad_sum_sq: like p but real; s: like p, float32 or wider; x0: a copy of the first parameters. Memory: 3 x params.
    Units    those of p: scaling every gradient by k > 0 scales z - x0 by k^(1/3) (eps -> 0).
    Shapes   any, scalars and complex included.
    Source   Defazio & Jelassi 2021, arXiv:2101.11075, Algorithm 1.
    Differs  x0 is a copy, so that state and parameters can be donated. Float32 sums for narrow parameters. A negative rate, with which
             Optax descends as well, raises.
    Raises   MissingArgumentError: no params. HyperparameterError: momentum outside [0, 1), learning_rate < 0, eps < 0.
    """
    lamb = (learning_rate + eps) * jnp.sqrt(c.t.astype(c.dtype))
    grad_sum_sq = s.grad_sum_sq + lamb * abs_sq(g)
    dual = s.s + lamb * g
    sigma = jnp.cbrt(grad_sum_sq) + eps
    z = s.x0 - dual / jnp.where(sigma > 0, sigma, 1)
    return (1 - momentum) * (z - p), s._replace(grad_sum_sq=grad_sum_sq, s=dual)


@optimizer(
    source="Defazio & Jelassi 2021, arXiv:2101.11075",
    example={"learning_rate": 1e-2, "eps": 1e-30},
    homogeneity=1 / 3,
    rates={"default": 1e-2, "digits": 1e-2},
    identities=[("madgrad(0.1)", "scale_by_madgrad(0.1)")],
)
def madgrad(
    learning_rate: NonNegative[Hyper],
    momentum: Decay[Hyper] = 0.9,
    weight_decay: Real[Hyper] = 0.0,
    eps: NonNegative[Hyper] = 1e-6,
):
    """MADGRAD: dual averaging with a cube root in place of AdaGrad's square root, and momentum by averaging.

        g           = g + weight_decay p
        lamb        = (learning_rate + eps) sqrt(t)
        grad_sum_sq = grad_sum_sq + lamb |g|^2
        s           = s + lamb g
        u           = (1 - momentum) (x0 - s / (cbrt(grad_sum_sq) + eps) - p)

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      momentum: how much of the way to the dual average is not gone at each update.
      weight_decay: the part of the parameters that is added to the gradient.
      eps: added to the rate and to the cube root.

    >>> tx = gx.contrib.madgrad(0.1)

    State    (EmptyState(), MadgradState(count, grad_sum_sq, s, x0)). Memory: 3 x params.
    Units    learning_rate has those of (p^3 / g)^(1/2); weight_decay those of g / p: it is part of the gradient.
    Shapes   any, scalars and complex included.
    Source   Defazio & Jelassi 2021, arXiv:2101.11075, Algorithm 1.
    Differs  as `scale_by_madgrad`.
    Raises   MissingArgumentError: no params. HyperparameterError: momentum outside [0, 1), learning_rate < 0, eps < 0.
    """
    return chain(add_decayed_weights(weight_decay), scale_by_madgrad(learning_rate, momentum, eps))
