"""Scaling the loss, so that gradients in float16 do not vanish."""

from __future__ import annotations

import functools
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp

from gradxform._errors import StructureError
from gradxform._numerics import widen
from gradxform._types import Array, Count, Field, Inner, OptState, Positive, Range, Shared, Value
from gradxform.core import GradientTransformation, wrapper
from gradxform.core._holes import as_array, is_array, is_gap
from gradxform.core._transformation import widens
from gradxform.core._update_if import update_if
from gradxform.registry import transform
from gradxform.transforms import scale

Growth = Annotated[Value, Range("(1, inf)")]


class LossScaleState(NamedTuple):
    """What the loss is to be multiplied by, how many updates in a row were finite since that changed, and the inner state."""

    loss_scale: Annotated[Shared, Field(first=lambda initial: jnp.asarray(initial, jnp.float32), constant=True)]
    finite_count: Annotated[Shared, Field(first=lambda: jnp.zeros([], jnp.int32))]
    inner_state: Inner


def _unscaled(x: Array, loss_scale: Array) -> Array:
    """A gradient in float32 or wider, where what was scaled up does not vanish."""
    return x.astype(widen(x.dtype)) / loss_scale.astype(widen(x.dtype))


@transform(source="Micikevicius et al. 2018, arXiv:1710.03740; PyTorch's GradScaler", example={"inner": scale(-1.0)}, homogeneity=1)
@wrapper(LossScaleState)
def loss_scale(
    g, s, p, c, inner: GradientTransformation, initial: Positive = 2.0**15, every: Count = 2000, factor: Growth = 2.0
):  # fmt: skip
    """Optimize with gradients of a loss that is multiplied by a number, as large as the gradients' dtype bears.

        grads = jax.grad(lambda p: loss_scale_of(state) * loss(p))(params)
        updates, state = tx.update(grads, state, params)

        u, s       = inner(g / loss_scale, s)           if all of g is finite
        u, s       = 0, s                               otherwise
        loss_scale = factor loss_scale                  after `every` finite updates in a row, if that is finite
        loss_scale = loss_scale / factor                where g is not finite

    What is inside sees gradients of the loss itself, in float32 or wider, and its clocks count the updates that were made. A clip belongs
    inside.

    Args:
      inner: the optimizer.
      initial: the first loss_scale.
      every: after how many finite updates it grows.
      factor: what it is multiplied and divided by; with a power of two no digit is lost.

    >>> tx = gx.loss_scale(gx.adamw(1e-3), initial=1024, every=100)

    State    LossScaleState(loss_scale, finite_count, inner_state). Memory: that of inner.
    Units    those of inner.
    Shapes   any.
    Sharded  inside `shard_map` a device looks at its own parts only, and may skip an update that others take; under `jit` at all.
    Source   Micikevicius et al. 2018, arXiv:1710.03740, section 3.2; PyTorch's `torch.amp.GradScaler`.
    Differs  from PyTorch: one factor grows and falls; the scale stays above 0. Under `jit` arrays on several devices are judged as a whole;
             where each device has gradients of its own, as under `shard_map`, put `mean_over` before it, so that all judge the same.
    Raises   StructureError: inner is not a transformation. HyperparameterError: initial <= 0, every < 1, factor <= 1.
    """
    factor = c.number("factor", factor)
    finite = functools.reduce(jnp.logical_and, [jnp.all(jnp.isfinite(x)) for x in c.trees.arrays], jnp.asarray(True))
    unscale = lambda x: _unscaled(as_array(x), s.loss_scale) if is_array(x) else x
    u, inner_state = update_if(finite, inner, jax.tree.map(unscale, g, is_leaf=is_gap), s.inner_state, p)
    (u,) = (u,) if widens(inner) else c.map(lambda x: x, u, like=(g,))
    count = s.finite_count + 1
    larger, smaller = s.loss_scale * factor, jnp.maximum(s.loss_scale / factor, jnp.finfo(jnp.float32).tiny)
    grown = jnp.where((count >= every) & jnp.isfinite(larger), larger, s.loss_scale)
    return u, s._replace(
        loss_scale=jnp.where(finite, grown, smaller),
        finite_count=jnp.where(finite & (count < every), count, 0),
        inner_state=inner_state,
    )


def loss_scale_of(state: OptState) -> Array:
    """What the next loss is to be multiplied by, from the state of an optimizer with `loss_scale` in it; also under `jit`.

    Args:
      state: the state, of the whole chain or of any part that has it.

    >>> tx = gx.chain(gx.loss_scale(gx.adamw(1e-3), initial=1024))
    >>> float(gx.loss_scale_of(tx.init(params)))
    1024.0

    Raises   StructureError: there is no loss scale in the state, or more than one.
    """
    is_one = lambda x: isinstance(x, LossScaleState)
    found = [x for x in jax.tree.leaves(state, is_leaf=is_one) if is_one(x)]
    if len(found) != 1:
        raise StructureError(
            f"loss_scale_of: expected the state of one optimizer made with `loss_scale`, but found {len(found)} loss scales in it. "
            "Pass the state that its `init` or last `update` returned."
        )
    return found[0].loss_scale
