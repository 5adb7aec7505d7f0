"""NovoGrad."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import jax.numpy as jnp

from gradxform._numerics import sum_sq
from gradxform._types import Axes, Clock, DType, Field, Hyper, Momentum, NonNegative, Real, RealUpdates, Unit, Updates
from gradxform.core import chain, per_leaf
from gradxform.registry import optimizer, transform
from gradxform.transforms import scale_by_learning_rate


class ScaleByNovogradState(NamedTuple):
    """The decaying sum of normalized gradients, and for each leaf the running mean of ||g||^2."""

    count: Clock
    mu: Annotated[Updates, Field(stored="mu_dtype", mean="b1")]
    nu: Annotated[RealUpdates, Field(axes=Axes())]


@transform(source="Ginsburg et al. 2019, arXiv:1905.11286, Algorithm 1", homogeneity=0, example={"eps": 1e-30})
@per_leaf(
    ScaleByNovogradState,
    needs=("params",),
)
def scale_by_novograd(
    g, s, p, c,
    b1: Momentum = 0.9, b2: Unit = 0.25, eps: NonNegative = 1e-8, eps_root: NonNegative = 0.0, weight_decay: Real = 0.0,
    mu_dtype: DType | None = None,
):  # fmt: skip
    """Divide each leaf's gradient by the running size of its norm, decay, and accumulate.

        nu = b2 nu + (1 - b2) ||g||^2           ||g||^2 at the first update
        mu = b1 mu + g / (sqrt(nu + eps_root) + eps) + weight_decay p
        u  = mu

    Args:
      b1: how much of the decaying sum stays at each update.
      b2: how much of the running mean of each leaf's squared norm stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.
      eps_root: added inside the root; more than 0 makes derivatives through the update finite at gradients of 0.
      weight_decay: the part of the parameters that is added to the normalized gradient.
      mu_dtype: the dtype of the decaying sum; None: the parameter's, float32 or wider.

    >>> tx = gx.chain(gx.scale_by_novograd(), gx.scale_by_learning_rate(1e-2))

    State    count; mu: like p, float32 or wider unless mu_dtype says otherwise; nu: one number per leaf. Memory: 1 x params.
    Units    u is dimensionless: scaling every gradient by k > 0 leaves u unchanged (eps -> 0).
    Shapes   any, scalars and complex included; the norm is over the whole leaf.
    Sharded  inside `shard_map` norms and means are over the device's own part of a leaf; under `jit` over the whole leaf.
    Source   Ginsburg et al. 2019, arXiv:1905.11286, Algorithm 1.
    Differs  without params it says so. Float32 averages for narrow parameters, so that a zero float16 gradient gives 0.
    Raises   MissingArgumentError: no params. HyperparameterError: b1 outside [-1, 1], b2 outside [0, 1], eps < 0.
    """
    size = sum_sq(g)
    nu = jnp.where(c.t > 1, b2 * s.nu + (1 - b2) * size, size)
    mu = b1 * s.mu + g / (jnp.sqrt(nu + eps_root) + eps) + weight_decay * p
    return mu, s._replace(mu=mu, nu=nu)


@optimizer(
    source="Ginsburg et al. 2019, arXiv:1905.11286",
    example={"learning_rate": 1e-2, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 1e-2, "digits": 1e-1},
)
def novograd(
    learning_rate: Real[Hyper],
    b1: Momentum[Hyper] = 0.9,
    b2: Unit[Hyper] = 0.25,
    eps: NonNegative[Hyper] = 1e-6,
    eps_root: NonNegative[Hyper] = 0.0,
    weight_decay: Real[Hyper] = 0.0,
):
    """NovoGrad: momentum of gradients that are normalized leaf by leaf.

        nu = b2 nu + (1 - b2) ||g||^2           ||g||^2 at the first update
        mu = b1 mu + g / (sqrt(nu + eps_root) + eps) + weight_decay p
        u  = -learning_rate mu

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the decaying sum stays at each update.
      b2: how much of the running mean of each leaf's squared norm stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.
      eps_root: added inside the root; more than 0 makes derivatives through the update finite at gradients of 0.
      weight_decay: the part of the parameters that is added to the normalized gradient.

    >>> tx = gx.novograd(1e-2, weight_decay=1e-3)

    State    (ScaleByNovogradState(count, mu, nu), EmptyState()). Memory: 1 x params.
    Units    learning_rate has those of p: a leaf's step has about the norm learning_rate / (1 - b1).
    Shapes   any, scalars and complex included; the norm is over the whole leaf.
    Sharded  inside `shard_map` norms and means are over the device's own part of a leaf; under `jit` over the whole leaf.
    Source   Ginsburg et al. 2019, arXiv:1905.11286, Algorithm 1.
    Differs  as `scale_by_novograd`.
    Raises   MissingArgumentError: no params. HyperparameterError: b1 outside [-1, 1], b2 outside [0, 1], eps < 0.
    """
    return chain(scale_by_novograd(b1, b2, eps, eps_root, weight_decay), scale_by_learning_rate(learning_rate))
