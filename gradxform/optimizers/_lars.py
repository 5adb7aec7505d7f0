"""LARS."""

from __future__ import annotations

from gradxform._types import Hyper, MaskOrFn, Momentum, NonNegative, Real
from gradxform.core import chain, masked
from gradxform.registry import optimizer
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate, scale_by_trust_ratio, trace


@optimizer(
    source="You et al. 2017, arXiv:1708.03888",
    example={"learning_rate": 1.0},
    homogeneity=0,
    rates={"default": 1.0, "digits": 10.0},
)
def lars(
    learning_rate: Real[Hyper],
    weight_decay: Real[Hyper] = 0.0,
    weight_decay_mask: MaskOrFn = True,
    trust_coefficient: Real[Hyper] = 0.001,
    eps: NonNegative[Hyper] = 0.0,
    trust_ratio_mask: MaskOrFn = True,
    momentum: Momentum[Hyper] = 0.9,
    nesterov: bool = False,
):
    """LARS: momentum over gradients that were given the norm of the parameter leaf by leaf.

        d = g + weight_decay p
        r = trust_coefficient ||p|| / (||d|| + eps)                         1 where one of the norms is 0
        m = -learning_rate r d + momentum m
        u = m                                                               nesterov: -learning_rate r d + momentum m

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      weight_decay: the part of the parameters that is added to the direction before its norm is taken.
      weight_decay_mask: which leaves decay: patterns such as `{"*/bias": False, "default": True}`, `by_ndim(2)`, a tree, a function;
        None: all.
      trust_coefficient: a factor of the ratio of norms.
      eps: added to the divisor, in its units, so that it is never 0.
      trust_ratio_mask: which leaves are given the norm of their parameter, said as weight_decay_mask is.
      momentum: how much of the decaying sum of steps stays at each update.
      nesterov: look ahead by one step of the momentum.

    >>> tx = gx.lars(1.0, weight_decay=1e-4, weight_decay_mask=gx.by_ndim(2), trust_ratio_mask=gx.by_ndim(2))

    State    (MaskedState(EmptyState()), MaskedState(EmptyState()), EmptyState(), TraceState(trace)). Memory: 1 x params.
    Units    learning_rate is dimensionless: each leaf moves by learning_rate trust_coefficient times its norm.
    Shapes   any, scalars and complex included; the norms are over whole leaves.
    Sharded  inside `shard_map` norms and means are over the device's own part of a leaf; under `jit` over the whole leaf.
    Masks    the decay and the ratio are left out where their mask is False; see `masked`. Usually for biases and norms.
    Source   You et al. 2017, arXiv:1708.03888, Algorithm 1, with ||g + weight_decay p|| for ||g|| + weight_decay ||p||.
    Differs  the momentum of narrow parameters is float32.
    Raises   MissingArgumentError: no params. HyperparameterError: eps < 0, momentum outside [-1, 1].
    """
    return chain(
        add_decayed_weights(weight_decay, weight_decay_mask),
        masked(scale_by_trust_ratio(trust_coefficient=trust_coefficient, eps=eps), trust_ratio_mask),
        scale_by_learning_rate(learning_rate),
        trace(momentum, nesterov),
    )
