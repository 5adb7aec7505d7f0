"""A learning rate that falls when the loss no longer does."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp

from gradxform._errors import HyperparameterError, MissingArgumentError
from gradxform._numerics import increment, real_part, round_to, widen
from gradxform._types import Parameter, Range, Shared
from gradxform.core import GradientTransformationExtraArgs
from gradxform.core._holes import dtype_of, is_array, on_the_mesh_of
from gradxform.core._run import Trees
from gradxform.core._transformation import Spec, transformation
from gradxform.registry import transform
from gradxform.tree._leafwise import wide


class ReduceLROnPlateauState(NamedTuple):
    """The scale, the best mean value, judgements without a better one, those left to wait, values in the current mean, that mean."""

    scale: Shared
    best_value: Shared
    plateau_count: Shared
    cooldown_count: Shared
    count: Shared
    avg_value: Shared


_RANGES = {
    "factor": "(0, 1)",
    "patience": "[0, inf)",
    "rtol": "[0, 1]",
    "atol": "[0, inf)",
    "cooldown": "[0, inf)",
    "accumulation_size": "[1, inf)",
    "min_scale": "[0, inf)",
}


class ReduceOnPlateau(Spec):
    """The update of `reduce_on_plateau`."""

    def __init__(self, options: Mapping[str, Any]):
        self.options = dict(options)

    def name(self) -> str:
        return "reduce_on_plateau"

    def arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        return (), self.options

    def init(self, params: Any) -> ReduceLROnPlateauState:
        dtypes = [real_part(widen(dtype_of(p))) for p in jax.tree.leaves(params) if is_array(p)] or [jnp.result_type(float)]
        low, high = (pick(dtypes, key=lambda d: d.itemsize) for pick in (min, max))
        zero = lambda: jnp.zeros([], jnp.int32)
        state = ReduceLROnPlateauState(jnp.ones([], low), jnp.full([], jnp.inf, high), zero(), zero(), zero(), jnp.zeros([], high))
        return on_the_mesh_of(params, state)

    def resumed(self, state: Any, step: Any, only_schedules: bool) -> tuple[Any, Any]:
        return state, step  # what it counts are values, not updates

    def __call__(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        if extra.get("value") is None:
            raise MissingArgumentError(
                "reduce_on_plateau: needs the extra argument `value`, which was not given. "
                "Call `update(updates, state, params, value=...)` with the loss."
            )
        n = increment(state.count)
        mean = (state.count * state.avg_value + jnp.asarray(extra["value"], state.avg_value.dtype)) / n
        waiting, judged = state._replace(count=n, avg_value=mean), self._judge(state, mean)
        full = n == self.options["accumulation_size"]
        new = jax.tree.map(lambda a, b, old: jnp.where(full, a, b).astype(old.dtype), judged, waiting, state)
        trees = Trees("reduce_on_plateau", updates)
        for i in trees.present:
            trees.leaves[i] = round_to(new.scale * wide(trees.leaves[i]), dtype_of(trees.leaves[i]))
        return trees.together(trees.leaves), new

    def _judge(self, s: Any, value: Any) -> Any:
        """The state after a complete mean."""
        o = self.options
        # Where best is infinite, rtol |best| is not a number or says nothing.
        margin = jnp.where(jnp.isfinite(s.best_value), o["rtol"] * jnp.abs(s.best_value) + o["atol"], 0)
        better, cooling = value < s.best_value - margin, s.cooldown_count > 0
        misses = jnp.where(better, 0, increment(s.plateau_count))
        reduce = ~cooling & ~better & (misses >= o["patience"])
        scale = jnp.maximum(jnp.where(reduce, s.scale * o["factor"], s.scale), o["min_scale"])
        return s._replace(
            scale=jnp.where(cooling, s.scale, scale),
            best_value=jnp.where(better, value, s.best_value),
            plateau_count=jnp.where(cooling | reduce, 0, misses),
            cooldown_count=jnp.where(cooling, s.cooldown_count - 1, jnp.where(reduce, o["cooldown"], 0)),
            count=jnp.zeros_like(s.count),
            avg_value=jnp.zeros_like(s.avg_value),
        )


@transform(
    source="Optax; PyTorch's ReduceLROnPlateau",
    example={"patience": 2},
    needs={"value": lambda params, grads: jnp.float32(1)},
    homogeneity=1,
)
def reduce_on_plateau(
    factor: float = 0.1,
    patience: Any = 10,
    rtol: float = 1e-4,
    atol: float = 0.0,
    cooldown: Any = 0,
    accumulation_size: Any = 1,
    min_scale: Any = 0.0,
) -> GradientTransformationExtraArgs:
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

    State    ReduceLROnPlateauState(scale, best_value, plateau_count, cooldown_count, count, avg_value). Memory: none.
    Units    those of g; value and atol have those of the loss.
    Shapes   any, scalars and complex included.
    Source   Optax; PyTorch's ReduceLROnPlateau.
    Differs  a negative value has to be undercut as well; in Optax one as good as the best, or a little worse, counts as better.
             patience=0 scales down at every miss. The state of narrow parameters is float32.
    Raises   MissingArgumentError: no value. HyperparameterError: factor outside (0, 1), rtol outside [0, 1], accumulation_size < 1,
             another argument < 0, rtol and atol both 0.
    """
    options = {
        "factor": factor, "patience": patience, "rtol": rtol, "atol": atol, "cooldown": cooldown,
        "accumulation_size": accumulation_size, "min_scale": min_scale,
    }  # fmt: skip
    for name, value in options.items():
        if callable(value):
            raise HyperparameterError(f"reduce_on_plateau: `{name}` cannot be a schedule, but got {value!r}. Give a number.")
        interval = Range(_RANGES[name])
        Parameter(name, inspect.Parameter.empty, interval, is_data=True, keyword_only=False).check("reduce_on_plateau", value)
    if not any(isinstance(x, jax.core.Tracer) or x > 0 for x in (rtol, atol)):
        raise HyperparameterError(f"reduce_on_plateau: `rtol` or `atol` must be more than 0, but got {rtol!r} and {atol!r}.")
    return transformation(ReduceOnPlateau(options))
