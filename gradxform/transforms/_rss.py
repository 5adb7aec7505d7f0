"""Division by the root of the sum of squares."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import jax.numpy as jnp

from gradxform._numerics import abs_sq, root
from gradxform._types import Field, NonNegative, RealUpdates
from gradxform.core import elementwise
from gradxform.registry import transform


def _initial(zero, initial_accumulator_value=0.0):
    return jnp.full_like(zero, initial_accumulator_value)


class ScaleByRssState(NamedTuple):
    """The sum of |g|^2 so far."""

    sum_of_squares: Annotated[RealUpdates, Field(first=_initial, nonnegative=True)]


@transform(source="Duchi et al. 2011, JMLR 12", homogeneity=0, example={"initial_accumulator_value": 0.0, "eps": 0.0})
@elementwise(ScaleByRssState)
def scale_by_rss(
    g, s, p, c,
    initial_accumulator_value: NonNegative = 0.1, eps: NonNegative = 1e-7, eps_in_sqrt: Literal[True, False, "both"] = True,
):  # fmt: skip
    """Divide updates by the root of the sum of all their squares so far.

        G = G + |g|^2
        u = g / sqrt(G + eps)                   eps_in_sqrt=False: g / (sqrt(G) + eps); 0 where G = 0

    The first G is initial_accumulator_value. eps_in_sqrt="both" adds eps twice: g / (sqrt(G + eps) + eps).

    Args:
      initial_accumulator_value: the first sum of squares.
      eps: added to the divisor, or inside its root, as eps_in_sqrt says.
      eps_in_sqrt: where eps is added: True inside the root, False outside of it, "both" at both places.

    >>> tx = gx.chain(gx.scale_by_rss(), gx.scale_by_learning_rate(1e-2))

    State    sum_of_squares: like p but real, float32 or wider. Memory: 1 x params.
    Units    u is dimensionless: scaling every gradient by k > 0 leaves u unchanged (eps, initial value -> 0).
    Shapes   any, scalars and complex included.
    Source   Duchi et al. 2011, JMLR 12, figure 1; eps outside the root: TensorFlow, MXNet 2.
    Differs  `eps_in_sqrt` is new; the sum of narrow parameters is float32 (in bfloat16 it stops growing).
    Raises   HyperparameterError: initial_accumulator_value < 0, eps < 0, an unknown eps_in_sqrt.
    """
    G = s.sum_of_squares + abs_sq(g)
    return jnp.where(G > 0, g / jnp.where(G > 0, root(G, eps, eps_in_sqrt), 1), 0), s._replace(sum_of_squares=G)
