"""Losses from maxima."""

from __future__ import annotations

from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol

import jax.numpy as jnp

from gradxform._types import Array, ArrayLike
from gradxform.losses._arguments import broadcast, rounded_once, weigh

P = ParamSpec("P")


class FenchelYoungLoss(Protocol[P]):
    """What `make_fenchel_young_loss` makes."""

    def __call__(self, scores: ArrayLike, targets: ArrayLike, *args: P.args, **kwargs: P.kwargs) -> Array: ...


def make_fenchel_young_loss(max_fun: Callable[Concatenate[Array, P], ArrayLike]) -> FenchelYoungLoss[P]:
    """The Fenchel-Young loss of a convex function of one vector.

        l(scores, targets) = max_fun(scores) - sum_i targets_i scores_i

    Its gradient is grad max_fun(scores) - targets: with `logsumexp` it is the cross-entropy. The loss acts on the last axis and passes
    further arguments on to max_fun.

    Args:
      max_fun: a convex function of one vector, such as `logsumexp`.

    >>> cross_entropy = gx.losses.make_fenchel_young_loss(jax.nn.logsumexp)
    >>> cross_entropy(jnp.array([0.0, 0.0]), jnp.array([1.0, 0.0]))
    Array(0.6931472, dtype=float32)

    Source   Blondel et al. 2020, arXiv:1901.02324, definition 2.
    Differs  further positional arguments work. 0 times infinity is 0.
    """

    @rounded_once("scores", "targets")
    def fenchel_young_loss(scores: ArrayLike, targets: ArrayLike, *args: P.args, **kwargs: P.kwargs) -> Array:
        scores, targets = broadcast("fenchel_young_loss", scores=scores, targets=targets)
        maximum = jnp.vectorize(lambda x: max_fun(x, *args, **kwargs), signature="(n)->()")
        return maximum(scores) - jnp.sum(weigh(jnp.conj(targets), scores), -1)

    return fenchel_young_loss
