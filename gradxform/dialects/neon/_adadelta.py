"""neon's `Adadelta`."""

from __future__ import annotations

from gradxform._types import Array, Bound, Decay, Hyper, NonNegative, Number
from gradxform.dialects.neon._neon import finished, neon_optimizer
from gradxform.optimizers import scale_by_adadelta
from gradxform.transforms import scale


@neon_optimizer(core="adadelta")
def adadelta(
    decay: Decay[Hyper] = 0.95,
    epsilon: NonNegative[Hyper] = 1e-6,
    *,
    param_clip_value: Bound[Number] | None = None,
    stochastic_round: bool = False,
    key: Array | int = 0,
):
    """neon's `Adadelta`: steps in the units of the parameters, without a rate and without clipping of gradients.

        e_g = decay e_g + (1 - decay) |g|^2
        u   = -sqrt((e_x + epsilon) / (e_g + epsilon)) g
        e_x = decay e_x + (1 - decay) |u|^2

    Args:
      decay: how much of the running means of squares stays at each update.
      epsilon: added inside both roots; it starts the first steps.
      param_clip_value: the largest size that parameters may come to; None: any.
      stochastic_round: round narrow parameters up or down at random, so that small updates count on average.
      key: a random key for stochastic_round, or a number to make one of.

    >>> from gradxform.dialects import neon
    >>> tx = neon.adadelta(decay=0.95)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; ScaleByAdaDeltaState(e_g, e_x), with stochastic_round in a RoundedState. Memory: 2 x params.
    Units    u has those of p, set by epsilon.
    Shapes   any, scalars and complex included.
    Source   neon's documentation and code, `Adadelta`; Zeiler 2012, arXiv:1212.5701, Algorithm 1.
    Differs  as in the code: the documentation has two decays, the code one.
    Raises   HyperparameterError: an argument out of range. MissingArgumentError: no params, with param_clip_value or stochastic_round.
    """
    step = scale_by_adadelta(decay, epsilon), scale(-1.0)
    return finished(*step, param_clip_value=param_clip_value, stochastic_round=stochastic_round, key=key)
