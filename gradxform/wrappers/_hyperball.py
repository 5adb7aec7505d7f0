"""Hyperball: steps of a fixed angle on a sphere, around any optimizer."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import jax.numpy as jnp

from gradxform._numerics import size_along
from gradxform._types import Axes, Clock, Field, Inner, LeafNumbers, MaskOrFn, Real, RealUpdates
from gradxform.core import GradientTransformation, per_leaf, wrapper
from gradxform.optimizers import adam
from gradxform.registry import transform

Radius = Literal["initial", "current"]


class HyperballState(NamedTuple):
    """The number of updates, the inner state, and the norm of each leaf at first; () with the present norms."""

    count: Clock
    base_optimizer_state: Inner
    radius: Annotated[
        RealUpdates,
        Field(
            axes=lambda radius: Axes() if radius == "initial" else (),
            first=lambda p, radius: size_along(p).reshape(()) if radius == "initial" else (),
            constant=True,
        ),
    ]


@per_leaf(HyperballState, needs=("params",))
def _hyperball(g, s, p, c, learning_rate: Real, radius: Radius, mask: LeafNumbers):
    """g, or where the mask says so what leads from p to where a step along g on the sphere ends."""
    size, length = size_along(p).reshape(()), size_along(g).reshape(())
    r = s.radius if radius == "initial" else size
    q = p + learning_rate * r / jnp.where(length > 0, length, 1) * g
    end = size_along(q).reshape(())
    moves = (size > 0) & (length > 0) & (end > 0)
    u = jnp.where(moves, q / jnp.where(end > 0, end, 1) * r - p, 0)
    return jnp.where(c.mask > 0, u, g), s


@transform(source="modded-nanogpt, optimization track; HeavyBall", example={"base_optimizer": adam(1.0), "learning_rate": 0.01})
@wrapper(HyperballState, scope="per_leaf", needs=("params",))
def hyperball(
    g, s, p, c, base_optimizer: GradientTransformation, learning_rate: Real, *, radius: Radius = "initial", mask: MaskOrFn = None
):  # fmt: skip
    """Turn each leaf towards where an optimizer points, by an angle that the rate says, and keep its norm.

        d = base_optimizer(g)
        q = p + learning_rate r d / ||d||       r = ||p|| at first; radius="current": at each update
        u = r q / ||q|| - p                     0 where p = 0 or d = 0

    A leaf whose length the loss does not see needs no decay then, and one rate serves matrices of every size. What base_optimizer's own
    rate is does not matter, as long as it is not 0.

    Args:
      base_optimizer: a complete optimizer, whose updates are added; for a direction that points uphill `chain(direction, scale(-1.0))`.
      learning_rate: the step as a part of each leaf's norm: a number or a schedule.
      radius: "initial": the norm that a leaf has at first; "current": the one that it has, which rounding may change.
      mask: which leaves stay on their spheres, as `masked` takes it; the others get base_optimizer's updates; None: all.

    >>> tx = gx.hyperball(gx.adam(1.0), 0.01, mask=gx.by_ndim(2))

    State    HyperballState(count, base_optimizer_state, radius): one number per leaf, with "current" () for each. Memory: that of
             base_optimizer.
    Units    learning_rate has none: it is about the angle in radians.
    Shapes   any, scalars and complex included; the norms are over the whole leaf.
    Sharded  inside `shard_map` norms and means are over the device's own part of a leaf; under `jit` over the whole leaf.
    Source   the optimization track of modded-nanogpt (AdamH, MuonH); HeavyBall.
    Differs  Optax has none. HeavyBall 3.2.1 has no first moment in its HyperBallAdamW.
    Raises   MissingArgumentError: no params. HyperparameterError: learning_rate is not a finite number, an unknown radius.
             StructureError: base_optimizer is not a transformation. LabelError: mask does not fit the parameters.
    """
    d, inner_state = base_optimizer.update(g, s.base_optimizer_state, p)
    u, s = c.lift(_hyperball, d, s, p)
    return u, s._replace(base_optimizer_state=inner_state)
