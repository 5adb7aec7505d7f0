"""MXNet's `Ftrl`."""

from __future__ import annotations

from typing import Annotated, NamedTuple, Unpack

import jax.numpy as jnp

from gradxform._numerics import abs_sq
from gradxform._types import Field, Hyper, LeafNumbers, NonNegative, Positive, RealUpdates, Updates
from gradxform.core import elementwise
from gradxform.dialects.mxnet._mxnet import Common, decoupled, filled, mxnet_optimizer

LEAST_RATE = 1e-6  # the rate divides


class FtrlState(NamedTuple):
    """The linear term of the leader's problem, and the sum of |g|^2."""

    z: Updates
    n: Annotated[RealUpdates, Field(nonnegative=True)]


@elementwise(FtrlState, needs=("params",))
def mxnet_ftrl_step(
    g, s, p, c,
    learning_rate: Positive, lamda1: NonNegative, beta: NonNegative, wd: NonNegative,
    lr_mult: LeafNumbers = None, wd_mult: LeafNumbers = None,
):  # fmt: skip
    """The step of `ftrl`: see there."""
    size = jnp.maximum(learning_rate * c.lr_mult, LEAST_RATE)
    n = s.n + abs_sq(g)
    z = s.z + g - (jnp.sqrt(n) - jnp.sqrt(s.n)) / size * p
    d = (beta + jnp.sqrt(n)) / size + wd * c.wd_mult
    leader = -(z - lamda1 * jnp.sign(z)) / jnp.where(d > 0, d, 1)
    return jnp.where((jnp.abs(z) > lamda1) & (d > 0), leader, 0) - p, s._replace(z=z, n=n)


@mxnet_optimizer(core="ftrl", example={"wd": 0.01})
def ftrl(
    learning_rate: Positive[Hyper] = 0.1,
    lamda1: NonNegative[Hyper] = 0.01,
    beta: NonNegative[Hyper] = 1.0,
    **common: Unpack[Common],
):
    """MXNet's `Ftrl`: jump to the minimum of all past gradients' linear models; lamda1 makes exact zeros, wd is the L2 term.

        g  = clip(rescale_grad g)
        z  = z + g - (sqrt(n + |g|^2) - sqrt(n)) / learning_rate p
        n  = n + |g|^2
        p' = -(z - lamda1 sign(z)) / ((beta + sqrt(n)) / learning_rate + wd)        0 where |z| <= lamda1
        u  = p' - p

    Args:
      learning_rate: the learning rate, or a schedule: a function of the number of completed updates.
      lamda1: the strength of the penalty that makes exact zeros.
      beta: added to the root of the sum of squares, in the curvature.
      rescale_grad: what gradients are multiplied by first; MXNet's sum over the batch, so 1 / batch size there.
      clip_gradient: the size above which an element of the rescaled gradient is cut; None: none.
      wd: the strength of the weight decay.
      lr_mult: factors of the learning rate: a mapping from patterns of paths, or a tree; None: 1.
      wd_mult: factors of the weight decay: a mapping from patterns of paths, or a tree; None: 1.
      multi_precision: keep a float32 copy of narrow parameters in the state.

    >>> from gradxform.dialects import mxnet
    >>> tx = mxnet.ftrl(learning_rate=0.1, lamda1=0.01)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; FtrlState(z, n), with a schedule in a CountedState. Memory: 2 x params.
    Units    learning_rate has those of p; lamda1 and beta those of g; wd those of g / p.
    Shapes   any, scalars and complex included (sign(z) = z / |z|).
    Source   MXNet 2, `Ftrl`; McMahan et al. 2013, Algorithm 1.
    Differs  the guide is mended, whose z lacks + g and has the other sign. From `gradxform.ftrl`: with a schedule, both roots are
             divided by the new rate, so that all weights shrink as it falls. A rate below 1e-6 counts as 1e-6.
    Raises   HyperparameterError: an argument out of range. MissingArgumentError: no params. LabelError: lr_mult or
             wd_mult.
    """
    given = filled(common)
    step = mxnet_ftrl_step(learning_rate, lamda1, beta, given["wd"], given["lr_mult"], given["wd_mult"])
    return decoupled(step, common=common)
