"""Quasi-hyperbolic momentum."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from gradxform._types import Average, Clock, DType, Field, Hyper, MaskOrFn, Real, Updates
from gradxform.core import chain, elementwise
from gradxform.registry import optimizer, transform
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate


class ScaleByQhmState(NamedTuple):
    """The running mean of g, not debiased."""

    count: Clock
    mu: Annotated[Updates, Field(stored="mu_dtype", mean="b1")]


@transform(source="Ma & Yarats 2018, arXiv:1810.06801", homogeneity=1)
@elementwise(ScaleByQhmState)
def scale_by_qhm(g, s, p, c, b1: Average = 0.999, nu1: Real = 0.7, mu_dtype: DType | None = None):
    """Mix the gradient with its running mean.

        mu = b1 mu + (1 - b1) g
        u  = (1 - nu1) g + nu1 mu

    Args:
      b1: how much of the running mean of gradients stays at each update.
      nu1: the weight of the running mean, beside the gradient.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.

    >>> tx = gx.chain(gx.scale_by_qhm(), gx.scale_by_learning_rate(1.0))

    State    count; mu: like p, float32 or wider unless mu_dtype says otherwise. Memory: 1 x params.
    Units    those of g.
    Shapes   any, scalars and complex included.
    Source   Ma & Yarats 2018, arXiv:1810.06801, equations 3 and 4.
    Differs  Optax has none.
    Raises   HyperparameterError: b1 outside (-1, 1), nu1 is not a finite number.
    """
    mu = b1 * s.mu + (1 - b1) * g
    return (1 - nu1) * g + nu1 * mu, s._replace(mu=mu)


@optimizer(
    source="Ma & Yarats 2018, arXiv:1810.06801",
    example={"learning_rate": 0.1},
    homogeneity=1,
    rates={"default": 0.1, "digits": 1.0},
    identities=[("qhm(0.1, nu1=0.0)", "sgd(0.1)")],
)
def qhm(
    learning_rate: Real[Hyper],
    b1: Average[Hyper] = 0.999,
    nu1: Real[Hyper] = 0.7,
    mu_dtype: DType | None = None,
    weight_decay: Real[Hyper] = 0.0,
    mask: MaskOrFn = None,
):
    """QHM: steps along a mixture of the gradient and a long running mean of it.

        mu = b1 mu + (1 - b1) g
        u  = -learning_rate ((1 - nu1) g + nu1 mu + weight_decay p)

    nu1 = 0 is gradient descent, 1 momentum; nu1 = b1 Nesterov's, both with rates 1 / (1 - b1) times as large as `sgd`'s.

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of gradients stays at each update.
      nu1: the weight of the running mean, beside the gradient.
      mu_dtype: the dtype of the running mean; None: the parameter's, float32 or wider.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.

    >>> tx = gx.qhm(1.0)

    State    (ScaleByQhmState(count, mu), EmptyState(), EmptyState()). Memory: 1 x params.
    Units    learning_rate has those of p / g, weight_decay those of g / p.
    Shapes   any, scalars and complex included.
    Source   Ma & Yarats 2018, arXiv:1810.06801, equations 3 and 4.
    Differs  Optax has none.
    Raises   MissingArgumentError: no params. HyperparameterError: b1 outside (-1, 1), nu1 is not a finite number.
    """
    direction = scale_by_qhm(b1, nu1, mu_dtype)
    return chain(direction, add_decayed_weights(weight_decay, mask), scale_by_learning_rate(learning_rate))
