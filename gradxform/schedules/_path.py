"""The arithmetic that schedules share: progress through a stretch of steps, and paths made of such stretches."""

from __future__ import annotations

from collections.abc import Callable
from typing import overload

import jax
import jax.numpy as jnp

from gradxform._numerics import INT32_MAX, is_inexact, promote
from gradxform._types import Array, Number

Shape = Callable[[Array], Array]
"""How much is left at progress p: 1 at p = 0, 0 at p = 1."""


def capped(steps: int) -> int:
    """A number of steps that may be compared with a count. Beyond the last count they are all the same."""
    return min(steps, INT32_MAX)


@overload
def real(x: Array) -> Array: ...
@overload
def real(x: Number) -> float | Array: ...
def real(x):
    """A number of steps to calculate with: an array in the default dtype or wider."""
    return x.astype(promote(x.dtype, jnp.result_type(float))) if isinstance(x, jax.Array) else float(x)


def comparable(k: Array, steps: Number) -> tuple[Array, Number]:
    """A count and a number of steps, to be subtracted and compared: whole numbers, which is exact, unless one of them is not."""
    if isinstance(steps, int):
        return k, capped(steps)
    if not isinstance(steps, jax.Array):
        return real(k), steps
    if is_inexact(steps.dtype) or is_inexact(k.dtype):
        return real(k), real(steps)
    return k, jnp.minimum(steps.astype(promote(steps.dtype, jnp.int32)), INT32_MAX).astype(k.dtype)


def before(k: Array, steps: Number) -> Array:
    """Whether so many steps are not complete."""
    k, steps = comparable(k, steps)
    return k < steps


def since(k: Array, begin: Number) -> Array:
    """The steps from `begin` to k, 0 before."""
    k, begin = comparable(k, begin)
    return jnp.maximum(k - begin, 0)


def progress(k: Array, steps: Number, begin: Number = 0) -> Array:
    """The part of `steps`, starting at `begin`, that is completed at k: 0 until `begin`, exactly 1 from the end on.

    Compiled, e / steps may become e (1 / steps), which is not quite 1 at the end, and 1 - p a fused operation that is then less
    than 0, with a NaN for its root. Hence the `where`, and the `minimum` that keeps p a rounded number.
    """
    e, end = comparable(since(k, begin), steps)
    return jnp.where(e < end, jnp.minimum(real(e) / positive(steps), 1), 1)


def positive(steps: Number) -> Number:
    """A number of steps to divide by, 1 in the place of one that is not positive."""
    return jnp.where(steps > 0, real(steps), 1) if isinstance(steps, jax.Array) else real(steps if steps > 0 else 1)


def nonnegative(steps: Number) -> Number:
    """A number of steps, 0 in the place of a negative one."""
    return jnp.maximum(steps, 0) if isinstance(steps, jax.Array) else max(steps, 0)


def quotient(e: Array, steps: Number) -> Array:
    """How often a number of steps is complete."""
    e, steps = comparable(e, steps)
    return jnp.floor_divide(e, jnp.where(steps > 0, steps, 1))


def held(k: Array, steps: Number, begin: Number) -> Array:
    """The progress of a transition that does not take place if it has no length, and begins at once if it should have begun before 0."""
    return jnp.where(steps > 0, progress(k, steps, nonnegative(begin)), 0)


def linear(p: Array) -> Array:
    return 1 - p


def cosine(p: Array) -> Array:
    return (1 + jnp.cos(jnp.pi * p)) / 2


def one_minus_sqrt(p: Array) -> Array:
    return 1 - jnp.sqrt(p)


SHAPES: dict[str, Shape] = {"linear": linear, "cosine": cosine, "one_minus_sqrt": one_minus_sqrt}


def path(k: Array, start: Number, *stretches: tuple[Shape, Number, Number]) -> Number:
    """The value at k on the way from `start` through stretches (shape, steps, end), one after another; it stays at the last end.

        v = end + (start - end) shape(p)

    with p the progress through the stretch that k lies in. A stretch of no steps is a jump.
    """
    value, begin = start, 0
    for i, (shape, steps, end) in enumerate(stretches):
        moving = end + (start - end) * shape(progress(k, steps, begin))
        value = jnp.where(before(k, begin), value, moving) if i else moving
        start, begin = end, begin + steps
    return value
