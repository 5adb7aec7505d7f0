"""MXNet's `SGLD`."""

from __future__ import annotations

from typing import Unpack

import jax.numpy as jnp

from gradxform._types import Array, Hyper, LeafNumbers, NonNegative
from gradxform.core import elementwise
from gradxform.dialects.mxnet._mxnet import Common, coupled, filled, mxnet_optimizer
from gradxform.optimizers import sgld as core_sgld


@elementwise()
def scale_by_root_multiplier(g, s, p, c, multipliers: LeafNumbers = None):
    """Multiply the update of each leaf by the root of a number of its own.

        u = sqrt(multiplier) g

    State    EmptyState(). Memory: none.
    Units    those of g.
    Shapes   any, scalars and complex included.
    Labels   as in `scale_by_multiplier`; the numbers are >= 0.
    Source   MXNet, lr_mult: before and after Langevin dynamics of rate a it makes dynamics of rate multiplier a.
    Differs  no.
    Raises   LabelError: as `scale_by_multiplier`.
    """
    return jnp.sqrt(c.multipliers) * g, s


@mxnet_optimizer(core="sgld")
def sgld(learning_rate: NonNegative[Hyper] = 0.1, seed: Array | int = 0, **common: Unpack[Common]):
    """MXNet's `SGLD`: Langevin dynamics, descent with as much noise as makes the parameters a sample of the posterior.

        g = clip(rescale_grad g) + wd p
        u = -learning_rate / 2 g + sqrt(learning_rate) n        n standard normal

    Args:
      learning_rate: the learning rate, or a schedule: a function of the number of completed updates.
      seed: a random key, or a number to make one of.
      rescale_grad: what gradients are multiplied by first; MXNet's sum over the batch, so 1 / batch size there.
      clip_gradient: the size above which an element of the rescaled gradient is cut; None: none.
      wd: the strength of the weight decay.
      lr_mult: factors of the learning rate: a mapping from patterns of paths, or a tree; None: 1.
      wd_mult: factors of the weight decay: a mapping from patterns of paths, or a tree; None: 1.
      multi_precision: keep a float32 copy of narrow parameters in the state.

    >>> from gradxform.dialects import mxnet
    >>> tx = mxnet.sgld(learning_rate=0.01, seed=1)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; SgldState(count, rng_key, nu). Memory: none.
    Units    learning_rate has those of p / g.
    Shapes   any, scalars and complex included.
    Sharded  inside `shard_map` parts of one shape get the same noise where the key is the same on every device; under `jit` the
             noise is that of the whole leaf.
    Source   MXNet's optimizer guide; MXNet 2, `SGLD`; Welling & Teh 2011, equation 4.
    Differs  the guide credits Patterson & Teh, whose method is the Riemannian one. The documentation of MXNet's class has
             another default than its code, 0.1. `seed`, an integer or a random key, stands for MXNet's global generator.
    Raises   HyperparameterError: an argument out of range. MissingArgumentError: no params, with wd. LabelError: lr_mult or
             wd_mult.
    """
    lr_mult = filled(common)["lr_mult"]
    root = [] if lr_mult is None else [scale_by_root_multiplier(lr_mult)]
    return coupled(*root, core_sgld(learning_rate, key=seed), *root, common=common)
