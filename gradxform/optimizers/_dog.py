"""DoG and DoWG: gradient descent whose step is the distance come so far over the gradients seen so far."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import jax.numpy as jnp

from gradxform._numerics import sum_sq
from gradxform._types import ArrayLike, Field, Hyper, MaskOrFn, NonNegative, ParamsCopy, Positive, Real, Shared
from gradxform.core import chain, per_tree
from gradxform.registry import optimizer, transform
from gradxform.transforms import add_decayed_weights, identity, scale_by_learning_rate


def _first_distance(params, init_step):
    kind, value = init_step
    if kind == "heuristic":
        return value * (1 + jnp.sqrt(sum(sum_sq(p) for p in params)))
    return value if kind == "distance" else 0.0


class DoGState(NamedTuple):
    """Whether the first update is to come, the first parameters, the largest distance from them, and the sum of ||g||^2."""

    is_init_step: Annotated[Shared, Field(first=lambda: True)]
    init_params: Annotated[ParamsCopy, Field(constant=True)]
    max_dist: Annotated[Shared, Field(first=_first_distance, dtype="params")]
    sum_sq_norm_grads: Annotated[Shared, Field(first=lambda: 0.0, dtype="params")]


def _first_sq_distance(init_estim_sq_dist, eps):
    return eps if init_estim_sq_dist is None else init_estim_sq_dist


class DoWGState(NamedTuple):
    """The first parameters, the sum of ||g||^2 weighted by the squared distance, and the largest squared distance."""

    init_params: Annotated[ParamsCopy, Field(constant=True)]
    weighted_sq_norm_grads: Annotated[Shared, Field(first=lambda: 0.0, dtype="params")]
    estim_sq_dist: Annotated[Shared, Field(first=_first_sq_distance, dtype="params")]


def _total(g, s, p, c):
    return sum_sq(p - s.init_params), sum_sq(g)


def _dog_advance(s, c):
    distance_sq, size = c.total
    r, total = jnp.maximum(s.max_dist, jnp.sqrt(distance_sq)), s.sum_sq_norm_grads + size
    return s._replace(is_init_step=False, max_dist=r, sum_sq_norm_grads=total), {}


@transform(source="Ivgi et al. 2023, arXiv:2302.12022", homogeneity=0, example={"init_step": ("heuristic", 1e-6), "eps": 1e-30})
@per_tree(
    DoGState,
    needs=("params",),
    total=_total,
    advance=_dog_advance,
)
def scale_by_dog(
    g, s, p, c,
    init_step: tuple[Literal["distance", "learning_rate", "heuristic"], NonNegative], eps: NonNegative = 1e-8,
):  # fmt: skip
    """Multiply the gradient by the distance from the first parameters over the root of all squared gradients so far.

        r = max(r, ||p - p0||)                          over all leaves; p0 the first parameters
        G = G + ||g||^2
        u = r / sqrt(G + eps) g

    init_step, a pair, says what the first step is: ("distance", r0) starts with r = r0; ("heuristic", a) with r = a (1 + ||p0||), the
    paper's choice, a = 1e-6, or 1e-4 with batch normalization; ("learning_rate", eta) takes u = eta g once. The parameters must be
    the true ones when `init` is called.

    Args:
      init_step: what the first step is: ("heuristic", a), ("distance", r0) or ("learning_rate", eta).
      eps: added to the divisor, in its units, so that it is never 0.

    >>> tx = gx.chain(gx.scale_by_dog(("heuristic", 1e-6)), gx.scale_by_learning_rate(1.0))

    State    DoGState(is_init_step, init_params p0, max_dist r, sum_sq_norm_grads G). Memory: 1 x params.
    Units    those of p: scaling every gradient by k > 0 leaves u unchanged.
    Shapes   any, scalars and complex included.
    Sharded  inside `shard_map` sums over the tree are over the device's own parts, and each device goes on with its own; under
             `jit` over all.
    Source   Ivgi et al. 2023, arXiv:2302.12022, equation 1 and section 4.1.
    Differs  r and G of narrow parameters are float32; the state can be donated together with the parameters.
    Raises   MissingArgumentError: no params. HyperparameterError: an init_step of another kind, eps < 0.
    """
    (kind, value), eta = init_step, c.max_dist / jnp.sqrt(c.sum_sq_norm_grads + eps)
    return (jnp.where(s.is_init_step, value, eta) if kind == "learning_rate" else eta) * g, s


def _dowg_advance(s, c):
    distance_sq, size = c.total
    r_sq = jnp.maximum(s.estim_sq_dist, distance_sq)
    weighted = s.weighted_sq_norm_grads + r_sq * size
    return s._replace(weighted_sq_norm_grads=weighted, estim_sq_dist=r_sq), {}


@transform(
    source="Khaled et al. 2023, arXiv:2305.16284, Algorithm 1", homogeneity=0, example={"init_estim_sq_dist": 1e-4, "eps": 1e-30}
)
@per_tree(
    DoWGState,
    needs=("params",),
    total=_total,
    advance=_dowg_advance,
)
def scale_by_dowg(g, s, p, c, init_estim_sq_dist: NonNegative | None = None, eps: Positive = 1e-4):
    """Multiply the gradient by the squared distance from the first parameters over the root of all squared gradients, so weighted.

        R = max(R, ||p - p0||^2)                        over all leaves; p0 the first parameters
        V = V + R ||g||^2
        u = R / (sqrt(V) + eps) g

    R starts as init_estim_sq_dist, or as eps.

    Args:
      init_estim_sq_dist: the first squared distance; None: eps.
      eps: added to the root, and the first squared distance unless init_estim_sq_dist says it.

    >>> tx = gx.chain(gx.scale_by_dowg(), gx.scale_by_learning_rate(1.0))

    State    DoWGState(init_params p0, weighted_sq_norm_grads V, estim_sq_dist R). Memory: 1 x params.
    Units    those of p: scaling every gradient by k > 0 leaves u unchanged (eps -> 0).
    Shapes   any, scalars and complex included.
    Sharded  inside `shard_map` sums over the tree are over the device's own parts, and each device goes on with its own; under
             `jit` over all.
    Source   Khaled et al. 2023, arXiv:2305.16284, Algorithm 1.
    Differs  R and V of narrow parameters are float32; the state can be donated together with the parameters.
    Raises   MissingArgumentError: no params. HyperparameterError: init_estim_sq_dist < 0, eps <= 0.
    """
    return c.estim_sq_dist / (jnp.sqrt(c.weighted_sq_norm_grads) + eps) * g, s


def _descent(direction, learning_rate, weight_decay, mask):
    decay = identity() if weight_decay is None else add_decayed_weights(weight_decay, mask)
    return chain(decay, direction, scale_by_learning_rate(learning_rate))


@optimizer(
    source="Ivgi et al. 2023, arXiv:2302.12022",
    example={"eps": 1e-30},
    homogeneity=0,
    rates={"default": 1.0, "digits": 1.0},
)
def dog(
    learning_rate: Real[Hyper] = 1.0,
    init_step: tuple[Literal["distance", "learning_rate", "heuristic"], NonNegative[ArrayLike]] = ("heuristic", 1e-6),
    eps: NonNegative[Hyper] = 1e-8,
    weight_decay: Real[Hyper] | None = None,
    mask: MaskOrFn = None,
):
    """DoG, distance over gradients: gradient descent with a step size that needs no tuning.

        g = g + weight_decay p
        r = max(r, ||p - p0||)                          over all leaves; p0 the first parameters
        G = G + ||g||^2
        u = -learning_rate r / sqrt(G + eps) g

    init_step says what the first step is: see `scale_by_dog`. The paper evaluates with an average of the parameters.

    Args:
      learning_rate: a factor of the steps that are found: 1, or a schedule that peaks at 1.
      init_step: what the first step is: ("heuristic", a), ("distance", r0) or ("learning_rate", eta).
      eps: added to the divisor, in its units, so that it is never 0.
      weight_decay: the part of the parameters that is added to the gradient.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.

    >>> tx = gx.contrib.dog()  # evaluates best with an average of the parameters

    State    (EmptyState(), DoGState(is_init_step, init_params, max_dist, sum_sq_norm_grads), EmptyState()). Memory: 1 x params.
    Units    learning_rate is dimensionless, 1 by default: scaling every gradient by k > 0 leaves u unchanged.
    Shapes   any, scalars and complex included.
    Sharded  inside `shard_map` sums over the tree are over the device's own parts, and each device goes on with its own; under
             `jit` over all.
    Masks    weight_decay is left out where the mask is False; see `masked`.
    Source   Ivgi et al. 2023, arXiv:2302.12022, equation 1 and section 4.1.
    Differs  as `scale_by_dog`.
    Raises   MissingArgumentError: no params. HyperparameterError: an init_step of another kind, eps < 0.
    """
    return _descent(scale_by_dog(init_step, eps), learning_rate, weight_decay, mask)


@optimizer(
    source="Khaled et al. 2023, arXiv:2305.16284",
    example={"eps": 1e-30, "init_estim_sq_dist": 1e-4},
    homogeneity=0,
    rates={"default": 1.0, "digits": 1.0},
)
def dowg(
    learning_rate: Real[Hyper] = 1.0,
    init_estim_sq_dist: NonNegative[Hyper] | None = None,
    eps: Positive[Hyper] = 1e-4,
    weight_decay: Real[Hyper] | None = None,
    mask: MaskOrFn = None,
):
    """DoWG, distance over weighted gradients: gradient descent with a step size that needs no tuning and grows faster than DoG's.

        g = g + weight_decay p
        R = max(R, ||p - p0||^2)                        over all leaves; p0 the first parameters
        V = V + R ||g||^2
        u = -learning_rate R / (sqrt(V) + eps) g

    Args:
      learning_rate: a factor of the steps that are found: 1, or a schedule that peaks at 1.
      init_estim_sq_dist: the first squared distance; None: eps.
      eps: added to the root, and the first squared distance unless init_estim_sq_dist says it.
      weight_decay: the part of the parameters that is added to the gradient.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.

    >>> tx = gx.contrib.dowg()

    State    (EmptyState(), DoWGState(init_params, weighted_sq_norm_grads, estim_sq_dist), EmptyState()). Memory: 1 x params.
    Units    learning_rate is dimensionless, 1 by default: scaling every gradient by k > 0 leaves u unchanged (eps -> 0).
    Shapes   any, scalars and complex included.
    Sharded  inside `shard_map` sums over the tree are over the device's own parts, and each device goes on with its own; under
             `jit` over all.
    Masks    weight_decay is left out where the mask is False; see `masked`.
    Source   Khaled et al. 2023, arXiv:2305.16284, Algorithm 1.
    Differs  as `scale_by_dowg`.
    Raises   MissingArgumentError: no params. HyperparameterError: eps <= 0, init_estim_sq_dist < 0.
    """
    return _descent(scale_by_dowg(init_estim_sq_dist, eps), learning_rate, weight_decay, mask)
