"""Keeping parameters in a box."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from gradxform._errors import HyperparameterError
from gradxform._types import Extended, Hyper
from gradxform.core import elementwise
from gradxform.core._hyper import is_number
from gradxform.registry import transform


@elementwise(needs=("params",))
def _keep_params_in_box(g, s, p, c, low: Extended | None = None, high: Extended | None = None):
    """Change updates so that they leave the parameters in [low, high]."""
    clip = lambda x: jnp.clip(x, low, high)
    new_p = jax.lax.complex(clip((p + g).real), clip((p + g).imag)) if jnp.iscomplexobj(p + g) else clip(p + g)
    return jnp.where(new_p == p + g, g, new_p - p), s


@transform(source="projected gradient descent, Goldstein 1964", example={"low": -1.0, "high": 1.0})
def keep_params_in_box(low: Extended[Hyper] | None = None, high: Extended[Hyper] | None = None):
    """Change updates so that they leave the parameters in [low, high].

        u = min(max(p + g, low), high) - p

    The last stage of a chain: it sees the step. None: no bound on that side.

    Args:
      low: the least value of a parameter; None: no bound.
      high: the largest value of a parameter; None: no bound.

    >>> tx = gx.chain(gx.adam(1e-3), gx.keep_params_in_box(low=0.0, high=1.0))

    State    EmptyState(); with a schedule ScaleByScheduleState(count). Memory: none.
    Units    those of p, like g.
    Shapes   any, scalars included; real and imaginary parts are bounded alike.
    Source   the projection on a box, Goldstein 1964; MXNet's `clip_weights`, neon's `param_clip_value`.
    Differs  Optax has `keep_params_nonnegative`, which is low=0. A bound holds to the rounding of p + u.
    Raises   MissingArgumentError: no params. HyperparameterError: a bound is not a number, or low > high.
    """
    projection = _keep_params_in_box(low, high)
    if low is not None and high is not None and is_number(low) and is_number(high) and low > high:
        raise HyperparameterError(f"keep_params_in_box: `low` must not exceed `high`, but got low={low!r} and high={high!r}.")
    return projection
