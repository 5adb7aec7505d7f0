"""Independent normal distributions."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._types import Array, ArrayLike


class MultiNormalDiagFromLogScale:
    """Independent normals with mean `loc` and standard deviation exp(`log_scale`), broadcast against each other."""

    def __init__(self, loc: ArrayLike, log_scale: ArrayLike):
        self._mean, self._log_scale = jnp.asarray(loc), jnp.asarray(log_scale)
        self._scale = jnp.exp(self._log_scale)
        self._param_shape = jax.lax.broadcast_shapes(self._mean.shape, self._scale.shape)

    def sample(self, shape: Sequence[int], key: Array) -> jax.Array:
        """Draws of this shape, each of the shape of the parameters."""
        whole = (*shape, *self._param_shape)
        return jax.random.normal(key, whole) * jnp.broadcast_to(self._scale, whole) + jnp.broadcast_to(self._mean, whole)

    def log_prob(self, x: ArrayLike) -> jax.Array:
        """The log-density of x, summed over the parameters' axes."""
        x, mean, scale, log_scale = jnp.broadcast_arrays(jnp.asarray(x), self._mean, self._scale, self._log_scale)
        log_p = -0.5 * ((x - mean) / scale) ** 2 - log_scale - 0.5 * np.log(2 * np.pi)
        return jnp.sum(log_p, range(-len(self._param_shape), 0))

    @property
    def log_scale(self) -> jax.Array:
        return self._log_scale

    @property
    def params(self) -> list[jax.Array]:
        """The mean and the logarithm of the standard deviation."""
        return [self._mean, self._log_scale]


def multi_normal(loc: ArrayLike, log_scale: ArrayLike) -> MultiNormalDiagFromLogScale:
    """Independent normals with mean `loc` and standard deviation exp(`log_scale`).

    Args:
      loc: the means, an array.
      log_scale: the logarithms of the standard deviations, an array that broadcasts with loc.

    >>> normal = gx.multi_normal(jnp.zeros(2), jnp.zeros(2))
    >>> normal.sample((3,), jax.random.key(0)).shape
    (3, 2)

    Source   the normal distribution.
    Differs  no.
    """
    return MultiNormalDiagFromLogScale(loc, log_scale)
