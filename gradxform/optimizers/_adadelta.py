"""AdaDelta."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import jax.numpy as jnp

from gradxform._numerics import abs_sq
from gradxform._types import Field, Hyper, MaskOrFn, NonNegative, Real, RealUpdates, Unit
from gradxform.core import chain, elementwise
from gradxform.registry import optimizer, transform
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate


class ScaleByAdaDeltaState(NamedTuple):
    """The running means of |g|^2 and |u|^2."""

    e_g: Annotated[RealUpdates, Field(mean="rho", nonnegative=True)]
    e_x: Annotated[RealUpdates, Field(mean="rho", nonnegative=True, lasting=True)]


@transform(source="Zeiler 2012, arXiv:1212.5701, Algorithm 1")
@elementwise(ScaleByAdaDeltaState)
def scale_by_adadelta(g, s, p, c, rho: Unit = 0.9, eps: NonNegative = 1e-6):
    """Multiply updates by the ratio of the running sizes of past updates and of gradients.

        e_g = rho e_g + (1 - rho) |g|^2
        u   = sqrt(e_x + eps) / sqrt(e_g + eps) g
        e_x = rho e_x + (1 - rho) |u|^2

    Args:
      rho: how much of both running means of squares stays at each update.
      eps: added inside both roots; it sets the size of the first steps.

    >>> tx = gx.chain(gx.scale_by_adadelta(rho=0.95), gx.scale_by_learning_rate(1.0))

    State    e_g, e_x: like p but real, float32 or wider. Memory: 2 x params.
    Units    those of p, set by eps: the first step is about sqrt(eps / (1 - rho)).
    Shapes   any, scalars and complex included.
    Source   Zeiler 2012, arXiv:1212.5701, Algorithm 1.
    Differs  float32 averages for narrow parameters; 0 / 0 is 0, also with eps=0.
    Raises   HyperparameterError: rho outside [0, 1], eps < 0.
    """
    square = (1 - rho) * abs_sq(g)
    e_g = rho * s.e_g + square
    d = rho * s.e_g + (square + eps)  # e_g + eps, but nothing that is stored: a TPU then needs one pass, not two
    u = jnp.where(d > 0, jnp.sqrt(s.e_x + eps) / jnp.sqrt(jnp.where(d > 0, d, 1)), 0) * g
    e_x = rho * s.e_x + (1 - rho) * abs_sq(u)
    return u, s._replace(e_g=e_g, e_x=e_x)


@optimizer(
    source="Zeiler 2012, arXiv:1212.5701",
    example={},
    rates={"default": 1.0, "digits": 10.0},
)
def adadelta(
    learning_rate: Real[Hyper] = 1.0,
    rho: Unit[Hyper] = 0.9,
    eps: NonNegative[Hyper] = 1e-6,
    weight_decay: Real[Hyper] = 0.0,
    weight_decay_mask: MaskOrFn = None,
):
    """AdaDelta: steps in the units of the parameters, without a learning rate to tune.

        g   = g + weight_decay p
        e_g = rho e_g + (1 - rho) |g|^2
        d   = sqrt(e_x + eps) / sqrt(e_g + eps) g
        e_x = rho e_x + (1 - rho) |d|^2
        u   = -learning_rate d

    Args:
      learning_rate: a factor of the steps; a number, an array or a schedule.
      rho: how much of both running means of squares stays at each update.
      eps: added inside both roots; it sets the size of the first steps.
      weight_decay: the part of the parameters that is added to the gradient.
      weight_decay_mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function;
        None: all.

    >>> tx = gx.adadelta(rho=0.95)

    State    (EmptyState(), ScaleByAdaDeltaState(e_g, e_x), EmptyState()). Memory: 2 x params.
    Units    learning_rate is dimensionless.
    Shapes   any, scalars and complex included.
    Source   Zeiler 2012, arXiv:1212.5701, Algorithm 1.
    Differs  learning_rate is 1 by default. Optax's default, None, leaves out the minus sign and climbs.
    Raises   MissingArgumentError: no params. HyperparameterError: rho outside [0, 1], eps < 0.
    """
    return chain(
        add_decayed_weights(weight_decay, weight_decay_mask),
        scale_by_adadelta(rho, eps),
        scale_by_learning_rate(learning_rate),
    )
