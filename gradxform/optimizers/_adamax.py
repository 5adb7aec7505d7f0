"""Adam in the infinity norm: Adamax, Nadamax, Maxaprop."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform._types import Average, Decay, Field, Hyper, MaskOrFn, NonNegative, Real, Unit
from gradxform.core import chain, elementwise, layout
from gradxform.optimizers._adam import ScaleByAdamState
from gradxform.registry import optimizer, transform
from gradxform.transforms import add_decayed_weights, scale_by_infinity_norm, scale_by_learning_rate


@transform(source="Kingma & Ba 2015, arXiv:1412.6980, Algorithm 2", homogeneity=0, example={"eps": 1e-30})
@elementwise(layout(ScaleByAdamState, mu=Field(partner=""), nu=Field(lasting=True)))
def scale_by_adamax(g, s, p, c, b1: Average = 0.9, b2: Unit = 0.999, eps: NonNegative = 1e-8):
    """Divide the gradient's running mean by its exponentially weighted infinity norm.

        mu = b1 mu + (1 - b1) g
        nu = max(b2 nu, |g| + eps)
        u  = mu^ / nu                           mu^ = mu / (1 - b1^t)

    Args:
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the largest gradient stays at each update.
      eps: added to the size of the gradient, inside the maximum.

    >>> tx = gx.chain(gx.scale_by_adamax(), gx.scale_by_learning_rate(2e-3))

    State    count; mu: like p, float32 or wider; nu: like p but real. Memory: 2 x params.
    Units    u is dimensionless: scaling every gradient by k > 0 leaves u unchanged (eps -> 0).
    Shapes   any, scalars and complex included.
    Source   Kingma & Ba 2015, arXiv:1412.6980, Algorithm 2; eps inside the maximum as in Optax.
    Differs  float32 averages for narrow parameters; 0 / 0 is 0, also with eps=0.
    Raises   HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1], eps < 0.
    """
    mu = b1 * s.mu + (1 - b1) * g
    nu = jnp.maximum(b2 * s.nu, jnp.abs(g) + eps)
    return jnp.where(nu > 0, c.debias(mu, b1) / jnp.where(nu > 0, nu, 1), 0), s._replace(mu=mu, nu=nu)


@optimizer(
    source="Kingma & Ba 2015, arXiv:1412.6980, section 7.1",
    example={"learning_rate": 2e-3, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 2e-3, "digits": 1e-2},
)
def adamax(learning_rate: Real[Hyper], b1: Average[Hyper] = 0.9, b2: Unit[Hyper] = 0.999, eps: NonNegative[Hyper] = 1e-8):
    """Adamax: momentum, divided by the largest recent gradient.

        mu = b1 mu + (1 - b1) g
        nu = max(b2 nu, |g| + eps)
        u  = -learning_rate mu^ / nu            mu^ = mu / (1 - b1^t)

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the largest gradient stays at each update.
      eps: added to the size of the gradient, inside the maximum.

    >>> tx = gx.adamax(2e-3)

    State    (ScaleByAdamState(count, mu, nu), EmptyState()). Memory: 2 x params.
    Units    learning_rate has those of p.
    Shapes   any, scalars and complex included.
    Source   Kingma & Ba 2015, arXiv:1412.6980, Algorithm 2.
    Differs  as `scale_by_adamax`.
    Raises   HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1], eps < 0.
    """
    return chain(scale_by_adamax(b1, b2, eps), scale_by_learning_rate(learning_rate))


@optimizer(
    source="Kingma & Ba 2015; Loshchilov & Hutter 2019",
    example={"learning_rate": 2e-3, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 2e-3, "digits": 1e-2},
    identities=[("adamaxw(0.1, weight_decay=0.0)", "adamax(0.1)")],
)
def adamaxw(
    learning_rate: Real[Hyper],
    b1: Average[Hyper] = 0.9,
    b2: Unit[Hyper] = 0.999,
    eps: NonNegative[Hyper] = 1e-8,
    weight_decay: Real[Hyper] = 1e-4,
    mask: MaskOrFn = None,
):
    """Adamax with decoupled weight decay.

        u = -learning_rate (mu^ / nu + weight_decay p)                      mu, nu as in `adamax`

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the largest gradient stays at each update.
      eps: added to the size of the gradient, inside the maximum.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.

    >>> tx = gx.adamaxw(2e-3, weight_decay=1e-2, mask=gx.by_ndim(2))

    State    (ScaleByAdamState(count, mu, nu), EmptyState(), EmptyState()). Memory: 2 x params.
    Units    learning_rate has those of p; weight_decay those of 1 / p.
    Shapes   any, scalars and complex included.
    Source   Kingma & Ba 2015, arXiv:1412.6980; Loshchilov & Hutter 2019, arXiv:1711.05101.
    Differs  as `scale_by_adamax`.
    Raises   MissingArgumentError: no params. HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1], eps < 0.
    """
    return chain(scale_by_adamax(b1, b2, eps), add_decayed_weights(weight_decay, mask), scale_by_learning_rate(learning_rate))


@transform(source="Adamax and NAdam, by analogy", homogeneity=0, example={"eps": 1e-30})
@elementwise(layout(ScaleByAdamState, mu=Field(partner=""), nu=Field(lasting=True)))
def scale_by_nadamax(g, s, p, c, b1: Average = 0.9, b2: Unit = 0.999, eps: NonNegative = 1e-8):
    """Divide the gradient's running mean, with Nesterov's look-ahead, by its exponentially weighted infinity norm.

        mu = b1 mu + (1 - b1) g
        nu = max(b2 nu, |g|)
        m  = b1 mu / (1 - b1^(t+1)) + (1 - b1) g / (1 - b1^t)
        u  = m / (nu + eps)

    Args:
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the largest gradient stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.

    >>> tx = gx.chain(gx.scale_by_nadamax(), gx.scale_by_learning_rate(2e-3))

    State    count; mu: like p, float32 or wider; nu: like p but real. Memory: 2 x params.
    Units    u is dimensionless: scaling every gradient by k > 0 leaves u unchanged (eps -> 0).
    Shapes   any, scalars and complex included.
    Source   as `nadamax`.
    Differs  Optax has no such transformation.
    Raises   HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1], eps < 0.
    """
    mu = b1 * s.mu + (1 - b1) * g
    nu = jnp.maximum(b2 * s.nu, jnp.abs(g))
    m = b1 * c.debias(mu, b1, ahead=1) + (1 - b1) * c.debias(g, b1)
    return m / (nu + eps), s._replace(mu=mu, nu=nu)


@optimizer(
    source="Adamax and NAdam, by analogy",
    example={"learning_rate": 2e-3, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 2e-3, "digits": 1e-2},
)
def nadamax(learning_rate: Real[Hyper], b1: Average[Hyper] = 0.9, b2: Unit[Hyper] = 0.999, eps: NonNegative[Hyper] = 1e-8):
    """Nadamax: Adamax with Nesterov's look-ahead in the numerator.

        mu = b1 mu + (1 - b1) g
        nu = max(b2 nu, |g|)
        m  = b1 mu / (1 - b1^(t+1)) + (1 - b1) g / (1 - b1^t)
        u  = -learning_rate m / (nu + eps)

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the largest gradient stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.

    >>> tx = gx.nadamax(2e-3)

    State    (ScaleByAdamState(count, mu, nu), EmptyState()). Memory: 2 x params.
    Units    learning_rate has those of p.
    Shapes   any, scalars and complex included.
    Source   lecture slides name it, "L-infinity norm rather than L2", without an equation; no other definition was found.
             It is read by analogy: NAdam's numerator (Dozat 2016) over Adamax's denominator (Kingma & Ba 2015, section 7.1).
    Differs  Optax has no such optimizer.
    Raises   HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1], eps < 0.
    """
    return chain(scale_by_nadamax(b1, b2, eps), scale_by_learning_rate(learning_rate))


@optimizer(
    source="RMSProp and Adamax, by analogy",
    example={"learning_rate": 2e-3, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 2e-3, "digits": 1e-2},
    identities=[
        ("maxaprop(0.1)", "chain(scale_by_infinity_norm(0.9), scale(-0.1))"),
        ("maxaprop(0.1, decay=0.0)", "sign_sgd(0.1)"),
    ],
)
def maxaprop(learning_rate: Real[Hyper], decay: Decay[Hyper] = 0.9, eps: NonNegative[Hyper] = 1e-8):
    """Maxaprop: RMSProp in the infinity norm, which divides by the largest recent gradient.

        nu = max(decay nu, |g|)
        u  = -learning_rate g / (nu + eps)

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      decay: how much of the largest gradient stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.

    >>> tx = gx.maxaprop(1e-3)

    State    (ScaleByInfinityNormState(nu), EmptyState()). Memory: 1 x params.
    Units    learning_rate has those of p: no element moves by more.
    Shapes   any, scalars and complex included.
    Source   lecture slides name it, "L-infinity norm rather than L2", without an equation; no other definition was found.
             It is read by analogy: RMSProp (Tieleman & Hinton 2012) with Adamax's denominator (Kingma & Ba 2015, section 7.1).
    Differs  Optax has no such optimizer.
    Raises   HyperparameterError: decay outside [0, 1), eps < 0.
    """
    return chain(scale_by_infinity_norm(decay, eps), scale_by_learning_rate(learning_rate))
