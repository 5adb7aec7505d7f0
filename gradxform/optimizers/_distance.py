"""The distance from the start, over the size of the gradients so far: a step size for each leaf."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import jax.numpy as jnp

from gradxform._numerics import norm, sum_sq
from gradxform._types import Axes, DType, Field, Hyper, NonNegative, Real, RealUpdates, Updates
from gradxform.core import per_leaf
from gradxform.registry import transform


class ScaleByDistanceOverGradientsState(NamedTuple):
    """For each leaf the largest distance from the start, and the sum of ||g||^2; the first parameters."""

    max_dist: Annotated[RealUpdates, Field(first=lambda p, reps_rel: reps_rel * (1 + norm(p)), axes=Axes(), constant=True)]
    grad_sum_of_squares: Annotated[RealUpdates, Field(axes=Axes(None))]
    init_params: Annotated[Updates, Field(first=lambda p: p, stored="param_dtype", constant=True)]


@per_leaf(ScaleByDistanceOverGradientsState, needs=("params",))
def _scale_by_distance_over_gradients(
    g, s, p, c,
    reps_rel: NonNegative = 1e-6, eps: NonNegative = 1e-8, param_dtype: DType | None = None, global_scale: Real = 1.0,
):  # fmt: skip
    """Multiply each leaf by the largest distance from its start, over the root of the sum of its squared gradients."""
    max_dist = jnp.maximum(s.max_dist, norm(p - s.init_params))
    G = s.grad_sum_of_squares + sum_sq(g)
    u = global_scale * max_dist / jnp.sqrt(G[0] + eps) * g
    return u, s._replace(max_dist=max_dist, grad_sum_of_squares=G)


@transform(source="Ivgi et al. 2023, arXiv:2302.12022, L-DoG")
def scale_by_distance_over_gradients(
    reps_rel: NonNegative[Hyper] = 1e-6,
    eps: NonNegative[Hyper] = 1e-8,
    param_dtype: DType | None = jnp.float32,
    global_scale: Real[Hyper] = 1.0,
):
    """Multiply each leaf by the largest distance from its start, over the root of the sum of its squared gradients.

        max_dist = max(max_dist, ||p - init_params||)
        G        = G + ||g||^2
        u        = global_scale max_dist / sqrt(G + eps) g

    The first max_dist is reps_rel (1 + ||p||).

    Args:
      reps_rel: the first distance, as a part of 1 + ||p||.
      eps: added to the divisor, in its units, so that it is never 0.
      param_dtype: the dtype of the copy of the first parameters; float32: float32 or wider.
      global_scale: a factor of all steps.

    >>> tx = gx.chain(gx.scale_by_distance_over_gradients(), gx.scale_by_learning_rate(1.0))

    State    max_dist, grad_sum_of_squares: one number per leaf, the latter of shape (1,); init_params: a copy of p, float32 or wider;
             param_dtype, if another, literally. Memory: 1 x params.
    Units    those of p: scaling every gradient by k > 0 leaves u unchanged (eps -> 0).
    Shapes   any, scalars and complex included; the norms are over whole leaves.
    Sharded  inside `shard_map` norms and means are over the device's own part of a leaf; under `jit` over the whole leaf.
    Source   Ivgi et al. 2023, arXiv:2302.12022, L-DoG: DoG for each leaf of its own.
    Differs  init_params is a copy, so that the parameters can be donated; float64 ones are not rounded to float32.
    Raises   MissingArgumentError: no params. HyperparameterError: reps_rel < 0, eps < 0, global_scale is not a finite number.
    """
    literal = None if jnp.dtype(param_dtype) == jnp.float32 else param_dtype
    return _scale_by_distance_over_gradients(reps_rel, eps, literal, global_scale)
