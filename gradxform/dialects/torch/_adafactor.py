"""`torch.optim.Adafactor`."""

from __future__ import annotations

from typing import Annotated

import jax.numpy as jnp

from gradxform._numerics import abs_sq
from gradxform._types import Hyper, NonNegative, Range, Value
from gradxform.core import chain, per_leaf
from gradxform.dialects._pieces import LAST_TWO_AXES
from gradxform.dialects.torch._torch import torch_optimizer
from gradxform.transforms import scale

NonPositive = Annotated[Value, Range("(-inf, 0]")]
AtLeastOne = Annotated[Value, Range("[1, inf)")]


def _rms(x):
    return jnp.sqrt(jnp.mean(abs_sq(x)))


@per_leaf(LAST_TWO_AXES, needs=("params",))
def torch_adafactor_step(
    g, s, p, c,
    lr: NonNegative, beta2_decay: NonPositive, eps1: NonNegative | None = None, eps2: NonNegative = 1e-3, d: AtLeastOne = 1.0,
    weight_decay: NonNegative = 0.0,
):  # fmt: skip
    """The step of `adafactor`, of the size of the parameter: see there."""
    least = jnp.finfo(c.dtype).eps if eps1 is None else eps1
    t = c.t.astype(c.dtype)
    w = t**beta2_decay
    size = jnp.maximum(eps2, _rms(p)) * jnp.minimum(lr, 1 / jnp.sqrt(t))
    sq = abs_sq(g)
    if g.ndim > 1:
        v_row = s.v_row + w * (sq.mean(-1) - s.v_row)
        v_col = s.v_col + w * (sq.mean(-2) - s.v_col)
        s = s._replace(v_row=v_row, v_col=v_col)
        v = v_row[..., None] * v_col[..., None, :] / jnp.maximum(v_row.mean(-1), least)[..., None, None]
    else:
        v = s.v + w * (sq - s.v)
        s = s._replace(v=v)
    u = g / jnp.sqrt(jnp.maximum(v, least * least))
    return -size / jnp.maximum(1, _rms(u) / d) * u + (p * (1 - lr * weight_decay) - p), s


@torch_optimizer(core="adafactor")
def adafactor(
    lr: NonNegative[Hyper] = 1e-2,
    beta2_decay: NonPositive[Hyper] = -0.8,
    eps: tuple[NonNegative[Hyper] | None, NonNegative[Hyper]] = (None, 1e-3),
    d: AtLeastOne[Hyper] = 1.0,
    weight_decay: NonNegative[Hyper] = 0.0,
    *,
    maximize: bool = False,
):
    """`torch.optim.Adafactor`: a root mean square kept for rows and columns only, clipped, in the scale of the parameters.

        w     = t^beta2_decay
        v_row = (1 - w) v_row + w mean over columns of |g|^2            -g if maximize
        v_col = (1 - w) v_col + w mean over rows of |g|^2
        v     = v_row v_col / max(mean(v_row), eps1)                    fewer than two axes: v = (1 - w) v + w |g|^2
        d_t   = g / sqrt(max(v, eps1^2))                                (eps1, eps2) = eps; eps1=None: that of the dtype
        u     = -max(eps2, rms(p)) min(lr, 1 / sqrt(t)) d_t / max(1, rms(d_t) / d) - lr weight_decay p

    Rows and columns are the last two axes, whatever their size.

    Args:
      lr: the learning rate, or a schedule: a function of the number of completed updates.
      beta2_decay: the exponent of the time with which the running means of squares lengthen.
      eps: the least root of a mean square, None for the dtype's own precision; and the least size that a parameter counts as
        having.
      d: the root mean square above which a step is clipped.
      weight_decay: decoupled decay: the part of the parameters, times lr, that is taken away at each update.
      maximize: climb.

    >>> from gradxform.dialects import torch
    >>> tx = torch.adafactor(lr=1e-2, weight_decay=0.01)
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    a chain's; FactoredState(count, v_row, v_col, v), of shape (1,) where unused. Memory: (m + n) / (m n) x params for m x n.
    Units    lr is dimensionless: each leaf moves by at most lr times its root mean square.
    Shapes   any, scalars and complex included.
    Sharded  inside `shard_map` rows, columns and means are those of the device's own part of a leaf, whose shape decides whether it
             is factored; under `jit` those of the whole leaf.
    Source   PyTorch 2.13, `torch.optim.Adafactor`; Shazeer & Stern 2018, arXiv:1804.04235.
    Differs  eps1=None is float32's for narrower parameters, because the step is computed in float32.
    Raises   MissingArgumentError: no params. HyperparameterError: beta2_decay > 0, d < 1, another argument < 0.
    """
    eps1, eps2 = eps
    return chain(*([scale(-1.0)] if maximize else []), torch_adafactor_step(lr, beta2_decay, eps1, eps2, d, weight_decay))
