"""Lion."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import jax.numpy as jnp

from gradxform._types import Clock, DType, Field, Hyper, MaskOrFn, Momentum, Positive, Real, Updates
from gradxform.core import chain, elementwise
from gradxform.registry import optimizer, transform
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate


class ScaleByLionState(NamedTuple):
    """The running mean of g."""

    count: Clock
    mu: Annotated[Updates, Field(stored="mu_dtype", mean="b2")]


@transform(source="Chen et al. 2023, arXiv:2302.06675, Algorithm 2", homogeneity=0)
@elementwise(ScaleByLionState)
def scale_by_lion(
    g, s, p, c,
    b1: Momentum = 0.9, b2: Momentum = 0.99, mu_dtype: DType | None = None,
    *, mode: Literal["hard", "smooth", "refined"] = "hard", smooth_beta: Positive = 1.0,
):  # fmt: skip
    """Take the sign of an interpolation between momentum and gradient.

        u  = sign(b1 mu + (1 - b1) g)
        mu = b2 mu + (1 - b2) g

    mode="smooth": tanh(smooth_beta x) instead of sign(x); mode="refined": x itself where |x| < 1.

    Args:
      b1: the weight of the momentum, beside the gradient, in the direction whose sign is taken.
      b2: how much of the momentum stays at each update.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      mode: "hard", the sign; "smooth", tanh(smooth_beta x); "refined", the sign where |x| >= 1, else x.
      smooth_beta: how steep the smooth mode is.

    >>> tx = gx.chain(gx.scale_by_lion(), gx.scale_by_learning_rate(1e-4))

    State    count; mu: like p, float32 or wider unless mu_dtype says otherwise. Memory: 1 x params.
    Units    u is dimensionless, at most 1 in size: scaling every gradient by k > 0 leaves u unchanged.
    Shapes   any, scalars and complex included.
    Source   Chen et al. 2023, arXiv:2302.06675, Algorithm 2.
    Differs  the momentum of narrow parameters is float32.
    Raises   HyperparameterError: b1 or b2 outside [-1, 1], smooth_beta <= 0, an unknown mode.
    """
    shapes = {
        "hard": jnp.sign,
        "smooth": lambda x: jnp.tanh(smooth_beta * x),
        "refined": lambda x: jnp.where(jnp.abs(x) < 1, x, jnp.sign(x)),
    }
    u = shapes[mode](b1 * s.mu + (1 - b1) * g)
    mu = b2 * s.mu + (1 - b2) * g
    return u, s._replace(mu=mu)


@optimizer(
    source="Chen et al. 2023, arXiv:2302.06675",
    example={"learning_rate": 1e-4},
    homogeneity=0,
    rates={"default": 1e-4, "digits": 1e-3},
)
def lion(
    learning_rate: Real[Hyper],
    b1: Momentum[Hyper] = 0.9,
    b2: Momentum[Hyper] = 0.99,
    mu_dtype: DType | None = None,
    weight_decay: Real[Hyper] = 1e-3,
    mask: MaskOrFn = None,
):
    """Lion: the sign of momentum, with decoupled weight decay.

        u  = -learning_rate (sign(b1 mu + (1 - b1) g) + weight_decay p)
        mu = b2 mu + (1 - b2) g

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: the weight of the momentum, beside the gradient, in the direction whose sign is taken.
      b2: how much of the momentum stays at each update.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.

    >>> tx = gx.lion(1e-4, weight_decay=1.0)

    State    (ScaleByLionState(count, mu), EmptyState(), EmptyState()). Memory: 1 x params.
    Units    learning_rate has those of p: every element moves by learning_rate. Try a tenth of Adam's rate, ten times its decay.
    Shapes   any, scalars and complex included.
    Source   Chen et al. 2023, arXiv:2302.06675, Algorithm 2.
    Differs  as `scale_by_lion`.
    Raises   MissingArgumentError: no params. HyperparameterError: b1 or b2 outside [-1, 1].
    """
    return chain(scale_by_lion(b1, b2, mu_dtype), add_decayed_weights(weight_decay, mask), scale_by_learning_rate(learning_rate))
