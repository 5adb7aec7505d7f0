"""MXNet's `LAMB`."""

from __future__ import annotations

from typing import Unpack

from gradxform._types import Bound, Decay, Hyper, NonNegative, Real
from gradxform.dialects.mxnet._mxnet import Common, decay, decoupled, mxnet_optimizer, rate
from gradxform.optimizers import scale_by_adam
from gradxform.transforms import scale_by_trust_ratio


@mxnet_optimizer(core="lamb", example={"wd": 0.01})
def lamb(
    learning_rate: Real[Hyper] = 0.001,
    beta1: Decay[Hyper] = 0.9,
    beta2: Decay[Hyper] = 0.999,
    epsilon: NonNegative[Hyper] = 1e-6,
    lower_bound: Bound[Hyper] | None = None,
    upper_bound: Bound[Hyper] | None = None,
    bias_correction: bool = True,
    **common: Unpack[Common],
):
    """MXNet's `LAMB`: Adam's direction with decay, given the norm of the parameter leaf by leaf.

        g = clip(rescale_grad g)
        r = mu^ / (sqrt(nu^) + epsilon) + wd p                          mu, nu as in `adam`; x^ = x / (1 - beta^t), x if not bias_correction
        u = -learning_rate min(max(||p||, lower_bound), upper_bound) / ||r|| r      the ratio is 1 where one of the norms is 0

    Args:
      learning_rate: the learning rate, or a schedule: a function of the number of completed updates.
      beta1: how much of the running mean of gradients stays at each update.
      beta2: how much of the running mean of squares stays at each update.
      epsilon: added to the root by which the gradient is divided.
      lower_bound: the least norm that a leaf counts as having; None: none.
      upper_bound: the largest norm that a leaf counts as having; None: none.
      bias_correction: divide the averages by 1 - beta^t, since they begin at 0.
      rescale_grad: what gradients are multiplied by first; MXNet's sum over the batch, so 1 / batch size there.
      clip_gradient: the size above which an element of the rescaled gradient is cut; None: none.
      wd: the strength of the weight decay.
      lr_mult: factors of the learning rate: a mapping from patterns of paths, or a tree; None: 1.
      wd_mult: factors of the weight decay: a mapping from patterns of paths, or a tree; None: 1.
      multi_precision: keep a float32 copy of narrow parameters in the state.

    >>> from gradxform.dialects import mxnet
    >>> tx = mxnet.lamb(learning_rate=1e-3, wd=0.01)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; ScaleByAdamState(count, mu, nu). Memory: 2 x params.
    Units    learning_rate is dimensionless: each leaf moves by learning_rate times its norm.
    Shapes   any, scalars and complex included; the norms are over whole leaves.
    Sharded  inside `shard_map` norms and means are over the device's own part of a leaf; under `jit` over the whole leaf.
    Source   MXNet 2, `LAMB`; You et al. 2020, arXiv:1904.00962, Algorithm 2.
    Differs  no.
    Raises   HyperparameterError: an argument out of range. MissingArgumentError: no params. LabelError: lr_mult or wd_mult.
    """
    return decoupled(
        scale_by_adam(beta1, beta2, epsilon, bias_correction=bias_correction),
        *decay(common),
        scale_by_trust_ratio(lower_bound=lower_bound, upper_bound=upper_bound),
        *rate(learning_rate, common),
        common=common,
    )
