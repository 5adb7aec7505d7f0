"""Stochastic gradient descent."""

from __future__ import annotations

from gradxform._types import DType, Hyper, Momentum, Real, Unit
from gradxform.core import chain
from gradxform.registry import optimizer
from gradxform.transforms import identity, scale_by_learning_rate, trace


@optimizer(
    source="Robbins & Monro 1951; Sutskever et al. 2013",
    example={"learning_rate": 0.1, "momentum": 0.9},
    homogeneity=1,
    rates={"default": 0.1, "digits": 0.1},
)
def sgd(
    learning_rate: Real[Hyper],
    momentum: Momentum[Hyper] | None = None,
    nesterov: bool = False,
    accumulator_dtype: DType | None = None,
    dampening: Unit[Hyper] | None = None,
):
    """Descend along the gradient, or along a decaying sum of gradients.

        m = g + momentum m                      momentum=None: m = g
        u = -learning_rate m                    nesterov: -learning_rate (g + momentum m)

    With momentum and dampening, m = (1 - dampening) g + momentum m from the second update on.

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      momentum: how much of the decaying sum of steps stays at each update; None: no momentum.
      nesterov: look ahead by one step of the momentum.
      accumulator_dtype: the dtype of the accumulated updates; None: the parameter's, float32 or wider.
      dampening: the part of each gradient but the first that is left out of the momentum; None: nothing.

    >>> tx = gx.sgd(gx.cosine_decay_schedule(0.1, 1000), momentum=0.9, nesterov=True)

    State    (TraceState(trace) or EmptyState(), EmptyState()), the first in a CountedState with dampening.
             Memory: 1 x params with momentum, else none.
    Units    learning_rate has those of p / g.
    Shapes   any, scalars and complex included.
    Source   Robbins & Monro 1951; momentum Polyak 1964; nesterov Sutskever et al. 2013. The rate stands outside the momentum.
    Differs  `dampening`, as in PyTorch, is new; the momentum of narrow parameters is float32.
    Raises   HyperparameterError: momentum outside [-1, 1], dampening outside [0, 1].
    """
    direction = identity() if momentum is None else trace(momentum, nesterov, accumulator_dtype, dampening)
    return chain(direction, scale_by_learning_rate(learning_rate))
