"""Gaussian noise."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from gradxform._types import Array, Clock, Hyper, Key, NonNegative, Real
from gradxform.core import per_leaf
from gradxform.registry import transform
from gradxform.transforms._seed import seed_or_key


class AddNoiseState(NamedTuple):
    """The clock and the random key."""

    count: Clock
    rng_key: Key


@per_leaf(AddNoiseState)
def _add_noise(g, s, p, c, eta: NonNegative, gamma: Real, key: Array | int):
    """Add Gaussian noise whose variance falls with time."""
    n = jax.random.normal(c.key, g.shape, g.dtype)
    return g + jnp.sqrt(eta / c.t.astype(c.dtype) ** gamma) * n, s


@transform(source="Neelakantan et al. 2015, arXiv:1511.06807", example={"eta": 0.01, "gamma": 0.55, "key": 0})
def add_noise(eta: NonNegative[Hyper], gamma: Real[Hyper], key: Array | int | None = None, *, seed: int | None = None):
    """Add Gaussian noise whose variance falls with time.

        u = g + sqrt(eta / t^gamma) n           n standard normal (complex: real and imaginary part of variance 1/2)

    `key` is a random key or an integer seed. Without one it is 0, and a warning says so: two such transformations add the same noise.
    `seed` is its deprecated name.

    Args:
      eta: the variance of the noise at the first update.
      gamma: how fast the variance falls: as t^-gamma.
      key: a random key, or a whole number as a seed; None: 0, with a warning.
      seed: the older name of key.

    >>> tx = gx.chain(gx.add_noise(eta=0.01, gamma=0.55, key=0), gx.sgd(0.1))

    State    count; rng_key, split once per update, and then once per leaf. Memory: none.
    Units    eta has those of g^2.
    Shapes   any, scalars and complex included. The noise does not depend on how leaves are sharded.
    Sharded  inside `shard_map` parts of one shape get the same noise where the key is the same on every device; under `jit` the
             noise is that of the whole leaf.
    Source   Neelakantan et al. 2015, arXiv:1511.06807, equation 1.
    Differs  noise for narrow updates is drawn in float32.
    Raises   HyperparameterError: eta < 0, gamma is not a finite number, both key and seed.
    """
    return _add_noise(eta, gamma, seed_or_key("add_noise", key, seed))
