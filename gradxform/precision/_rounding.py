"""Stochastic rounding: up or down at random, so that the average is exact and small updates are not lost."""

from __future__ import annotations

from collections.abc import Hashable

import jax
import jax.numpy as jnp

from gradxform._errors import HyperparameterError
from gradxform._numerics import promote, widen
from gradxform._types import Array, ArrayLike, DType, Model, Updates
from gradxform.core._apply import add_leaves, add_update
from gradxform.precision._narrow import narrow_at_random
from gradxform.precision._randomness import at, given

_round = jax.jit(narrow_at_random, static_argnums=(1, 3))


def _sum(p: Array, u: Array, key: Array, axis_name: Hashable | None) -> Array:
    wide = promote(widen(p.dtype), u.dtype)
    return narrow_at_random(p.astype(wide) + u.astype(wide), p.dtype, key, axis_name)


_add = jax.jit(_sum, static_argnums=3)


def stochastic_round(x: ArrayLike, dtype: DType, key: ArrayLike, *, axis_name: Hashable | None = None) -> Array:
    """Round to one of the two nearest numbers of `dtype` at random, so that the average is x.

        P(up) = (x - down) / (up - down)

    Up to 2^-32 of the distance the result is unbiased, also among float16's subnormal numbers, down to the chance with which a much
    smaller x becomes 2^-24. A number that `dtype` has stays. Beyond the largest finite number, infinities and NaN included, x is
    converted as `astype` does: a finite x inside the range never becomes infinite.

    It is done in integers (`gradxform.precision._narrow`), and so is the same on every device, with flushed subnormal numbers or without.

    Args:
      x: an array; narrow ones are widened first.
      dtype: bfloat16, float16, float32, or complex64 for complex x.
      key: a random key, or a seed: a whole number, also as an array without axes. Bits from a seed (`counter_bits`) cost next to
        nothing, those from a key a hundred operations each. The same one rounds the same way, however x is sharded over a mesh by `jit`.
      axis_name: inside `shard_map` or `pmap`, where each device sees its own part only: the axis, or a tuple of axes, over which x is
        split, so that each part gets bits of its own. With a seed, an x that is split along its first axis gets those that it has in
        one piece.

    >>> gx.precision.stochastic_round(jnp.array([1.5]), jnp.bfloat16, jax.random.key(0))
    Array([1.5], dtype=bfloat16)

    The derivative is that of x: rounding passes it through ("straight through"), for training through an update.

    Source   Forsythe 1950; Gupta et al. 2015, arXiv:1502.02551, section 3.
    Raises   HyperparameterError: x or dtype is not of floating point.
    """
    x = jnp.asarray(x)
    kind = jnp.complexfloating if jnp.iscomplexobj(x) else jnp.floating
    if not (jnp.issubdtype(x.dtype, jnp.inexact) and jnp.issubdtype(dtype, kind) and jnp.finfo(dtype).bits >= 16):
        raise HyperparameterError(
            f"stochastic_round: `dtype` must be bfloat16, float16 or wider, complex if x is, but got {jnp.dtype(dtype).name} "
            f"for an x of {x.dtype.name}."
        )
    return _round(x, jnp.dtype(dtype), given(key), axis_name)


def apply_updates_stochastically(params: Model, updates: Updates, key: ArrayLike, *, axis_name: Hashable | None = None) -> Model:
    """Add updates to parameters, and round narrow parameters stochastically.

        p <- round(p + u)           float32 or wider: p + u, as `apply_updates`

    The sum is computed in float32 or wider. Rounding to nearest, a bfloat16 parameter ignores every update below 1/512 of its size; at
    random it takes each in the mean. Use another key at every step, `fold_in(key, step)`, or another seed, which may be the step itself.

    Args:
      params: the parameters; narrow ones are rounded.
      updates: the updates, a tree of the same structure.
      key: a random key or a seed, as for `stochastic_round`. With a seed the sum costs what it costs rounded to nearest.
      axis_name: inside `shard_map` or `pmap`: the axis, or a tuple of axes, over which every leaf is split, as for `stochastic_round`. Add
        the updates of leaves that are whole on every device by themselves, without it.

    >>> narrow = jax.tree.map(lambda p: p.astype(jnp.bfloat16), params)
    >>> narrow = gx.apply_updates_stochastically(narrow, grads, 0)  # the number of the step

    Shapes   an update must have its parameter's shape.
    Holes    where the update is `None`, masked or float0, the parameter stays.
    Keys     each leaf has its own, `fold_in(key, i)` with its position i among all leaves, holes included, and so has each its own seed,
             a hash of the seed and i; how leaves are sharded makes no difference.
    Its derivative is that of p + u.

    Source   Gupta et al. 2015, arXiv:1502.02551; neon's `stochastic_round`, which adds noise below the mantissa in the same way.
    Raises   StructureError, with the path: structures or shapes differ.
    """
    random = given(key)

    def add(i: int, p: Array, u: Array) -> Array:
        if not jnp.issubdtype(p.dtype, jnp.inexact) or widen(p.dtype) == p.dtype:
            return add_update(p, u)
        return _add(p, u, at(random, i), axis_name)

    return add_leaves("apply_updates_stochastically", params, updates, add)
