"""A learning rate that falls when the loss no longer does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from gradxform._errors import HyperparameterError
from gradxform._numerics import increment, real_part, widen
from gradxform._types import Array, ArrayLike, Bound, Field, NonNegative, Params, Range, Shared, Unit, Value
from gradxform.core import wrapper
from gradxform.core._holes import dtype_of, is_array
from gradxform.registry import transform

Factor = Annotated[Value, Range("(0, 1)")]
Several = Annotated[Value, Range("[1, inf]")]
Count = Annotated[Shared, Field(first=lambda: jnp.zeros([], jnp.int32))]


def _dtypes(params: Params) -> list[jnp.dtype]:
    """The real dtypes of the parameters, float32 or wider, the narrowest first."""
    found = [real_part(widen(dtype_of(p))) for p in jax.tree.leaves(params) if is_array(p)] or [jnp.result_type(float)]
    return sorted(found, key=lambda d: d.itemsize)


def _of_values(first: float) -> Field:
    return Field(first=lambda params: jnp.full([], first, _dtypes(params)[-1]))


class ReduceLROnPlateauState(NamedTuple):
    """The scale, the best mean value, judgements without a better one, those left to wait, values in the current mean, that mean."""

    scale: Annotated[Shared, Field(first=lambda params: jnp.ones([], _dtypes(params)[0]))]
    best_value: Annotated[Shared, _of_values(jnp.inf)]
    plateau_count: Count
    cooldown_count: Annotated[Count, Field(constant=True)]
    count: Annotated[Count, Field(constant=True)]
    avg_value: Annotated[Shared, _of_values(0.0), Field(constant=True)]


def _real(x: ArrayLike) -> Array:
    """A count, or a number to compare it with, which may be a schedule's and infinite."""
    return jnp.asarray(x, jnp.float32)


def _judged(s, value, factor, patience, rtol, atol, cooldown, min_scale):
    """The state after a complete mean."""
    # Where best is infinite, rtol |best| is not a number or says nothing.
    margin = jnp.where(jnp.isfinite(s.best_value), rtol * jnp.abs(s.best_value) + atol, 0)
    better, cooling = value < s.best_value - margin, s.cooldown_count > 0
    misses = jnp.where(better, 0, increment(s.plateau_count))
    reduce = ~cooling & ~better & (_real(misses) >= _real(patience))
    scale = jnp.maximum(jnp.where(reduce, s.scale * factor, s.scale), min_scale)
    return s._replace(
        scale=jnp.where(cooling, s.scale, scale),
        best_value=jnp.where(better, value, s.best_value),
        plateau_count=jnp.where(cooling | reduce, 0, misses),
        cooldown_count=jnp.where(cooling, s.cooldown_count - 1, jnp.where(reduce, _real(cooldown).astype(jnp.int32), 0)),
        count=jnp.zeros_like(s.count),
        avg_value=jnp.zeros_like(s.avg_value),
    )


def _check(owner: str, given: Mapping[str, Any]) -> None:
    rtol, atol = given["rtol"], given["atol"]
    if not any(isinstance(x, jax.core.Tracer) or callable(x) or np.any(x > 0) for x in (rtol, atol)):
        raise HyperparameterError(f"{owner}: `rtol` or `atol` must be more than 0, but got {rtol!r} and {atol!r}.")


def _scaled(g: Array, scale: Array) -> Array:
    return scale * g


@transform(
    source="Optax; PyTorch's ReduceLROnPlateau",
    example={"patience": 2},
    needs={"value": lambda params, grads: jnp.float32(1)},
    homogeneity=1,
)
@wrapper(ReduceLROnPlateauState, scope="elementwise", needs=("value",), check=_check)
def reduce_on_plateau(
    g, s, p, c,
    factor: Factor = 0.1, patience: Bound = 10, rtol: Unit = 1e-4, atol: NonNegative = 0.0, cooldown: Bound = 0,
    accumulation_size: Several = 1, min_scale: NonNegative = 0.0,
):  # fmt: skip
    """Scale updates down when a value, the loss or a metric to be small, has stopped improving.

        mean  = mean of accumulation_size values
        best  = mean, and misses = 0            if mean < best - rtol |best| - atol;  otherwise misses = misses + 1
        scale = max(factor scale, min_scale)    after `patience` misses in a row; then the next `cooldown` misses are not counted
        u     = scale g

    Put it after the optimizer, and call `update(grads, state, params, value=loss)`.

    Args:
      factor: what scale is multiplied by.
      patience: how many means without improvement are too many.
      rtol: by what part of itself the best value has to be undercut; at least one of rtol and atol is not 0.
      atol: by how much it has to be undercut.
      cooldown: how many means to wait after scale has fallen.
      accumulation_size: how many values make a mean: 1 for a test loss, more for the losses of batches.
      min_scale: the least scale.

    >>> tx = gx.chain(gx.adam(1e-3), gx.contrib.reduce_on_plateau(factor=0.5, patience=10))
    >>> updates, state = tx.update(grads, tx.init(params), params, value=2.0)

    State    ReduceLROnPlateauState(scale, best_value, plateau_count, cooldown_count, count, avg_value). Memory: none.
    Units    those of g; value and atol have those of the loss.
    Shapes   any, scalars and complex included.
    Source   Optax; PyTorch's ReduceLROnPlateau.
    Differs  a negative value has to be undercut as well; in Optax one as good as the best, or a little worse, counts as better.
             patience=0 scales down at every miss. The state of narrow parameters is float32.
    Raises   MissingArgumentError: no value. HyperparameterError: factor outside (0, 1), rtol outside [0, 1], accumulation_size < 1,
             another argument < 0, rtol and atol both 0.
    """
    n = increment(s.count)
    dtype = s.avg_value.dtype
    mean = (s.count.astype(dtype) * s.avg_value + jnp.asarray(c.value, dtype)) / n.astype(dtype)
    waiting = s._replace(count=n, avg_value=mean)
    given = {"factor": factor, "patience": patience, "rtol": rtol, "atol": atol, "cooldown": cooldown, "min_scale": min_scale}
    judged = _judged(s, mean, **{name: c.number(name, x) for name, x in given.items()})
    full = _real(n) == _real(c.number("accumulation_size", accumulation_size))
    new = jax.tree.map(lambda a, b, old: jnp.where(full, a, b).astype(old.dtype), judged, waiting, s)
    return c.map(_scaled, g, scale=new.scale), new
