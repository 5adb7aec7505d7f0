"""Adan."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import jax.numpy as jnp

from gradxform._numerics import abs_sq, in_place, increment
from gradxform._types import Average, Decay, Field, Hyper, MaskOrFn, NonNegative, Real, RealUpdates, Shared, Updates
from gradxform.core import chain, elementwise
from gradxform.registry import optimizer, transform
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate


class ScaleByAdanState(NamedTuple):
    """The running means of g, of its change and of the square of both, not debiased; the last g; the number of updates."""

    m: Annotated[Updates, Field(mean="b1")]
    v: Annotated[Updates, Field(mean="b2")]
    n: Annotated[RealUpdates, Field(mean="b3", nonnegative=True)]
    g: Updates
    t: Annotated[Shared, Field(first=lambda: jnp.zeros([], jnp.int32), advance=lambda t, c: increment(t))]


@transform(source="Xie et al. 2022, arXiv:2208.06677, Algorithm 1", homogeneity=0, example={"eps": 1e-30})
@elementwise(ScaleByAdanState)
def scale_by_adan(
    g, s, p, c,
    b1: Average = 0.98, b2: Decay = 0.92, b3: Decay = 0.99, eps: NonNegative = 1e-8, eps_root: NonNegative = 0.0,
):  # fmt: skip
    """Momentum of the gradient and of its change, divided by the running root mean square of their sum.

        d = g - last g                          0 at the first update
        m = b1 m + (1 - b1) g
        v = b2 v + (1 - b2) d
        n = b3 n + (1 - b3) |g + b2 d|^2
        u = (m^ + b2 v^) / (sqrt(n^ + eps_root) + eps)              x^ = x / (1 - b^t)

    Args:
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of the gradient's change stays at each update.
      b3: how much of the running mean of squares stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.
      eps_root: added inside the root; more than 0 makes derivatives through the update finite at gradients of 0.

    >>> tx = gx.chain(gx.scale_by_adan(), gx.scale_by_learning_rate(1e-3))

    State    m, v, g: like p; n: like p but real; float32 or wider; t, the number of updates. Memory: 4 x params.
    Units    u is dimensionless: scaling every gradient by k > 0 leaves u unchanged (eps, eps_root -> 0).
    Shapes   any, scalars and complex included.
    Source   Xie et al. 2022, arXiv:2208.06677, Algorithm 1, whose betas are 1 - b here; the bias corrections are its authors' code's.
    Differs  Optax 0.2.8 has 1 - b2, which is 0.08, in the place of the factor b2 of d and v^ (its pull request 1715). Float32 averages
             for narrow parameters, so that a zero float16 gradient gives 0.
    Raises   HyperparameterError: b1 outside (-1, 1), b2 or b3 outside [0, 1), eps < 0.
    """
    t = increment(s.t).astype(c.dtype)
    debias = lambda x, b: x / (1 - b**t)
    d = jnp.where(t > 1, g - s.g, 0)
    m = b1 * s.m + (1 - b1) * g
    v = b2 * s.v + (1 - b2) * d
    n = b3 * s.n + (1 - b3) * abs_sq(g + b2 * d)
    u = (debias(m, b1) + b2 * debias(v, b2)) / (jnp.sqrt(debias(n, b3) + eps_root) + eps)
    return u, s._replace(m=m, v=v, n=n, g=in_place(g, s.g, t > 1))


@optimizer(
    source="Xie et al. 2022, arXiv:2208.06677",
    example={"learning_rate": 1e-3, "eps_root": 0.0, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 1e-3, "digits": 3e-2},
    identities=[("adan(0.1, weight_decay=0.0)", "adan(0.1, mask=True)")],
)
def adan(
    learning_rate: Real[Hyper],
    b1: Average[Hyper] = 0.98,
    b2: Decay[Hyper] = 0.92,
    b3: Decay[Hyper] = 0.99,
    eps: NonNegative[Hyper] = 1e-8,
    eps_root: NonNegative[Hyper] = 1e-8,
    weight_decay: Real[Hyper] = 0.0,
    mask: MaskOrFn = None,
):
    """Adan: adaptive Nesterov momentum, whose look-ahead is a running mean of the gradient's change.

        d = g - last g                          0 at the first update
        m = b1 m + (1 - b1) g
        v = b2 v + (1 - b2) d
        n = b3 n + (1 - b3) |g + b2 d|^2
        u = -learning_rate ((m^ + b2 v^) / (sqrt(n^ + eps_root) + eps) + weight_decay p)            x^ = x / (1 - b^t)

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of the gradient's change stays at each update.
      b3: how much of the running mean of squares stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.
      eps_root: added inside the root; more than 0 makes derivatives through the update finite at gradients of 0.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.

    >>> tx = gx.adan(1e-3, weight_decay=0.02)

    State    (ScaleByAdanState(m, v, n, g, t), EmptyState(), EmptyState()). Memory: 4 x params.
    Units    learning_rate has those of p; weight_decay those of 1 / p.
    Shapes   any, scalars and complex included.
    Masks    decays where True; see `masked`.
    Source   Xie et al. 2022, arXiv:2208.06677, Algorithm 1; the decay as in AdamW, where the paper divides by 1 + learning_rate decay.
    Differs  as `scale_by_adan`.
    Raises   MissingArgumentError: no params. HyperparameterError: b1 outside (-1, 1), b2 or b3 outside [0, 1), eps < 0.
    """
    return chain(
        scale_by_adan(b1, b2, b3, eps, eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
