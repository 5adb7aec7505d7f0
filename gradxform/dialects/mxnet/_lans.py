"""MXNet's `LANS`."""

from __future__ import annotations

from typing import Unpack

import jax.numpy as jnp

from gradxform._numerics import abs_sq, norm
from gradxform._types import Bound, Decay, Hyper, LeafNumbers, NonNegative, Real
from gradxform.core import per_leaf
from gradxform.dialects.mxnet._mxnet import Common, clipped, filled, finished, mxnet_optimizer, rescaled
from gradxform.optimizers import ScaleByLansState


def _with_norm(size, r):
    """r with another norm; as it is where one of the norms is 0."""
    defined = (size > 0) & (norm(r) > 0)
    return jnp.where(defined, size / jnp.where(defined, norm(r), 1), 1) * r


@per_leaf(ScaleByLansState, needs=("params",))
def mxnet_lans_step(
    g, s, p, c,
    learning_rate: Real, b1: Decay, b2: Decay, eps: NonNegative, wd: NonNegative,
    lower_bound: Bound | None, upper_bound: Bound | None, clip_gradient: Bound | None,
    lr_mult: LeafNumbers = None, wd_mult: LeafNumbers = None,
):  # fmt: skip
    """The step of `lans`: see there."""
    a, decay, size = learning_rate * c.lr_mult, wd * c.wd_mult, jnp.clip(norm(p), lower_bound, upper_bound)
    g = clipped(g / jnp.where(norm(g) > 0, norm(g), 1), clip_gradient)
    mu = b1 * s.mu + (1 - b1) * g
    nu = b2 * s.nu + (1 - b2) * abs_sq(g)
    divisor = jnp.sqrt(c.debias(nu, b2)) + eps
    first = -a * b1 * _with_norm(size, c.debias(mu, b1) / divisor + decay * p)
    second = -a * (1 - b1) * _with_norm(size, g / divisor + decay * (p + first))
    return first + second, s._replace(mu=mu, nu=nu)


@mxnet_optimizer(core="lans", example={"wd": 0.01})
def lans(
    learning_rate: Real[Hyper] = 0.001,
    beta1: Decay[Hyper] = 0.9,
    beta2: Decay[Hyper] = 0.999,
    epsilon: NonNegative[Hyper] = 1e-6,
    lower_bound: Bound[Hyper] | None = None,
    upper_bound: Bound[Hyper] | None = None,
    **common: Unpack[Common],
):
    """MXNet's `LANS`: LAMB with normalized gradients, in two steps: along the momentum, then along the gradient.

        g  = clip(g / ||g||)                                            mu, nu as in `adam`, of this g
        r  = mu^ / (sqrt(nu^) + epsilon) + wd p
        d  = -learning_rate beta1 size / ||r|| r                        size = min(max(||p||, lower_bound), upper_bound)
        r' = g / (sqrt(nu^) + epsilon) + wd (p + d)
        u  = d - learning_rate (1 - beta1) size / ||r'|| r'             a ratio is 1 where one of its norms is 0

    rescale_grad matters by its sign only.

    Args:
      learning_rate: the learning rate, or a schedule: a function of the number of completed updates.
      beta1: how much of the running mean of gradients stays at each update.
      beta2: how much of the running mean of squares stays at each update.
      epsilon: added to the root by which the gradient is divided.
      lower_bound: the least norm that a leaf counts as having; None: none.
      upper_bound: the largest norm that a leaf counts as having; None: none.
      rescale_grad: what gradients are multiplied by first; MXNet's sum over the batch, so 1 / batch size there.
      clip_gradient: the size above which an element of the rescaled gradient is cut; None: none.
      wd: the strength of the weight decay.
      lr_mult: factors of the learning rate: a mapping from patterns of paths, or a tree; None: 1.
      wd_mult: factors of the weight decay: a mapping from patterns of paths, or a tree; None: 1.
      multi_precision: keep a float32 copy of narrow parameters in the state.

    >>> from gradxform.dialects import mxnet
    >>> tx = mxnet.lans(learning_rate=1e-3, wd=0.01)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; ScaleByLansState(count, mu, nu). Memory: 2 x params.
    Units    learning_rate is dimensionless: each leaf moves by learning_rate times its norm.
    Shapes   any, scalars and complex included; the norms are over whole leaves.
    Sharded  inside `shard_map` norms and means are over the device's own part of a leaf; under `jit` over the whole leaf.
    Source   MXNet 2, `LANS`; Zheng et al. 2020, arXiv:2006.13484, Algorithm 2.
    Differs  from `gradxform.lans` and the paper, which decay both parts by p.
    Raises   HyperparameterError: an argument out of range. MissingArgumentError: no params. LabelError: lr_mult or wd_mult.
    """
    given = filled(common)
    step = mxnet_lans_step(
        learning_rate, beta1, beta2, epsilon, given["wd"], lower_bound, upper_bound, given["clip_gradient"],
        given["lr_mult"], given["wd_mult"],
    )  # fmt: skip
    return finished(*rescaled(common), step, common=common)
