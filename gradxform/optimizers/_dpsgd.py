"""Gradient descent with privacy."""

from __future__ import annotations

from gradxform._parameters import check_arguments, parameters_of
from gradxform._types import Array, ArrayLike, Hyper, Momentum, NonNegative, Real
from gradxform.core import GradientTransformationExtraArgs, chain
from gradxform.transforms import differentially_private_aggregate, identity, scale_by_learning_rate, trace
from gradxform.transforms._seed import seed_or_key


def dpsgd(
    learning_rate: Real[Hyper],
    l2_norm_clip: NonNegative[ArrayLike],
    noise_multiplier: NonNegative[ArrayLike],
    key: Array | int | None = None,
    momentum: Momentum[Hyper] | None = None,
    nesterov: bool = False,
    *,
    seed: int | None = None,
) -> GradientTransformationExtraArgs:
    """DP-SGD: descend along a sum of clipped gradients of single examples, and noise.

        h     = (sum over examples i of g_i min(1, C / ||g_i||) + noise_multiplier C n) / B     C = l2_norm_clip, n standard normal
        trace = h + momentum trace              with momentum; then trace, or with nesterov h + momentum trace, stands for h
        u     = -learning_rate h

    The updates are gradients of single examples, as for `differentially_private_aggregate`, which explains `key`.

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      l2_norm_clip: the largest norm of one example's gradient, over all leaves.
      noise_multiplier: the standard deviation of the noise, in units of l2_norm_clip.
      key: a random key, or a whole number as a seed; None: 0, with a warning.
      momentum: how much of the decaying sum of steps stays at each update; None: no momentum.
      nesterov: look ahead by one step of the momentum.
      seed: the older name of key.

    >>> tx = gx.contrib.dpsgd(0.1, l2_norm_clip=1.0, noise_multiplier=1.1, key=0)
    >>> examples = jax.tree.map(lambda g: jnp.stack([g, -g]), grads)
    >>> updates, state = tx.update(examples, tx.init(params))

    State    (DifferentiallyPrivateAggregateState(rng_key), TraceState(trace) or EmptyState(), EmptyState()). Memory: 1 x params with
             momentum, else none.
    Units    learning_rate has those of p / g.
    Shapes   any after the first axis, complex included.
    Source   Abadi et al. 2016, arXiv:1607.00133, Algorithm 1.
    Differs  as `differentially_private_aggregate`. `key` stands where Optax 0.2.8 has `seed`, which remains as a keyword.
    Raises   StructureError: a leaf has no first axis, or one of another length. HyperparameterError: an argument out of range, both
             key and seed.
    """
    given = {
        "learning_rate": learning_rate,
        "l2_norm_clip": l2_norm_clip,
        "noise_multiplier": noise_multiplier,
        "momentum": momentum,
    }
    check_arguments("dpsgd", parameters_of(dpsgd), given)
    return chain(
        differentially_private_aggregate(l2_norm_clip, noise_multiplier, seed_or_key("dpsgd", key, seed)),
        identity() if momentum is None else trace(momentum, nesterov),
        scale_by_learning_rate(learning_rate),
    )
