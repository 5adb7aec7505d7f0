"""Grokfast."""

from __future__ import annotations

import jax.numpy as jnp

from gradxform._types import DType, Real
from gradxform.core import elementwise
from gradxform.registry import transform
from gradxform.transforms._momentum import EmaDecay, EmaState


@transform(source="Lee et al. 2024, arXiv:2405.20233, Algorithm 1", homogeneity=1)
@elementwise(EmaState)
def grokfast(g, s, p, c, decay: EmaDecay = 0.98, scale: Real = 2.0, accumulator_dtype: DType | None = None):
    """Amplify what changes slowly in the gradients: put it first in a chain.

        ema = decay ema + (1 - decay) g         g at the first update
        u   = g + scale ema

    Args:
      decay: how much of the average stays at each update.
      scale: how often the average is added.
      accumulator_dtype: the dtype of the accumulated updates; None: the parameter's, float32 or wider.

    >>> tx = gx.chain(gx.grokfast(), gx.adamw(1e-3))

    State    EmaState(count, ema). ema: like p, float32 or wider unless accumulator_dtype says otherwise. Memory: 1 x params.
    Units    those of g; a constant g grows to (1 + scale) g.
    Shapes   any, scalars and complex included.
    Source   Lee et al. 2024, arXiv:2405.20233, Algorithm 1 (EMA); the first average as in the authors' code.
    Differs  Optax has none. `ema` begins at 0 and is debiased.
    Raises   HyperparameterError: decay outside (-1, 1], scale is not a finite number.
    """
    ema = jnp.where(c.t > 1, decay * s.ema + (1 - decay) * g, g)
    return g + scale * ema, s._replace(ema=ema)
