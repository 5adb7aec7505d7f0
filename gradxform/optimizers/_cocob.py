"""COCOB: coin betting, without a learning rate."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import jax.numpy as jnp

from gradxform._types import Field, Hyper, MaskOrFn, NonNegative, ParamsCopy, Positive, Real, RealUpdates, Updates
from gradxform.core import chain, elementwise
from gradxform.registry import optimizer, transform
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate


def _first_scale(zero, eps):
    return jnp.full_like(zero, eps)


class COCOBState(NamedTuple):
    """The parameters as they began, the sum of -g, the largest |g|, the sum of |g|, and the money won."""

    init_particles: Annotated[ParamsCopy, Field(constant=True)]
    cumulative_gradients: Updates
    scale: Annotated[RealUpdates, Field(first=_first_scale, nonnegative=True)]
    subgradients: Annotated[RealUpdates, Field(nonnegative=True)]
    reward: Annotated[RealUpdates, Field(nonnegative=True)]


@transform(source="Orabona & Tommasi 2017, arXiv:1705.07795, Algorithm 2", homogeneity=0, example={"eps": 1e-30})
@elementwise(COCOBState, needs=("params",))
def scale_by_cocob(g, s, p, c, alpha: NonNegative = 100.0, eps: Positive = 1e-8):
    """Bet on the sign of each gradient element; the parameter is where it began, plus the money at stake.

        L = max(L, |g|)                         the first L is eps
        G = G + |g|
        R = max(R - g (p - p0), 0)
        C = C - g
        u = p0 + C / (L max(G + L, alpha L)) (L + R) - p

    Args:
      alpha: how much must have been seen, in units of the scale, before bets grow.
      eps: the first scale of the gradients, greater than 0.

    >>> tx = gx.contrib.scale_by_cocob()  # its updates are complete

    State    init_particles = p0, cumulative_gradients = C, scale = L, subgradients = G, reward = R, all but p0 in float32 or wider,
             L, G and R real. Memory: 5 x params.
    Units    those of p, which should be of order 1: scaling every gradient by k > 0 leaves u unchanged (eps -> 0).
    Shapes   any, scalars and complex included; there the real part of conj(g) (p - p0) is lost or won.
    Source   Orabona & Tommasi 2017, arXiv:1705.07795, Algorithm 2.
    Differs  p0, C, G and R are buffers of their own, so that state and parameters can be donated. L of float16 parameters is float32,
             where eps is not 0. Complex parameters, for which Optax's comparison has no meaning.
    Raises   MissingArgumentError: no params. HyperparameterError: alpha < 0, eps <= 0.
    """
    size = jnp.abs(g)
    L = jnp.maximum(s.scale, size)
    G = s.subgradients + size
    R = jnp.maximum(s.reward - (jnp.conj(g) * (p - s.init_particles)).real, 0)
    C = s.cumulative_gradients - g
    u = s.init_particles - p + C / jnp.maximum(G + L, alpha * L) * (1 + R / L)
    return u, s._replace(cumulative_gradients=C, scale=L, subgradients=G, reward=R)


@optimizer(
    source="Orabona & Tommasi 2017, arXiv:1705.07795",
    example={"learning_rate": 1.0, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 1.0, "digits": 1.0},
    identities=[("cocob()", "scale_by_cocob()")],
)
def cocob(
    learning_rate: Real[Hyper] = 1.0,
    alpha: NonNegative[Hyper] = 100.0,
    eps: Positive[Hyper] = 1e-8,
    weight_decay: Real[Hyper] = 0.0,
    mask: MaskOrFn = None,
):
    """COCOB: coin betting, without a learning rate to tune.

        g = learning_rate (g + weight_decay p)
        L = max(L, |g|);  G = G + |g|;  R = max(R - g (p - p0), 0);  C = C - g
        u = p0 + C / (L max(G + L, alpha L)) (L + R) - p

    Args:
      learning_rate: a factor of the steps that are found: 1, or a schedule that peaks at 1.
      alpha: how much must have been seen, in units of the scale, before bets grow.
      eps: the first scale of the gradients, greater than 0.
      weight_decay: the part of the parameters that is added to the gradient.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.

    >>> tx = gx.cocob()

    State    (EmptyState(), EmptyState(), COCOBState(init_particles, cumulative_gradients, scale, subgradients, reward)).
             Memory: 5 x params.
    Units    learning_rate is dimensionless; as a constant it has no effect, as a schedule it weighs the gradients. weight_decay has
             those of g / p.
    Shapes   any, scalars and complex included.
    Source   Orabona & Tommasi 2017, arXiv:1705.07795, Algorithm 2.
    Differs  as `scale_by_cocob`.
    Raises   MissingArgumentError: no params. HyperparameterError: alpha < 0, eps <= 0.
    """
    return chain(
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate, flip_sign=False),
        scale_by_cocob(alpha, eps),
    )
