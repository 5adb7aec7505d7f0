"""neon's `Adam`."""

from __future__ import annotations

from gradxform._types import Array, Bound, Decay, Hyper, NonNegative, Number, Real
from gradxform.dialects._folded import scale_by_folded_adam
from gradxform.dialects.neon._neon import neon_optimizer, optimizer
from gradxform.transforms import scale_by_learning_rate


@neon_optimizer(core="adam", example={"gradient_clip_norm": 1.0})
def adam(
    learning_rate: Real[Hyper] = 0.001,
    beta_1: Decay[Hyper] = 0.9,
    beta_2: Decay[Hyper] = 0.999,
    epsilon: NonNegative[Hyper] = 1e-8,
    *,
    gradient_clip_value: Bound[Hyper] | None = None,
    gradient_clip_norm: Bound[Number] | None = None,
    param_clip_value: Bound[Number] | None = None,
    stochastic_round: bool = False,
    key: Array | int = 0,
):
    """neon's `Adam`: the bias corrections are folded into the rate, so that epsilon joins a nu that is not debiased.

        g  = clip(g)
        mu = beta_1 mu + (1 - beta_1) g
        nu = beta_2 nu + (1 - beta_2) |g|^2
        u  = -k learning_rate sqrt(1 - beta_2^t) / (1 - beta_1^t) mu / (sqrt(nu) + epsilon)

    k = gradient_clip_norm / max(||g||, gradient_clip_norm), with the norm of all leaves before the clip by value.

    Args:
      learning_rate: the learning rate, or a schedule: a function of the number of completed updates.
      beta_1: how much of the running mean of gradients stays at each update.
      beta_2: how much of the running mean of squares stays at each update.
      epsilon: added to the root by which the gradient is divided.
      gradient_clip_value: the size above which an element of a gradient is cut; None: none.
      gradient_clip_norm: the norm of all leaves together above which they are scaled down; None: none.
      param_clip_value: the largest size that parameters may come to; None: any.
      stochastic_round: round narrow parameters up or down at random, so that small updates count on average.
      key: a random key for stochastic_round, or a number to make one of.

    >>> from gradxform.dialects import neon
    >>> tx = neon.adam(learning_rate=1e-3, gradient_clip_norm=10.0)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; ScaleByAdamState(count, mu, nu), with stochastic_round in a RoundedState. Memory: 2 x params.
    Units    learning_rate has those of p.
    Shapes   any, scalars and complex included.
    Sharded  inside `shard_map` sums over the tree are over the device's own parts, and each device goes on with its own; under
             `jit` over all.
    Source   neon's code, `Adam`; Kingma & Ba 2015, arXiv:1412.6980, the end of section 2.
    Differs  the documentation is mended, which divides nu by 1 - beta_1^t, and averages over 1 / beta. k is what the code
             has.
    Raises   HyperparameterError: an argument out of range. MissingArgumentError: no params, with param_clip_value or stochastic_round.
    """
    return optimizer(
        scale_by_folded_adam(beta_1, beta_2, epsilon),
        scale_by_learning_rate(learning_rate),
        gradient_clip_value=gradient_clip_value, gradient_clip_norm=gradient_clip_norm, param_clip_value=param_clip_value,
        stochastic_round=stochastic_round, key=key,
    )  # fmt: skip
