"""QHAdam."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform._numerics import abs_sq
from gradxform._types import Average, Decay, DType, Hyper, MaskOrFn, NonNegative, Real, Unit
from gradxform.core import chain, elementwise
from gradxform.optimizers._adam import ScaleByAdamState
from gradxform.registry import optimizer, transform
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate


@transform(source="Ma & Yarats 2018, arXiv:1810.06801, section 4.4", homogeneity=0, example={"nu2": 0.9, "eps": 1e-30})
@elementwise(ScaleByAdamState)
def scale_by_qhadam(
    g, s, p, c,
    b1: Average = 0.995, b2: Decay = 0.999, nu1: Real = 0.7, nu2: Unit = 1.0, eps: NonNegative = 1e-8, mu_dtype: DType | None = None,
):  # fmt: skip
    """Adam, both of whose running means are mixed with what they are of.

        mu = b1 mu + (1 - b1) g
        nu = b2 nu + (1 - b2) |g|^2
        u  = ((1 - nu1) g + nu1 mu^) / (sqrt((1 - nu2) |g|^2 + nu2 nu^) + eps)                      x^ = x / (1 - b^t)

    Args:
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      nu1: the weight of the running mean, beside the gradient.
      nu2: the weight of the running mean of squares, beside the square.
      eps: added to the divisor, in its units, so that it is never 0.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.

    >>> tx = gx.chain(gx.scale_by_qhadam(), gx.scale_by_learning_rate(1e-3))

    State    count; mu: like p, float32 or wider unless mu_dtype says otherwise; nu: like p but real. Memory: 2 x params.
    Units    u is dimensionless: scaling every gradient by k > 0 leaves u unchanged (eps -> 0).
    Shapes   any, scalars and complex included.
    Source   Ma & Yarats 2018, arXiv:1810.06801, section 4.4.
    Differs  Optax has none.
    Raises   HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), nu2 outside [0, 1], nu1 is not a finite number, eps < 0.
    """
    mu = b1 * s.mu + (1 - b1) * g
    nu = b2 * s.nu + (1 - b2) * abs_sq(g)
    above = (1 - nu1) * g + nu1 * c.debias(mu, b1)
    u = above / (jnp.sqrt((1 - nu2) * abs_sq(g) + nu2 * c.debias(nu, b2)) + eps)
    return u, s._replace(mu=mu, nu=nu)


@optimizer(
    source="Ma & Yarats 2018, arXiv:1810.06801",
    example={"learning_rate": 1e-3, "nu2": 0.9, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 1e-3, "digits": 1e-2},
    identities=[("qhadam(0.1, 0.9, 0.99, nu1=1.0)", "adam(0.1, 0.9, 0.99)")],
)
def qhadam(
    learning_rate: Real[Hyper],
    b1: Average[Hyper] = 0.995,
    b2: Decay[Hyper] = 0.999,
    nu1: Real[Hyper] = 0.7,
    nu2: Unit[Hyper] = 1.0,
    eps: NonNegative[Hyper] = 1e-8,
    mu_dtype: DType | None = None,
    weight_decay: Real[Hyper] = 0.0,
    mask: MaskOrFn = None,
):
    """QHAdam: Adam whose momentum and squares are mixtures of running means with what is new.

        mu = b1 mu + (1 - b1) g
        nu = b2 nu + (1 - b2) |g|^2
        d  = ((1 - nu1) g + nu1 mu^) / (sqrt((1 - nu2) |g|^2 + nu2 nu^) + eps)                      x^ = x / (1 - b^t)
        u  = -learning_rate (d + weight_decay p)

    nu1 = nu2 = 1 is Adam.

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      nu1: the weight of the running mean, beside the gradient.
      nu2: the weight of the running mean of squares, beside the square.
      eps: added to the divisor, in its units, so that it is never 0.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.

    >>> tx = gx.qhadam(1e-3)

    State    (ScaleByAdamState(count, mu, nu), EmptyState(), EmptyState()). Memory: 2 x params.
    Units    learning_rate has those of p: the step is about learning_rate per element. weight_decay has those of 1 / p.
    Shapes   any, scalars and complex included.
    Source   Ma & Yarats 2018, arXiv:1810.06801, section 4.4.
    Differs  Optax has none.
    Raises   MissingArgumentError: no params. HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), nu2 outside [0, 1],
             nu1 is not a finite number, eps < 0.
    """
    direction = scale_by_qhadam(b1, b2, nu1, nu2, eps, mu_dtype)
    return chain(direction, add_decayed_weights(weight_decay, mask), scale_by_learning_rate(learning_rate))
