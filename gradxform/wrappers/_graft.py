"""Grafting: the size of a step from one transformation, its direction from another."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import jax.numpy as jnp

from gradxform._numerics import size_along
from gradxform._types import Array, Field, Inner, NonNegative
from gradxform.core import GradientTransformation, wrapper
from gradxform.core._hyper import at_rank
from gradxform.optimizers import adam, sgd
from gradxform.registry import transform


class GraftState(NamedTuple):
    """The states of the two."""

    magnitude_state: Annotated[Inner, Field(aside=True)]
    direction_state: Inner


def _grafted(d: Array, m: Array, eps: Array) -> Array:
    """d in the size of m."""
    below = size_along(d) + at_rank(jnp.asarray(eps), d.ndim).astype(d.real.dtype)
    return d * (size_along(m) / jnp.where(below > 0, below, 1))


@transform(
    source="Agarwal et al. 2020, arXiv:2002.11803",
    example={"magnitude": sgd(0.1), "direction": adam(0.1)},
    identities=[("graft(adam(0.1), adam(0.1))", "adam(0.1)")],
)
@wrapper(GraftState, scope="per_leaf")
def graft(g, s, p, c, magnitude: GradientTransformation, direction: GradientTransformation, *, eps: NonNegative = 1e-16):
    """Go where one transformation points, leaf by leaf as far as another would.

        m = magnitude(g)
        d = direction(g)
        u = ||m|| d / (||d|| + eps)

    Args:
      magnitude: how far: a transformation, whose updates lend each leaf their norm. A learning rate belongs in it.
      direction: where to: a transformation, whose sign counts, and whose size does not.
      eps: added to the norm of the direction, so that it is never 0.

    >>> tx = gx.graft(gx.sgd(0.1), gx.adam(1.0))

    State    GraftState(magnitude_state, direction_state). Memory: that of both.
    Units    those of magnitude's updates.
    Shapes   any, scalars and complex included; the norms are over the whole leaf.
    Sharded  inside `shard_map` norms and means are over the device's own part of a leaf; under `jit` over the whole leaf.
    Source   Agarwal et al. 2020, arXiv:2002.11803; Anil et al. 2020, arXiv:2002.09018.
    Differs  Optax has none.
    Raises   StructureError: magnitude is not a transformation, direction is not a transformation. HyperparameterError: eps < 0.
    """
    m, magnitude_state = magnitude.update(g, s.magnitude_state, p)
    d, direction_state = direction.update(g, s.direction_state, p)
    u = c.map(_grafted, d, m, eps=eps)
    return u, s._replace(magnitude_state=magnitude_state, direction_state=direction_state)
