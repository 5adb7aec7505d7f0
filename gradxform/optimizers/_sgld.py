"""Stochastic gradient Langevin dynamics: sampling by descent with noise."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp

from gradxform._numerics import abs_sq
from gradxform._types import Array, Axes, Clock, Decay, Field, Key, NonNegative, RealUpdates
from gradxform.core import per_leaf
from gradxform.registry import optimizer


def _axes(shape, preconditioner_decay):
    return () if preconditioner_decay is None else Axes(*range(len(shape)))


class SgldState(NamedTuple):
    """The clock, the random key, and the running mean of |g|^2: () at each leaf without a preconditioner."""

    count: Clock
    rng_key: Key
    nu: Annotated[RealUpdates, Field(axes=_axes)]


def _normal(key, like):
    """Standard normal numbers; complex ones have two of them."""
    size = 2**0.5 if jnp.iscomplexobj(like) else 1
    return size * jax.random.normal(key, like.shape, like.dtype)


# The transcription has no noise of its own, hence the temperature; tests/test_optimizers_sgld.py has others.
@optimizer(
    source="Welling & Teh 2011, ICML",
    example={"learning_rate": 0.2, "temperature": 0.0},
    rates={"default": 0.2, "digits": 0.2},
    identities=[("sgld(0.2, 0.0)", "sgd(0.1)"), ("sgld(0.2, 0.0, 0.9)", "rmsprop(0.1, 0.9, 1e-5, eps_in_sqrt=False)")],
)
@per_leaf(SgldState)
def sgld(
    g, s, p, c,
    learning_rate: NonNegative, temperature: NonNegative = 1.0, preconditioner_decay: Decay | None = None,
    eps: NonNegative = 1e-5, key: Array | int = 0,
):  # fmt: skip
    """Langevin dynamics: descend, with as much noise as makes the parameters a sample of exp(-f / temperature).

        u = -learning_rate / 2 g + sqrt(learning_rate temperature) n        n standard normal

    preconditioner_decay:  nu = preconditioner_decay nu + (1 - preconditioner_decay) |g|^2;  G = 1 / (sqrt(nu) + eps)
                           u  = -learning_rate / 2 G g + sqrt(learning_rate temperature G) n

    f is the negative log posterior, g its gradient: not the mean of a mini-batch, but that times the number of examples, plus the
    prior's. With temperature=0 it is gradient descent.

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      temperature: of the sampled distribution exp(-f / temperature); 0: no noise.
      preconditioner_decay: how much of the running mean of squares stays at each update; None: no preconditioner.
      eps: added to the divisor, in its units, so that it is never 0.
      key: a random key, or a whole number as a seed.

    >>> tx = gx.sgld(1e-3, temperature=1.0, key=0)

    State    count; rng_key, split once per update, and then once per leaf; nu: like p but real, float32 or wider, with a preconditioner,
             else (). Memory: 1 x params with a preconditioner, else none.
    Units    learning_rate has those of p / g; temperature those of f.
    Shapes   any, scalars and complex included (n has real and imaginary parts of variance 1). The noise does not depend on how leaves
             are sharded.
    Sharded  inside `shard_map` parts of one shape get the same noise where the key is the same on every device; under `jit` the
             noise is that of the whole leaf.
    Source   Welling & Teh 2011, equation 4; the preconditioner: Li et al. 2016, arXiv:1512.07666, Algorithm 1, without its curvature
             term, which is small for a decay near 1.
    Differs  Optax's noisy_sgd multiplies the noise by the rate, not by its root. `key`, a random key or an integer seed, is in the
             state; two chains need two of them.
    Raises   HyperparameterError: learning_rate < 0, temperature < 0, preconditioner_decay outside [0, 1), eps < 0.
    """
    n = _normal(c.key, g)
    scale = jnp.sqrt(learning_rate) * jnp.sqrt(temperature)
    if preconditioner_decay is None:
        return -learning_rate / 2 * g + scale * n, s
    nu = preconditioner_decay * s.nu + (1 - preconditioner_decay) * abs_sq(g)
    G = 1 / (jnp.sqrt(nu) + eps)
    return -learning_rate / 2 * G * g + scale * jnp.sqrt(G) * n, s._replace(nu=nu)
