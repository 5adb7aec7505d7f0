"""neon's `Adagrad`."""

from __future__ import annotations

from gradxform._types import Array, Bound, Hyper, NonNegative, Number, Real
from gradxform.dialects.neon._neon import neon_optimizer, optimizer
from gradxform.transforms import scale_by_learning_rate, scale_by_rss


@neon_optimizer(core="adagrad", example={"gradient_clip_norm": 1.0})
def adagrad(
    learning_rate: Real[Hyper] = 0.01,
    epsilon: NonNegative[Hyper] = 1e-6,
    *,
    gradient_clip_value: Bound[Hyper] | None = None,
    gradient_clip_norm: Bound[Number] | None = None,
    param_clip_value: Bound[Number] | None = None,
    stochastic_round: bool = False,
    key: Array | int = 0,
):
    """neon's `Adagrad`: epsilon inside the root, sums from 0.

        g = clip(g)
        G = G + |g|^2
        u = -k learning_rate g / sqrt(G + epsilon)

    k = gradient_clip_norm / max(||g||, gradient_clip_norm), with the norm of all leaves before the clip by value.

    Args:
      learning_rate: the learning rate, or a schedule: a function of the number of completed updates.
      epsilon: added inside the root by which the gradient is divided.
      gradient_clip_value: the size above which an element of a gradient is cut; None: none.
      gradient_clip_norm: the norm of all leaves together above which they are scaled down; None: none.
      param_clip_value: the largest size that parameters may come to; None: any.
      stochastic_round: round narrow parameters up or down at random, so that small updates count on average.
      key: a random key for stochastic_round, or a number to make one of.

    >>> from gradxform.dialects import neon
    >>> tx = neon.adagrad(learning_rate=0.01, gradient_clip_value=5.0)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; ScaleByRssState(sum_of_squares), with stochastic_round in a RoundedState. Memory: 1 x params.
    Units    learning_rate has those of p.
    Shapes   any, scalars and complex included.
    Sharded  inside `shard_map` sums over the tree are over the device's own parts, and each device goes on with its own; under
             `jit` over all.
    Source   neon's documentation and code, `Adagrad`.
    Differs  k is what the code has.
    Raises   HyperparameterError: an argument out of range. MissingArgumentError: no params, with param_clip_value or stochastic_round.
    """
    return optimizer(
        scale_by_rss(0.0, epsilon),
        scale_by_learning_rate(learning_rate),
        gradient_clip_value=gradient_clip_value, gradient_clip_norm=gradient_clip_norm, param_clip_value=param_clip_value,
        stochastic_round=stochastic_round, key=key,
    )  # fmt: skip
