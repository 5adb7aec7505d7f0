"""MXNet's `LARS`."""

from __future__ import annotations

from typing import Unpack

import jax.numpy as jnp

from gradxform._numerics import norm
from gradxform._types import Bound, Hyper, LeafNumbers, NonNegative, Real, Unit
from gradxform.core import per_leaf
from gradxform.dialects._pieces import is_zero
from gradxform.dialects.mxnet._mxnet import Common, clipped, filled, finished, mxnet_optimizer, rate, rescaled
from gradxform.transforms import trace


@per_leaf(needs=("params",))
def scale_by_lars_ratio(
    g, s, p, c,
    eta: NonNegative = 0.001, epsilon: NonNegative = 1e-8, wd: NonNegative = 0.0, clip_gradient: Bound | None = None,
    wd_mult: LeafNumbers = None,
):  # fmt: skip
    """The direction of `lars`: see there."""
    decay = wd * c.wd_mult
    above, below = norm(p), norm(g)
    defined = (above > 0) & (below > 0)
    ratio = jnp.where(defined, eta * above / jnp.where(defined, below + decay * above + epsilon, 1), 1)
    return ratio * (clipped(g, clip_gradient) + decay * p), s


@mxnet_optimizer(core="lars", example={"momentum": 0.9, "wd": 0.01})
def lars(
    learning_rate: Real[Hyper] = 0.1,
    momentum: Unit[Hyper] = 0.0,
    eta: NonNegative[Hyper] = 0.001,
    epsilon: NonNegative[Hyper] = 1e-8,
    **common: Unpack[Common],
):
    """MXNet's `LARS`: momentum with a rate for each leaf, from the norms of its parameter and gradient.

        g = rescale_grad g
        r = eta ||p|| / (||g|| + wd ||p|| + epsilon)                    1 where one of the norms is 0
        v = momentum v - learning_rate r (clip(g) + wd p)
        u = v

    Args:
      learning_rate: the learning rate, or a schedule: a function of the number of completed updates.
      momentum: how much of the velocity stays at each update.
      eta: the part of a leaf's norm by which it moves where the rate is 1.
      epsilon: added to the norms by which the rate is divided.
      rescale_grad: what gradients are multiplied by first; MXNet's sum over the batch, so 1 / batch size there.
      clip_gradient: the size above which an element of the rescaled gradient is cut; None: none.
      wd: the strength of the weight decay.
      lr_mult: factors of the learning rate: a mapping from patterns of paths, or a tree; None: 1.
      wd_mult: factors of the weight decay: a mapping from patterns of paths, or a tree; None: 1.
      multi_precision: keep a float32 copy of narrow parameters in the state.

    >>> from gradxform.dialects import mxnet
    >>> tx = mxnet.lars(learning_rate=0.1, momentum=0.9)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; with momentum TraceState(trace). Memory: 1 x params with momentum.
    Units    learning_rate is dimensionless: each leaf moves by about learning_rate eta times its norm.
    Shapes   any, scalars and complex included; the norms are over whole leaves.
    Sharded  inside `shard_map` norms and means are over the device's own part of a leaf; under `jit` over the whole leaf.
    Source   MXNet 2, `LARS`; You et al. 2017, arXiv:1708.03888, Algorithm 1.
    Differs  MXNet has r = 1 for names that end in gamma, beta or bias; here a `partition` with `sgd` says so. `momentum_correction` of
             MXNet 1 is absent: the rate stands inside the momentum.
    Raises   HyperparameterError: an argument out of range. MissingArgumentError: no params. LabelError: lr_mult or wd_mult.
    """
    given = filled(common)
    direction = scale_by_lars_ratio(eta, epsilon, given["wd"], given["clip_gradient"], given["wd_mult"])
    inertia = [] if is_zero(momentum) else [trace(momentum)]
    return finished(*rescaled(common), direction, *rate(learning_rate, common), *inertia, common=common)
