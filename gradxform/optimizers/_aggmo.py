"""Aggregated momentum."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from gradxform._types import Axes, Clock, DType, Field, Hyper, MaskOrFn, Momentum, Real, Updates
from gradxform.core import chain, elementwise
from gradxform.registry import optimizer, transform
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate


def _axes(shape, betas):
    return tuple(Axes(*range(len(shape))) for _ in betas)


class ScaleByAggMoState(NamedTuple):
    """For each leaf its decaying sums, one for each of the betas."""

    count: Clock
    traces: Annotated[Updates, Field(axes=_axes, stored="mu_dtype")]


@transform(source="Lucas et al. 2018, arXiv:1804.00325, equation 3", homogeneity=1)
@elementwise(ScaleByAggMoState)
def scale_by_aggmo(g, s, p, c, betas: tuple[Momentum, ...] = (0.0, 0.9, 0.99), mu_dtype: DType | None = None):
    """Average decaying sums of the gradients, each with a decay of its own.

        traces_i = betas_i traces_i + g
        u        = mean over i of traces_i

    Args:
      betas: how much of each sum stays at each update.
      mu_dtype: the dtype of the sums; None: the parameter's, float32 or wider.

    >>> tx = gx.chain(gx.scale_by_aggmo(), gx.scale_by_learning_rate(0.01))

    State    count; traces: for each leaf a tuple of arrays like p, float32 or wider unless mu_dtype says otherwise. Memory: 3 x params,
             or as many as there are betas.
    Units    those of g; a constant g grows to the mean of g / (1 - betas_i).
    Shapes   any, scalars and complex included.
    Source   Lucas et al. 2018, arXiv:1804.00325, equation 3.
    Differs  Optax has none.
    Raises   HyperparameterError: one of betas outside [-1, 1], betas is empty.
    """
    traces = tuple(beta * trace + g for beta, trace in zip(betas, s.traces, strict=True))
    return sum(traces) / len(traces), s._replace(traces=traces)


@optimizer(
    source="Lucas et al. 2018, arXiv:1804.00325",
    example={"learning_rate": 0.01},
    homogeneity=1,
    rates={"default": 0.01, "digits": 0.1},
    identities=[("aggmo(0.1, (0.9,))", "sgd(0.1, momentum=0.9)")],
)
def aggmo(
    learning_rate: Real[Hyper],
    betas: tuple[Momentum, ...] = (0.0, 0.9, 0.99),
    mu_dtype: DType | None = None,
    weight_decay: Real[Hyper] = 0.0,
    mask: MaskOrFn = None,
):
    """AggMo: the mean of several momenta, of which the slow ones go far and the fast ones damp their swings.

        traces_i = betas_i traces_i + g
        u        = -learning_rate (mean over i of traces_i + weight_decay p)

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      betas: how much of each sum stays at each update.
      mu_dtype: the dtype of the sums; None: the parameter's, float32 or wider.
      weight_decay: decoupled decay: the part of the parameters, times learning_rate, that is taken away at each update.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.

    >>> tx = gx.aggmo(0.01)

    State    (ScaleByAggMoState(count, traces), EmptyState(), EmptyState()). Memory: 3 x params, or as many as there are betas.
    Units    learning_rate has those of p / g, weight_decay those of g / p.
    Shapes   any, scalars and complex included.
    Source   Lucas et al. 2018, arXiv:1804.00325, equation 3.
    Differs  Optax has none.
    Raises   MissingArgumentError: no params. HyperparameterError: one of betas outside [-1, 1], betas is empty.
    """
    direction = scale_by_aggmo(betas, mu_dtype)
    return chain(direction, add_decayed_weights(weight_decay, mask), scale_by_learning_rate(learning_rate))
