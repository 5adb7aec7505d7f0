"""Products at the precision of their dtype, which accelerators otherwise round to fewer bits."""

import functools

import jax
import jax.numpy as jnp

HIGHEST = jax.lax.Precision.HIGHEST
matmul = functools.partial(jnp.matmul, precision=HIGHEST)
dot = functools.partial(jnp.dot, precision=HIGHEST)
