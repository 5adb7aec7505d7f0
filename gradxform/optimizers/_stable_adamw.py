"""StableAdamW."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform._numerics import abs_sq
from gradxform._types import Average, Decay, DType, Hyper, LeafNumbers, MaskOrFn, NonNegative, Real
from gradxform.core import chain, per_leaf
from gradxform.optimizers._adam import ScaleByAdamState
from gradxform.registry import optimizer, transform
from gradxform.transforms import scale_by_learning_rate


@transform(source="Wortsman et al. 2023, arXiv:2304.13013, Algorithm 2", homogeneity=0, example={"eps": 1e-30})
@per_leaf(ScaleByAdamState, needs=("params",))
def scale_by_stable_adam(
    g, s, p, c,
    b1: Average = 0.9, b2: Decay = 0.99, eps: NonNegative = 1e-6, mu_dtype: DType | None = None, weight_decay: Real = 0.0,
    mask: LeafNumbers = None,
):  # fmt: skip
    """Adam, its decay too, slowed down at each leaf whose gradients are larger than their running mean of squares says.

        mu = b1 mu + (1 - b1) g
        nu = b2 nu + (1 - b2) |g|^2
        r  = max(1, rms(g / max(sqrt(nu^), eps)))                           x^ = x / (1 - b^t), rms(x) = sqrt(mean |x|^2)
        u  = (mu^ / (sqrt(nu^) + eps) + weight_decay p) / r

    Args:
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      weight_decay: the part of the parameters that is added to the direction before it is divided by r.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.

    >>> tx = gx.chain(gx.scale_by_stable_adam(), gx.scale_by_learning_rate(1e-3))

    State    count; mu: like p, float32 or wider unless mu_dtype says otherwise; nu: like p but real. Memory: 2 x params.
    Units    u is dimensionless: scaling every gradient by k > 0 leaves u unchanged (eps -> 0).
    Shapes   any, scalars and complex included; the mean is over the whole leaf.
    Sharded  inside `shard_map` norms and means are over the device's own part of a leaf; under `jit` over the whole leaf.
    Source   Wortsman et al. 2023, arXiv:2304.13013, Algorithm 2.
    Differs  Optax has none.
    Raises   MissingArgumentError: no params. HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps < 0.
    """
    mu = b1 * s.mu + (1 - b1) * g
    nu = b2 * s.nu + (1 - b2) * abs_sq(g)
    root = jnp.sqrt(c.debias(nu, b2))
    floor = jnp.maximum(root, eps)
    r = jnp.maximum(1, jnp.sqrt(jnp.mean(abs_sq(g / jnp.where(floor > 0, floor, 1)))))
    u = (c.debias(mu, b1) / (root + eps) + c.mask * weight_decay * p) / r
    return u, s._replace(mu=mu, nu=nu)


@optimizer(
    source="Wortsman et al. 2023, arXiv:2304.13013",
    example={"learning_rate": 1e-3, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 1e-3, "digits": 1e-2},
)
def stable_adamw(
    learning_rate: Real[Hyper],
    b1: Average[Hyper] = 0.9,
    b2: Decay[Hyper] = 0.99,
    eps: NonNegative[Hyper] = 1e-6,
    mu_dtype: DType | None = None,
    weight_decay: Real[Hyper] = 0.01,
    mask: MaskOrFn = None,
):
    """StableAdamW: AdamW whose rate, leaf by leaf, falls where gradients outgrow their running mean of squares.

        mu = b1 mu + (1 - b1) g
        nu = b2 nu + (1 - b2) |g|^2
        r  = max(1, rms(g / max(sqrt(nu^), eps)))                           x^ = x / (1 - b^t), rms(x) = sqrt(mean |x|^2)
        u  = -learning_rate (mu^ / (sqrt(nu^) + eps) + weight_decay p) / r

    It does the work of clipping, in the units of Adam: do not clip besides.

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate / r, that is taken away at each update.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.

    >>> tx = gx.stable_adamw(1e-3)

    State    (ScaleByAdamState(count, mu, nu), EmptyState()). Memory: 2 x params.
    Units    learning_rate has those of p: the step is about learning_rate per element. weight_decay has those of 1 / p.
    Shapes   any, scalars and complex included; the mean is over the whole leaf.
    Sharded  inside `shard_map` norms and means are over the device's own part of a leaf; under `jit` over the whole leaf.
    Source   Wortsman et al. 2023, arXiv:2304.13013, Algorithm 2.
    Differs  Optax has none.
    Raises   MissingArgumentError: no params. HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps < 0.
    """
    return chain(scale_by_stable_adam(b1, b2, eps, mu_dtype, weight_decay, mask), scale_by_learning_rate(learning_rate))
