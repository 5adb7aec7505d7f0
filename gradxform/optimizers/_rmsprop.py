"""RMSProp, plain, centered, and with momentum."""

from __future__ import annotations

from typing import Literal

from gradxform._types import Hyper, Momentum, NonNegative, Real, Unit
from gradxform.core import chain
from gradxform.registry import optimizer
from gradxform.transforms import identity, scale_by_learning_rate, scale_by_rms, scale_by_stddev, trace


@optimizer(
    source="Tieleman & Hinton 2012; Graves 2013",
    example={"learning_rate": 1e-3, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 1e-3, "digits": 1e-2},
)
def rmsprop(
    learning_rate: Real[Hyper],
    decay: Unit[Hyper] = 0.9,
    eps: NonNegative[Hyper] = 1e-8,
    initial_scale: NonNegative[Hyper] = 0.0,
    eps_in_sqrt: Literal[True, False, "both"] = True,
    centered: bool = False,
    momentum: Momentum[Hyper] | None = None,
    nesterov: bool = False,
    bias_correction: bool = False,
):
    """RMSProp: divide the gradient by its running root mean square.

        nu = decay nu + (1 - decay) |g|^2
        d  = learning_rate g / sqrt(nu + eps)   eps_in_sqrt=False: g / (sqrt(nu) + eps); "both": g / (sqrt(nu + eps) + eps)
        m  = d + momentum m                     momentum=None: m = d
        u  = -m                                 nesterov: -(d + momentum m)

    With centered, the running standard deviation stands for sqrt(nu); the first nu is initial_scale.

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      decay: how much of the running mean of squares stays at each update.
      eps: added to the divisor, or inside its root, as eps_in_sqrt says.
      initial_scale: the first mean of squares.
      eps_in_sqrt: where eps is added: True inside the root, False outside of it, "both" at both places.
      centered: divide by the running standard deviation in the place of the root mean square.
      momentum: how much of the decaying sum of steps stays at each update; None: no momentum.
      nesterov: look ahead by one step of the momentum.
      bias_correction: divide the averages by 1 - b^t, since they begin at 0.

    >>> tx = gx.rmsprop(1e-3, decay=0.99, momentum=0.9)

    State    (ScaleByRmsState(nu) or ScaleByRStdDevState(mu, nu), EmptyState(), TraceState(trace) or EmptyState()).
             Memory: 1 x params, one more with centered, one more with momentum.
    Units    learning_rate has those of p.
    Shapes   any, scalars and complex included.
    Source   Tieleman & Hinton 2012, lecture 6.5; centered, with momentum: Graves 2013, arXiv:1308.0850.
    Differs  the centered form stays finite on constant gradients (`scale_by_stddev`); float32 averages for narrow parameters.
    Raises   HyperparameterError: decay outside [0, 1], momentum outside [-1, 1], eps < 0, an unknown
             eps_in_sqrt.
    """
    precondition = scale_by_stddev if centered else scale_by_rms
    return chain(
        precondition(decay, eps, initial_scale, eps_in_sqrt, bias_correction),
        scale_by_learning_rate(learning_rate),
        identity() if momentum is None else trace(momentum, nesterov),
    )
