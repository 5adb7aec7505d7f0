"""Descent by signs: signSGD and Signum."""

from __future__ import annotations

from gradxform._types import DType, Hyper, Real
from gradxform.core import chain
from gradxform.registry import optimizer
from gradxform.transforms import add_decayed_weights, ema, scale_by_learning_rate, scale_by_sign
from gradxform.transforms._momentum import EmaDecay


@optimizer(
    source="Bernstein et al. 2018, arXiv:1802.04434",
    example={"learning_rate": 1e-3},
    homogeneity=0,
    rates={"default": 1e-3, "digits": 1e-3},
    identities=[("sign_sgd(0.1)", "lion(0.1, b1=0.0, b2=0.0, weight_decay=0.0)")],
)
def sign_sgd(learning_rate: Real[Hyper]):
    """SignSGD: descend along the sign of the gradient.

        u = -learning_rate sign(g)              complex: g / |g|

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.

    >>> tx = gx.sign_sgd(1e-3)

    State    (EmptyState(), EmptyState()). Memory: none.
    Units    learning_rate has those of p: every element moves by it.
    Shapes   any, scalars and complex included.
    Source   Bernstein et al. 2018, arXiv:1802.04434, Algorithm 1. The paper also transmits nothing but signs; that is not done here.
    Differs  no.
    Raises   HyperparameterError: learning_rate is not a finite number.
    """
    return chain(scale_by_sign(), scale_by_learning_rate(learning_rate))


@optimizer(
    source="Bernstein et al. 2018, arXiv:1802.04434",
    example={"learning_rate": 1e-3},
    homogeneity=0,
    rates={"default": 1e-3, "digits": 1e-3},
    identities=[
        ("signum(0.1, beta=0.0)", "sign_sgd(0.1)"),
        ("signum(0.1, weight_decay=0.1)", "lion(0.1, 0.9, 0.9, weight_decay=0.1)"),
    ],
)
def signum(
    learning_rate: Real[Hyper],
    beta: EmaDecay[Hyper] = 0.9,
    accumulator_dtype: DType | None = None,
    weight_decay: Real[Hyper] | None = None,
):
    """Signum: descend along the sign of the gradient's running mean.

        ema = beta ema + (1 - beta) g
        u   = -learning_rate (sign(ema) + weight_decay p)                   weight_decay=None: 0

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      beta: how much of the running mean of gradients stays at each update.
      accumulator_dtype: the dtype of the accumulated updates; None: the parameter's, float32 or wider.
      weight_decay: decoupled decay, times learning_rate; None: none.

    >>> tx = gx.signum(1e-3, beta=0.9)

    State    (EmaState(count, ema), EmptyState(), EmptyState()), one more with weight_decay. Memory: 1 x params.
    Units    learning_rate has those of p: every element moves by it; weight_decay those of 1 / p.
    Shapes   any, scalars and complex included.
    Source   Bernstein et al. 2018, arXiv:1802.04434, Algorithm 2; weight_decay is decoupled, MXNet's `wd_lh`.
    Differs  `weight_decay` is new; the average of narrow parameters is float32.
    Raises   MissingArgumentError: no params with weight_decay.
             HyperparameterError: beta outside (-1, 1].
    """
    decay = [] if weight_decay is None else [add_decayed_weights(weight_decay)]
    average = ema(beta, debias=False, accumulator_dtype=accumulator_dtype)
    return chain(average, scale_by_sign(), *decay, scale_by_learning_rate(learning_rate))
