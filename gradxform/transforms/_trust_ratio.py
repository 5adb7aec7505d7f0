"""Scaling a leaf's update by the size of its parameter."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform._numerics import abs_sq, norm
from gradxform._types import Bound, NonNegative, Real
from gradxform.core import per_leaf
from gradxform.registry import transform


@transform(source="You et al. 2017, arXiv:1708.03888", homogeneity=0)
@per_leaf(needs=("params",))
def scale_by_trust_ratio(
    g, s, p, c,
    min_norm: NonNegative = 0.0, trust_coefficient: Real = 1.0, eps: NonNegative = 0.0,
    lower_bound: Bound | None = None, upper_bound: Bound | None = None,
):  # fmt: skip
    """Give each leaf's update the norm of its parameter.

        r = trust_coefficient max(||p||, min_norm) / (max(||g||, min_norm) + eps)
        u = r g                                 r = 1 where one of the norms is 0

    lower_bound and upper_bound, where given, are bounds on the norm of p that r takes.

    Args:
      min_norm: the least norm that parameter and update count with.
      trust_coefficient: a factor of the ratio of norms.
      eps: added to the divisor, in its units, so that it is never 0.
      lower_bound: the least norm of a parameter that counts; None: no bound.
      upper_bound: the largest norm of a parameter that counts; None: no bound.

    >>> tx = gx.chain(gx.scale_by_adam(), gx.scale_by_trust_ratio(), gx.scale_by_learning_rate(1e-3))

    State    EmptyState(). Memory: none.
    Units    those of p: scaling every gradient by k > 0 leaves u unchanged (eps, min_norm -> 0).
    Shapes   any, complex included; the norm is over the whole leaf.
    Sharded  inside `shard_map` norms and means are over the device's own part of a leaf; under `jit` over the whole leaf.
    Source   You et al. 2017, arXiv:1708.03888; You et al. 2020, arXiv:1904.00962, with bounds for its function phi.
    Differs  the bounds are new.
    Raises   MissingArgumentError: no params. HyperparameterError: min_norm < 0, eps < 0, a bound < 0.
    """
    p_norm, g_norm = jnp.clip(jnp.maximum(norm(p), min_norm), lower_bound, upper_bound), jnp.maximum(norm(g), min_norm)
    defined = (p_norm > 0) & (g_norm > 0)
    r = trust_coefficient * p_norm / jnp.where(defined, g_norm + eps, 1)
    return jnp.where(defined, r, 1) * g, s


@transform(source="Shazeer & Stern 2018, arXiv:1804.04235", homogeneity=1)
@per_leaf(needs=("params",))
def scale_by_param_block_rms(g, s, p, c, min_scale: NonNegative = 1e-3):
    """Multiply each leaf's update by the root mean square of its parameter.

        u = max(rms(p), min_scale) g            rms(p) = sqrt(mean |p|^2)

    Args:
      min_scale: the least factor.

    >>> tx = gx.chain(gx.scale_by_adam(), gx.scale_by_param_block_rms(), gx.scale_by_learning_rate(1e-2))

    State    EmptyState(). Memory: none.
    Units    those of p times g.
    Shapes   any, complex included; the mean is over the whole leaf.
    Sharded  inside `shard_map` norms and means are over the device's own part of a leaf; under `jit` over the whole leaf.
    Source   Shazeer & Stern 2018, arXiv:1804.04235, section 8.
    Differs  no.
    Raises   MissingArgumentError: no params. HyperparameterError: min_scale < 0.
    """
    return jnp.maximum(jnp.sqrt(jnp.mean(abs_sq(p))), min_scale) * g, s


@transform(source="Optax", homogeneity=1)
@per_leaf(needs=("params",))
def scale_by_param_block_norm(g, s, p, c, min_scale: NonNegative = 1e-3):
    """Multiply each leaf's update by the norm of its parameter.

        u = max(||p||, min_scale) g

    Args:
      min_scale: the least factor.

    >>> tx = gx.chain(gx.scale_by_adam(), gx.scale_by_param_block_norm(), gx.scale_by_learning_rate(1e-2))

    State    EmptyState(). Memory: none.
    Units    those of p times g.
    Shapes   any, complex included; the norm is over the whole leaf.
    Sharded  inside `shard_map` norms and means are over the device's own part of a leaf; under `jit` over the whole leaf.
    Source   Optax.
    Differs  no.
    Raises   MissingArgumentError: no params. HyperparameterError: min_scale < 0.
    """
    return jnp.maximum(norm(p), min_scale) * g, s
