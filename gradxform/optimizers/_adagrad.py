"""AdaGrad."""

from __future__ import annotations

from typing import Literal

from gradxform._types import Hyper, NonNegative, Real
from gradxform.core import chain
from gradxform.registry import optimizer
from gradxform.transforms import scale_by_learning_rate, scale_by_rss


@optimizer(
    source="Duchi et al. 2011, JMLR 12",
    example={"learning_rate": 0.1, "initial_accumulator_value": 0.0, "eps": 0.0},
    homogeneity=0,
    rates={"default": 0.1, "digits": 0.1},
)
def adagrad(
    learning_rate: Real[Hyper],
    initial_accumulator_value: NonNegative[Hyper] = 0.1,
    eps: NonNegative[Hyper] = 1e-7,
    eps_in_sqrt: Literal[True, False, "both"] = True,
):
    """AdaGrad: divide each element by the root of the sum of all its squared gradients.

        G = G + |g|^2
        u = -learning_rate g / sqrt(G + eps)    eps_in_sqrt=False: g / (sqrt(G) + eps); 0 where G = 0

    The first G is initial_accumulator_value: 0.1 here as in Optax, 0 in the paper. eps_in_sqrt="both": sqrt(G + eps) + eps.

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      initial_accumulator_value: the first sum of squares.
      eps: added to the divisor, or inside its root, as eps_in_sqrt says.
      eps_in_sqrt: where eps is added: True inside the root, False outside of it, "both" at both places.

    >>> tx = gx.adagrad(1e-2, initial_accumulator_value=0.0)

    State    (ScaleByRssState(sum_of_squares), EmptyState()). Memory: 1 x params.
    Units    learning_rate has those of p.
    Shapes   any, scalars and complex included.
    Source   Duchi et al. 2011, JMLR 12, figure 1.
    Differs  as `scale_by_rss`.
    Raises   HyperparameterError: initial_accumulator_value < 0, eps < 0, an unknown
             eps_in_sqrt.
    """
    return chain(scale_by_rss(initial_accumulator_value, eps, eps_in_sqrt), scale_by_learning_rate(learning_rate))
