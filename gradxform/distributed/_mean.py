"""Means and votes over the devices, without a memory."""

from __future__ import annotations

from collections.abc import Hashable

import jax
import jax.numpy as jnp

from gradxform._types import Array
from gradxform.core import elementwise
from gradxform.distributed import _wire
from gradxform.registry import transform


@transform(source="MXNet's Trainer and KVStore", example={"axis_name": None}, homogeneity=1)
@elementwise()
def mean_over(g, s, p, c, axis_name: Hashable):
    """Replace each device's gradients by their mean over the devices.

        u = 1/n sum_i g_i            i the n devices along axis_name

    What follows in the chain is the same on every device: `Trainer.step` as one transformation. On losses that are means, n devices
    with a batch of b each give the update of one with n b.

    Args:
      axis_name: the name, or names, of the mapped axis; None: there is one device.

    >>> tx = gx.chain(gx.distributed.mean_over("data"), gx.adam(1e-3))  # inside shard_map

    State    EmptyState(). Memory: none. Sent: 4 bytes per element each way; the mean is taken in float32 or wider.
    Units    those of g.
    Shapes   any, scalars and complex included.
    Source   MXNet's `Trainer.step`: `allreduce_grads`, then `update`.
    Differs  the mean, where MXNet's KVStore adds and divides by the batch size.
    """
    return (g if axis_name is None else jax.lax.pmean(g, axis_name)), s


@transform(source="Bernstein et al. 2018, arXiv:1802.04434", example={"axis_name": None}, homogeneity=0)
@elementwise()
def majority_vote(g, s, p, c, axis_name: Hashable):
    """Let the devices vote on the sign of each element.

        u = sign(sum_i sign(g_i))            i the devices along axis_name; a tie is 0

    `chain(majority_vote("data"), scale(-learning_rate))` is signSGD with majority vote; with `per_device(ema(b, debias=False), "data")`
    before it, Signum's. It needs no memory, but need not descend along the mean: where the noise is skewed, the vote goes the wrong way.
    `error_feedback` does not.

    Args:
      axis_name: the name, or names, of the mapped axis; None: there is one device.

    >>> tx = gx.chain(gx.distributed.majority_vote(axis_name="data"), gx.scale_by_learning_rate(1e-3))

    State    EmptyState(). Memory: none. Sent: 1/4 byte per element each way: ternary, for zeros and ties.
    Units    u is dimensionless.
    Shapes   any, scalars and complex included: real and imaginary parts vote separately.
    Source   Bernstein et al. 2018, arXiv:1802.04434, Algorithm 3, and 2019, arXiv:1810.05291.
    Differs  every device counts a part of the votes, in the place of one server.
    """
    q = _wire.signs(as_real(g))
    vote = q if axis_name is None else _wire.majority_of(q, axis_name)
    return as_given(vote.astype(c.dtype), g), s


def as_real(x: Array) -> Array:
    """Complex numbers as pairs of real ones along a first axis."""
    return jnp.stack([x.real, x.imag]) if jnp.iscomplexobj(x) else x


def as_given(x: Array, like: Array) -> Array:
    """The inverse of `as_real`."""
    return jax.lax.complex(x[0], x[1]) if jnp.iscomplexobj(like) else x
