"""LANS."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import jax.numpy as jnp

from gradxform._numerics import abs_sq, norm
from gradxform._types import (
    Average,
    Bound,
    Clock,
    Decay,
    Field,
    Hyper,
    LeafNumbers,
    MaskOrFn,
    NonNegative,
    Real,
    RealUpdates,
    Updates,
)
from gradxform.core import chain, per_leaf
from gradxform.registry import optimizer, transform
from gradxform.transforms import scale_by_learning_rate


class ScaleByLansState(NamedTuple):
    """The running means of g and |g|^2 of gradients of norm 1, not debiased."""

    count: Clock
    mu: Annotated[Updates, Field(mean="b1", partner="nu")]
    nu: Annotated[RealUpdates, Field(mean="b2", nonnegative=True)]


def _ratio(above, below):
    """above / below; 1 where one of them is 0."""
    defined = (above > 0) & (below > 0)
    return jnp.where(defined, above / jnp.where(defined, below, 1), 1)


@transform(source="Zheng et al. 2020, arXiv:2006.13484, Algorithm 2", homogeneity=0)
@per_leaf(ScaleByLansState, needs=("params",))
def scale_by_lans(
    g, s, p, c,
    b1: Average = 0.9, b2: Decay = 0.999, eps: NonNegative = 1e-6, weight_decay: Real = 0.0, mask: LeafNumbers = None,
    lower_bound: Bound | None = None, upper_bound: Bound | None = None,
):  # fmt: skip
    """Give a leaf's normalized momentum and its normalized gradient, both as in Adam, the norm of the parameter, and mix them.

        g   = g / ||g||
        mu  = b1 mu + (1 - b1) g
        nu  = b2 nu + (1 - b2) |g|^2
        r   = mu^ / (sqrt(nu^) + eps) + weight_decay p                      x^ = x / (1 - b^t)
        r_g = g / (sqrt(nu^) + eps) + weight_decay p
        u   = b1 ||p|| / ||r|| r + (1 - b1) ||p|| / ||r_g|| r_g             a ratio is 1 where one of its norms is 0

    lower_bound and upper_bound, where given, are bounds on ||p||.

    Args:
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.
      weight_decay: the part of the parameters that is added to the direction before its norm is taken.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.
      lower_bound: the least norm of a parameter that counts; None: no bound.
      upper_bound: the largest norm of a parameter that counts; None: no bound.

    >>> tx = gx.chain(gx.scale_by_lans(), gx.scale_by_learning_rate(1e-3))

    State    count; mu: like p, float32 or wider; nu: like p but real. Memory: 2 x params.
    Units    those of p: scaling every gradient by k > 0 leaves u unchanged.
    Shapes   any, scalars and complex included; the norms are over whole leaves.
    Sharded  inside `shard_map` norms and means are over the device's own part of a leaf; under `jit` over the whole leaf.
    Masks    weight_decay is left out where the mask is False; leaves that a pattern leaves out are decayed.
    Source   Zheng et al. 2020, arXiv:2006.13484, Algorithm 2.
    Differs  Optax has no such transformation.
    Raises   MissingArgumentError: no params. HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps < 0, a bound < 0.
    """
    g = g / jnp.where(norm(g) > 0, norm(g), 1)
    mu = b1 * s.mu + (1 - b1) * g
    nu = b2 * s.nu + (1 - b2) * abs_sq(g)
    divisor, decay = jnp.sqrt(c.debias(nu, b2)) + eps, weight_decay * c.mask * p
    r, r_g = c.debias(mu, b1) / divisor + decay, g / divisor + decay
    size = jnp.clip(norm(p), lower_bound, upper_bound)
    u = b1 * _ratio(size, norm(r)) * r + (1 - b1) * _ratio(size, norm(r_g)) * r_g
    return u, s._replace(mu=mu, nu=nu)


@optimizer(
    source="Zheng et al. 2020, arXiv:2006.13484",
    example={"learning_rate": 1e-3, "weight_decay": 0.01},
    homogeneity=0,
    rates={"default": 1e-2, "digits": 3e-2},
)
def lans(
    learning_rate: Real[Hyper],
    b1: Average[Hyper] = 0.9,
    b2: Decay[Hyper] = 0.999,
    eps: NonNegative[Hyper] = 1e-6,
    weight_decay: Real[Hyper] = 0.0,
    mask: MaskOrFn = None,
    lower_bound: Bound[Hyper] | None = None,
    upper_bound: Bound[Hyper] | None = None,
):
    """LANS: LAMB with normalized gradients and Nesterov's momentum.

        r   = mu^ / (sqrt(nu^) + eps) + weight_decay p                      mu, nu as in `adam`, of g / ||g||
        r_g = g / ||g|| / (sqrt(nu^) + eps) + weight_decay p
        u   = -learning_rate ||p|| (b1 r / ||r|| + (1 - b1) r_g / ||r_g||)  a ratio of norms is 1 where one of them is 0

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.
      weight_decay: the part of the parameters that is added to the direction before its norm is taken.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.
      lower_bound: the least norm of a parameter that counts; None: no bound.
      upper_bound: the largest norm of a parameter that counts; None: no bound.

    >>> tx = gx.lans(1e-3, weight_decay=0.01)

    State    (ScaleByLansState(count, mu, nu), EmptyState()). Memory: 2 x params.
    Units    learning_rate is dimensionless: each leaf moves by learning_rate times its norm.
    Shapes   any, scalars and complex included; the norms are over whole leaves.
    Sharded  inside `shard_map` norms and means are over the device's own part of a leaf; under `jit` over the whole leaf.
    Masks    weight_decay is left out where the mask is False; leaves that a pattern leaves out are decayed.
    Source   Zheng et al. 2020, arXiv:2006.13484, Algorithm 2; the bounds are MXNet's, on ||p||.
    Differs  Optax has no such optimizer. MXNet decays the second part by the parameters that the first has moved.
    Raises   MissingArgumentError: no params. HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps < 0, a bound < 0.
    """
    direction = scale_by_lans(b1, b2, eps, weight_decay, mask, lower_bound, upper_bound)
    return chain(direction, scale_by_learning_rate(learning_rate))
