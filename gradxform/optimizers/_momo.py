"""MoMo: momentum whose step size is Polyak's for a model of the loss."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import jax.numpy as jnp

from gradxform._numerics import abs_sq, inner, sum_sq
from gradxform._types import Array, Average, Clock, Decay, Field, Floor, Momentum, NonNegative, Real, RealUpdates, Shared, Updates
from gradxform.core import per_tree
from gradxform.registry import optimizer

Mean = Annotated[Shared, Field(first=lambda: 0.0, dtype="params")]
LowerBound = Annotated[Shared, Field(first=lambda lower_bound: lower_bound, dtype="params", constant=True)]


class MomoState(NamedTuple):
    """The running means of g, of the loss and of <g, p>, and the lower bound of the loss."""

    exp_avg: Annotated[Updates, Field(mean="beta")]
    barf: Mean
    gamma: Mean
    lb: LowerBound
    count: Clock


class MomoAdamState(NamedTuple):
    """The running means of g, |g|^2, of the loss and of <g, p>, none of them debiased, and the lower bound of the loss."""

    exp_avg: Annotated[Updates, Field(mean="b1", partner="exp_avg_sq")]
    exp_avg_sq: Annotated[RealUpdates, Field(mean="b2", nonnegative=True)]
    barf: Mean
    gamma: Mean
    lb: LowerBound
    count: Clock


class Model(NamedTuple):
    """How far the model of the loss is above its lower bound where p is 0, <d, p>, and ||d||^2."""

    above: Array
    along_d: Array
    size: Array


def _tau(c, w, learning_rate, weight_decay):
    """The step to the lower bound of the loss, at most learning_rate; running means have the weight w so far."""
    gap = jnp.maximum((1 + learning_rate * weight_decay) * c.above + c.along_d, 0)
    return jnp.minimum(learning_rate / w, jnp.where(c.size > 0, gap / jnp.where(c.size > 0, c.size, 1), 0))


def _step(s, c, b, w, learning_rate, lower_bound, weight_decay, adapt_lower_bound):
    """The model of the loss, of which each leaf makes its step; running means with decay b."""
    along_g, along_d, size = c.total
    barf = b * s.barf + (1 - b) * jnp.asarray(c.value, s.barf.dtype)
    gamma = b * s.gamma + (1 - b) * along_g
    k, lb = 1 + learning_rate * weight_decay, s.lb
    if adapt_lower_bound:
        cap = k * (barf - gamma) + along_d
        lb = jnp.where(cap < k * w * lb, jnp.maximum(cap / (2 * k * w), lower_bound), lb)
    model = Model(barf - w * lb - gamma, along_d, size)
    if adapt_lower_bound:
        tau = _tau(model, w, learning_rate, weight_decay)
        lb = jnp.maximum((barf + along_d - gamma - tau * size / 2) / w, lower_bound)
    return s._replace(barf=barf, gamma=gamma, lb=lb), model._asdict()


def _momo_decay(c, beta):
    """beta, but 0 at the first update."""
    return beta * (c.t > 1).astype(c.dtype)


def _momentum(g, s, b):
    return b * s.exp_avg + (1 - b) * g


def _momo_total(g, s, p, c, beta):
    d = _momentum(g, s, _momo_decay(c, beta))
    return inner(g, p), inner(d, p), sum_sq(d)


def _momo_advance(s, c, learning_rate, beta, lower_bound, weight_decay, adapt_lower_bound):
    return _step(s, c, _momo_decay(c, beta), 1, learning_rate, lower_bound, weight_decay, adapt_lower_bound)


@optimizer(
    source="Schaipp et al. 2023, arXiv:2305.07583, Algorithm 1",
    needs={"value": lambda params, grads: jnp.float32(1)},
    rates={"default": 1.0, "digits": 1.0},
)
@per_tree(MomoState, needs=("params", "value"), total=_momo_total, advance=_momo_advance)
def momo(
    g, s, p, c,
    learning_rate: Real = 1.0, beta: Momentum = 0.9, lower_bound: Floor = 0.0, weight_decay: Real = 0.0,
    adapt_lower_bound: bool = False,
):  # fmt: skip
    """MoMo: momentum with the step that takes a linear model of the loss to its lower bound, at most learning_rate.

        d     = beta d + (1 - beta) g                                       d, barf and gamma start with g, value and <g, p>
        barf  = beta barf + (1 - beta) value
        gamma = beta gamma + (1 - beta) <g, p>                              over all leaves
        k     = 1 + learning_rate weight_decay
        tau   = min(learning_rate, max(k (barf - lb - gamma) + <d, p>, 0) / ||d||^2)
        u     = (p - tau d) / k - p

    adapt_lower_bound: lb is estimated, and lower_bound is only where it starts and the least it can be:
        lb    = max((k (barf - gamma) + <d, p>) / (2 k), lower_bound)       before tau, if lb is larger than twice that
        lb    = max(barf - gamma + <d, p> - tau ||d||^2 / 2, lower_bound)   after tau

    Call `update(grads, state, params, value=loss)`; the loss may be a Python float.

    Args:
      learning_rate: the largest step; a number, or a schedule.
      beta: how much of the running mean of gradients stays at each update.
      lower_bound: the least that the loss can be.
      weight_decay: the parameters are divided by 1 + learning_rate weight_decay at each update.
      adapt_lower_bound: estimate the least loss, from lower_bound up.

    >>> tx = gx.contrib.momo(1.0)
    >>> updates, state = tx.update(grads, tx.init(params), params, value=jnp.array(2.0))

    State    exp_avg d: like p, float32 or wider; barf, gamma, lb; count. Memory: 1 x params.
    Units    learning_rate has those of p^2 / loss, as for gradient descent; lower_bound those of the loss.
    Shapes   any, scalars and complex included.
    Sharded  inside `shard_map` sums over the tree are over the device's own parts, and each device goes on with its own; under
             `jit` over all.
    Source   Schaipp et al. 2023, arXiv:2305.07583, Algorithm 1, Lemma 3.1 and section 4.
    Differs  weight decay divides the whole step, as in the paper and in its authors' code (Optax: p alone). A step is taken however
             small ||d|| is, if it is not 0. The means of narrow parameters are float32.
    Raises   MissingArgumentError: no params, no value. HyperparameterError: beta outside [-1, 1].
    """
    d = _momentum(g, s, _momo_decay(c, beta))
    decay = learning_rate * weight_decay
    u = -(_tau(c, 1, learning_rate, weight_decay) * d + decay * p) / (1 + decay)
    return u, s._replace(exp_avg=d)


def _root(g, s, c, b2, eps):
    v = b2 * s.exp_avg_sq + (1 - b2) * abs_sq(g)
    return v, jnp.sqrt(c.debias(v, b2)) + eps


def _momo_adam_total(g, s, p, c, b1, b2, eps):
    d = _momentum(g, s, b1)
    return inner(g, p), inner(d, p), inner(d, d / _root(g, s, c, b2, eps)[1])


def _momo_adam_advance(s, c, learning_rate, b1, lower_bound, weight_decay, adapt_lower_bound):
    return _step(s, c, b1, 1 / c.debias(1.0, b1), learning_rate, lower_bound, weight_decay, adapt_lower_bound)


@optimizer(
    source="Schaipp et al. 2023, arXiv:2305.07583, Algorithm 2",
    needs={"value": lambda params, grads: jnp.float32(1)},
    rates={"default": 1e-2, "digits": 1e-2},
)
@per_tree(MomoAdamState, needs=("params", "value"), total=_momo_adam_total, advance=_momo_adam_advance)
def momo_adam(
    g, s, p, c,
    learning_rate: Real = 1e-2, b1: Average = 0.9, b2: Decay = 0.999, eps: NonNegative = 1e-8, lower_bound: Floor = 0.0,
    weight_decay: Real = 0.0, adapt_lower_bound: bool = False,
):  # fmt: skip
    """MoMo-Adam: AdamW with the step that takes a linear model of the loss to its lower bound, at most Adam's.

        d     = b1 d + (1 - b1) g
        v     = b2 v + (1 - b2) |g|^2
        barf  = b1 barf + (1 - b1) value
        gamma = b1 gamma + (1 - b1) <g, p>                                  over all leaves
        w, D  = 1 - b1^t, sqrt(v / (1 - b2^t)) + eps
        k     = 1 + learning_rate weight_decay
        tau   = min(learning_rate / w, max(k (barf - w lb - gamma) + <d, p>, 0) / <d, d / D>)
        u     = (p - tau d / D) / k - p

    adapt_lower_bound: lb is estimated, and lower_bound is only where it starts and the least it can be:
        lb    = max((k (barf - gamma) + <d, p>) / (2 k w), lower_bound)     before tau, if lb is larger than twice that
        lb    = max((barf - gamma + <d, p> - tau <d, d / D> / 2) / w, lower_bound)      after tau

    Call `update(grads, state, params, value=loss)`; the loss may be a Python float.

    Args:
      learning_rate: the largest step; a number, or a schedule.
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.
      lower_bound: the least that the loss can be.
      weight_decay: the parameters are divided by 1 + learning_rate weight_decay at each update.
      adapt_lower_bound: estimate the least loss, from lower_bound up.

    >>> tx = gx.contrib.momo_adam(1e-2)
    >>> updates, state = tx.update(grads, tx.init(params), params, value=jnp.array(2.0))

    State    exp_avg d, exp_avg_sq v: like p, float32 or wider; barf, gamma, lb; count. Memory: 2 x params.
    Units    learning_rate has those of p, as for Adam; lower_bound those of the loss.
    Shapes   any, scalars and complex included.
    Sharded  inside `shard_map` sums over the tree are over the device's own parts, and each device goes on with its own; under
             `jit` over all.
    Source   Schaipp et al. 2023, arXiv:2305.07583, Algorithm 2, Lemma 3.1 and section 4.
    Differs  as `momo`.
    Raises   MissingArgumentError: no params, no value. HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps < 0.
    """
    d, (v, root) = _momentum(g, s, b1), _root(g, s, c, b2, eps)
    tau, decay = _tau(c, 1 / c.debias(1.0, b1), learning_rate, weight_decay), learning_rate * weight_decay
    u = -(tau * d / root + decay * p) / (1 + decay)
    return u, s._replace(exp_avg=d, exp_avg_sq=v)
