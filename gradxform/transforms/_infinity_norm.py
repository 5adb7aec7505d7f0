"""Division by a decaying maximum."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import jax.numpy as jnp

from gradxform._types import Field, NonNegative, RealUpdates, Unit
from gradxform.core import elementwise
from gradxform.registry import transform


class ScaleByInfinityNormState(NamedTuple):
    """The decaying maximum of |g|."""

    nu: Annotated[RealUpdates, Field(mean="decay", nonnegative=True, lasting=True)]


@transform(source="Kingma & Ba 2015, arXiv:1412.6980, section 7.1", homogeneity=0, example={"eps": 1e-30})
@elementwise(ScaleByInfinityNormState)
def scale_by_infinity_norm(g, s, p, c, decay: Unit = 0.999, eps: NonNegative = 1e-8):
    """Divide updates by their exponentially weighted infinity norm.

        nu = max(decay nu, |g|)
        u  = g / (nu + eps)

    Args:
      decay: how much of the largest gradient stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.

    >>> tx = gx.chain(gx.scale_by_infinity_norm(), gx.scale_by_learning_rate(1e-3))

    State    nu: like p but real, float32 or wider. Memory: 1 x params.
    Units    u is dimensionless, at most 1 in size.
    Shapes   any, scalars and complex included.
    Source   Kingma & Ba 2015, arXiv:1412.6980, section 7.1: the denominator of Adamax as a primitive of its own.
    Differs  Optax has it only inside `scale_by_adamax`.
    Raises   HyperparameterError: decay outside [0, 1], eps < 0.
    """
    nu = jnp.maximum(decay * s.nu, jnp.abs(g))
    return g / (nu + eps), s._replace(nu=nu)
