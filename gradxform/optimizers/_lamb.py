"""LAMB."""

from __future__ import annotations

from gradxform._types import Average, Bound, Decay, Hyper, MaskOrFn, NonNegative, Real
from gradxform.core import chain
from gradxform.optimizers._adam import scale_by_adam
from gradxform.registry import optimizer
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate, scale_by_trust_ratio


@optimizer(
    source="You et al. 2020, arXiv:1904.00962",
    example={"learning_rate": 1e-3, "eps": 1e-30},
    homogeneity=0,
    rates={"default": 1e-2, "digits": 3e-2},
)
def lamb(
    learning_rate: Real[Hyper],
    b1: Average[Hyper] = 0.9,
    b2: Decay[Hyper] = 0.999,
    eps: NonNegative[Hyper] = 1e-6,
    eps_root: NonNegative[Hyper] = 0.0,
    weight_decay: Real[Hyper] = 0.0,
    mask: MaskOrFn = None,
    lower_bound: Bound[Hyper] | None = None,
    upper_bound: Bound[Hyper] | None = None,
    bias_correction: bool = True,
):
    """LAMB: Adam's direction, given the norm of the parameter leaf by leaf.

        d = mu^ / (sqrt(nu^ + eps_root) + eps) + weight_decay p             mu, nu as in `adam`
        u = -learning_rate ||p|| / ||d|| d                                  the ratio is 1 where one of the norms is 0

    lower_bound and upper_bound, where given, are bounds on ||p||; bias_correction=False takes mu and nu as they are.

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      b1: how much of the running mean of gradients stays at each update.
      b2: how much of the running mean of squares stays at each update.
      eps: added to the divisor, in its units, so that it is never 0.
      eps_root: added inside the root; more than 0 makes derivatives through the update finite at gradients of 0.
      weight_decay: the part of the parameters that is added to the direction before its norm is taken.
      mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function; None: all.
      lower_bound: the least norm of a parameter that counts; None: no bound.
      upper_bound: the largest norm of a parameter that counts; None: no bound.
      bias_correction: divide the averages by 1 - b^t, since they begin at 0.

    >>> tx = gx.lamb(1e-3, weight_decay=0.01)

    State    (ScaleByAdamState(count, mu, nu), EmptyState(), EmptyState(), EmptyState()). Memory: 2 x params.
    Units    learning_rate is dimensionless: each leaf moves by learning_rate times its norm.
    Shapes   any, scalars and complex included; the norms are over whole leaves.
    Sharded  inside `shard_map` norms and means are over the device's own part of a leaf; under `jit` over the whole leaf.
    Source   You et al. 2020, arXiv:1904.00962, Algorithm 2, with the identity for the scaling function.
    Differs  as `scale_by_adam`; the last three arguments, MXNet's, are new.
    Raises   MissingArgumentError: no params. HyperparameterError: b1 outside (-1, 1), b2 outside [0, 1), eps < 0, a bound < 0.
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, bias_correction=bias_correction),
        add_decayed_weights(weight_decay, mask),
        scale_by_trust_ratio(lower_bound=lower_bound, upper_bound=upper_bound),
        scale_by_learning_rate(learning_rate),
    )
