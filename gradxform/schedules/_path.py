"""The arithmetic that schedules share: progress through a stretch of steps, and paths made of such stretches."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp

from gradxform._numerics import INT32_MAX
from gradxform._types import Array

Shape = Callable[[Array], Array]
"""How much is left at progress p: 1 at p = 0, 0 at p = 1."""


def capped(steps: int) -> int:
    """A number of steps that may be compared with a count. Beyond the last count they are all the same."""
    return min(steps, INT32_MAX)


def since(k: Array, begin: int) -> Array:
    """The steps from `begin` to k, 0 before."""
    return jnp.maximum(k - capped(begin), 0)


def progress(k: Array, steps: int, begin: int = 0) -> Array:
    """The part of `steps`, starting at `begin`, that is completed at k: 0 until `begin`, exactly 1 from the end on.

    Compiled, e / steps may become e (1 / steps), which is not quite 1 at the end, and 1 - p a fused operation that is then less
    than 0, with a NaN for its root. Hence the `where`, and the `minimum` that keeps p a rounded number.
    """
    e = since(k, begin)
    return jnp.where(e < capped(steps), jnp.minimum(e / float(steps or 1), 1), 1)


def linear(p: Array) -> Array:
    return 1 - p


def cosine(p: Array) -> Array:
    return (1 + jnp.cos(jnp.pi * p)) / 2


def one_minus_sqrt(p: Array) -> Array:
    return 1 - jnp.sqrt(p)


SHAPES: dict[str, Shape] = {"linear": linear, "cosine": cosine, "one_minus_sqrt": one_minus_sqrt}


def path(k: Array, start: float | Array, *stretches: tuple[Shape, int, float | Array]) -> float | Array:
    """The value at k on the way from `start` through stretches (shape, steps, end), one after another; it stays at the last end.

        v = end + (start - end) shape(p)

    with p the progress through the stretch that k lies in. A stretch of no steps is a jump.
    """
    value, begin = start, 0
    for shape, steps, end in stretches:
        moving = end + (start - end) * shape(progress(k, steps, begin))
        value = jnp.where(k < capped(begin), value, moving) if begin else moving
        start, begin = end, begin + steps
    return value
