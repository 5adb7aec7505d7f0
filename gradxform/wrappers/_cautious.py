"""Cautious updates: only what goes against the gradient."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp

from gradxform._types import Array, Inner, Unit
from gradxform.core import GradientTransformation, wrapper
from gradxform.core._hyper import at_rank
from gradxform.optimizers import adam
from gradxform.registry import transform


class CautiousState(NamedTuple):
    """The state of the optimizer inside."""

    base_optimizer_state: Inner


def _against(u: Array, g: Array, min_share: Array) -> Array:
    """u where it goes against g, made larger by how little of it does."""
    kept = (u.conj() * g).real < 0
    share = jnp.sum(kept, keepdims=True).astype(u.real.dtype) / max(u.size, 1)
    share = jnp.maximum(share, at_rank(jnp.asarray(min_share), u.ndim).astype(u.real.dtype))
    return jnp.where(kept, u / jnp.where(share > 0, share, 1), 0)


@transform(source="Liang et al. 2024, arXiv:2411.16085", example={"base_optimizer": adam(0.1)})
@wrapper(CautiousState, scope="per_leaf")
def cautious(g, s, p, c, base_optimizer: GradientTransformation, min_share: Unit = 1e-3):
    """Leave out of an optimizer's step what does not go against the gradient.

        u = base_optimizer(g)
        u = u / max(share, min_share) where u g < 0, else 0                 share: how much of the leaf that is

    Momentum goes on where the gradient has turned; this waits there until it has turned, too. Around the whole optimizer, whose updates
    are added: a weight decay inside counts as a part of u.

    Args:
      base_optimizer: a complete optimizer; around a direction, which points uphill: `chain(direction, scale(-1.0))`.
      min_share: the least divisor: what is left grows 1 / min_share times at most.

    >>> tx = gx.cautious(gx.adamw(1e-3))

    State    CautiousState(base_optimizer_state). Memory: that of base_optimizer.
    Units    those of base_optimizer.
    Shapes   any, scalars and complex included; the share is of the whole leaf, a complex product counts by its real part.
    Sharded  inside `shard_map` norms and means are over the device's own part of a leaf; under `jit` over the whole leaf.
    Source   Liang et al. 2024, arXiv:2411.16085, Algorithm 1, scaled as the authors' C-AdamW.
    Differs  Optax has none. The authors' code leaves the decay out of what it masks: `chain(cautious(...), ...)` with a decay behind.
    Raises   StructureError: base_optimizer is not a transformation. HyperparameterError: min_share outside [0, 1].
    """
    u, inner_state = base_optimizer.update(g, s.base_optimizer_state, p)
    return c.map(_against, u, g, min_share=min_share), s._replace(base_optimizer_state=inner_state)
