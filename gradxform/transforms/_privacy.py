"""Aggregating the gradients of single examples so that none of them can be told from the sum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradxform._errors import HyperparameterError
from gradxform._numerics import round_to, widen
from gradxform._types import Array, ArrayLike, Key, NonNegative
from gradxform.core import GradientTransformationExtraArgs, wrapper
from gradxform.core._holes import dtype_of
from gradxform.transforms._per_example import _check_batch, per_example_global_norm_clip
from gradxform.transforms._seed import seed_or_key


class DifferentiallyPrivateAggregateState(NamedTuple):
    """The random key."""

    rng_key: Key


def _no_schedules(owner: str, given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if name != "key" and callable(value) and not isinstance(value, jax.Array):
            raise HyperparameterError(f"{owner}: `{name}` cannot be a schedule, but got {value!r}. Give a number.")


@wrapper(DifferentiallyPrivateAggregateState, check=_no_schedules)
def _differentially_private_aggregate(g, s, p, c, l2_norm_clip: NonNegative, noise_multiplier: NonNegative, key: Array | int):
    """Clip each example, sum, add noise, and divide."""
    trees, l2_norm_clip = c.trees, c.number("l2_norm_clip", l2_norm_clip)
    noise_multiplier = c.number("noise_multiplier", noise_multiplier)
    _check_batch(trees.owner, g)
    gs = trees.arrays
    sums, _ = per_example_global_norm_clip([x.astype(widen(dtype_of(x))) for x in gs], l2_norm_clip)
    rng_key, *keys = jax.random.split(s.rng_key, len(gs) + 1)
    out = []
    for x, total, k in zip(gs, sums, keys, strict=True):
        noise = jax.random.normal(k, total.shape, total.dtype) * (2**0.5 if jnp.iscomplexobj(x) else 1)
        out.append(round_to((total + l2_norm_clip * noise_multiplier * noise) / x.shape[0], x.dtype))
    return trees.together(trees.put(trees.leaves, out)), s._replace(rng_key=rng_key)


def differentially_private_aggregate(
    l2_norm_clip: NonNegative[ArrayLike],
    noise_multiplier: NonNegative[ArrayLike],
    key: Array | int | None = None,
    *,
    seed: int | None = None,
) -> GradientTransformationExtraArgs:
    """Clip the gradient of each example, sum, add Gaussian noise, and divide by the number of examples.

        u = (sum over examples i of g_i min(1, C / ||g_i||) + noise_multiplier C n) / B         C = l2_norm_clip, n standard normal

    The updates are gradients of single examples (`jax.vmap(jax.grad(loss), (None, 0))`): every leaf has a first axis of length B, and u
    has none. So it comes first in a chain, and what averages gradients, such as `MultiSteps` or `apply_every`, must not come before it.

    Args:
      l2_norm_clip: the largest norm of an example, over all leaves.
      noise_multiplier: the noise's standard deviation, in units of l2_norm_clip; both parts of complex elements have it.
      key: a random key or a seed. Keep it secret: who knows it can take the noise away. Without one it is 0, and a warning says so.
      seed: the deprecated name of `key`.

    >>> dp = gx.contrib.differentially_private_aggregate(1.0, 1.1, key=0)
    >>> examples = jax.tree.map(lambda g: jnp.stack([g, -g]), grads)
    >>> mean, state = dp.update(examples, dp.init(params))

    State    rng_key, split once per update, and then once per leaf. Memory: none; the updates themselves are B x params.
    Units    those of g.
    Shapes   any after the first axis, complex included.
    Source   Abadi et al. 2016, arXiv:1607.00133, Algorithm 1.
    Differs  sums and noise of narrow updates are in float32. Complex noise has the standard deviation in each part, Optax's 1 / sqrt(2) of
             it. Absent leaves are allowed.
    Raises   StructureError: a leaf has no first axis, or one of another length. HyperparameterError: an argument < 0, or a schedule; both
             key and seed.
    """
    key = seed_or_key("differentially_private_aggregate", key, seed)
    return _differentially_private_aggregate(l2_norm_clip, noise_multiplier, key)
