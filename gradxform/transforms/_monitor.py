"""Measurements of the updates on their way, kept in the state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradxform._errors import MissingArgumentError, StructureError
from gradxform._numerics import is_inexact
from gradxform._types import Array, ArrayLike, Decay, DType, Hyper, Params, Tree, Updates
from gradxform.core import EmptyState, GradientTransformation, GradientTransformationExtraArgs, stateless
from gradxform.core._chain import check_transformation
from gradxform.core._holes import is_array, is_gap, on_the_mesh_of
from gradxform.core._transformation import Spec, extra_args_for, transformation
from gradxform.registry import transform
from gradxform.transforms._momentum import ema
from gradxform.tree import norm


class SnapshotState(NamedTuple):
    """The last measurement, by its name."""

    measurement: Mapping[str, Any]


class MonitorState(NamedTuple):
    """The last measurements by name, and the states of what measures them."""

    measurements: Mapping[str, Any]
    measure_states: tuple[Any, ...]


def _seen(tree: Tree) -> Tree:
    """What a measure sees of the updates: integer and float0 leaves are absent."""
    return jax.tree.map(lambda x: x if is_gap(x) or is_array(x) else None, tree, is_leaf=is_gap)


def _blank(measure: Callable[..., Any], *args: Tree) -> Tree:
    """Zeros like the result of a measurement that has not been made."""
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(measure, *args))


def _recorded(owner: str, name: str, new: Tree, old: Tree) -> Tree:
    """A measurement with the shapes and dtypes that the state has for it."""

    def at(x: ArrayLike, before: Array) -> Array:
        x = jnp.asarray(x)
        if x.shape != before.shape:
            raise StructureError(
                f"{owner}: the measurement {name!r} has shape {x.shape}, but it had {before.shape} before. It must depend on the "
                "structure of the updates alone."
            )
        return x.astype(before.dtype)

    return jax.tree.map(at, new, old)


class Snapshot(Spec):
    """The update of `snapshot`."""

    def __init__(self, measure_name: str, measure: Callable[..., Any]):
        self.measure_name, self.measure = measure_name, measure

    def name(self) -> str:
        return "snapshot"

    def arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        return (self.measure_name, self.measure), {}

    def init(self, params: Any) -> SnapshotState:
        return on_the_mesh_of(params, SnapshotState({self.measure_name: _blank(self.measure, _seen(params))}))

    def __call__(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        del params, extra
        old = state.measurement[self.measure_name]
        new = _recorded("snapshot", self.measure_name, self.measure(_seen(updates)), old)
        return updates, state._replace(measurement={self.measure_name: new})


@transform(source="Optax", example={"measure_name": "norm", "measure": norm}, homogeneity=1)
def snapshot(measure_name: str, measure: Callable[[Any], Any]) -> GradientTransformationExtraArgs:
    """Keep a measurement of the updates in the state, and pass them on.

        u = g
        measurement[measure_name] = measure(g)

    In a chain it sees what the members before it made of the gradient; `tree.get(state, measure_name)` reads it.

    State    SnapshotState(measurement). Memory: that of the measurement.
    Units    those of g.
    Shapes   any. The measurement has the shapes and dtypes that it would have of the parameters.
    Source   Optax.
    Differs  before the first update the measurement is zero, where Optax has that of the parameters.
    Raises   StructureError: the shape of the measurement changes.
    """
    return transformation(Snapshot(measure_name, measure))


class Monitor(Spec):
    """The update of `monitor`."""

    def __init__(self, measures: Mapping[str, Any]):
        self.measures = dict(measures)
        self.stages = {k: m if hasattr(m, "update") else stateless(_OfUpdates(m)) for k, m in self.measures.items()}

    def name(self) -> str:
        return "monitor"

    def arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        return (self.measures,), {}

    def init(self, params: Any) -> MonitorState:
        params = _seen(params)
        states = tuple(tx.init(params) for tx in self.stages.values())
        blanks = {}
        for (name, tx), state in zip(self.stages.items(), states, strict=True):
            try:
                blanks[name] = _blank(lambda p, s, tx=tx: tx.update(p, s, p)[0], params, state)
            except (MissingArgumentError, TypeError):  # it needs an extra argument, of which nothing is known here
                continue
        return on_the_mesh_of(params, MonitorState(blanks, states))

    def __call__(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        found, states, seen = {}, [], _seen(updates)
        for (name, tx), old in zip(self.stages.items(), state.measure_states, strict=True):
            new, after = tx.update(seen, old, _seen(params), **extra_args_for(tx.update, extra))
            before = state.measurements.get(name)
            found[name] = jax.tree.map(jnp.asarray, new) if before is None else _recorded("monitor", name, new, before)
            states.append(after)
        return updates, state._replace(measurements=found, measure_states=tuple(states))


class _OfUpdates:
    """A measurement of the updates as a function of updates and parameters."""

    def __init__(self, measure: Callable[..., Any]):
        self.measure = measure

    def __call__(self, updates: Updates, params: Params) -> Tree:
        del params
        return self.measure(updates)


def monitor(measures: Mapping[str, GradientTransformation | Callable[[Any], Any]]) -> GradientTransformationExtraArgs:
    """Keep measurements of the updates in the state, and pass the updates on; a measurement may have a state of its own.

        u = g
        measurements[name] = measure(g)             of a function
        measurements[name], s = measure(g, s)       of a transformation, such as measure_with_ema

    `tree.get(state, name)` reads a measurement. Transformations get the parameters and the extra arguments.

    State    MonitorState(measurements, measure_states), laid out from `init` on as after the first update, so that it can be carried
             through a scan. Memory: that of the measurements.
    Units    those of g.
    Shapes   any. A measurement has the shapes and dtypes that it would have of the parameters.
    Source   Optax.
    Differs  in Optax `measurements` is empty before the first update, and the state cannot be scanned. A measurement that needs an extra
             argument is absent there still, for its shape is not known.
    Raises   StructureError: a measure is neither a transformation nor a function, or the shape of a measurement changes.
    """
    for name, measure in measures.items():
        if hasattr(measure, "update") or not callable(measure):
            check_transformation(measure, f"monitor, measure {name!r}")
    return transformation(Monitor(measures))


def _as_floats(tree: Tree) -> Tree:
    """Flags and whole numbers in float32."""
    real = lambda x: x if is_inexact(x.dtype) else x.astype(jnp.float32)
    return jax.tree.map(lambda x: real(jnp.asarray(x)), tree)


class MeasureWithEma(Spec):
    """The update of `measure_with_ema`."""

    def __init__(self, measure: Callable[..., Any], average: Any):
        self.measure, self.average = measure, average

    def name(self) -> str:
        return "measure_with_ema"

    def arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        given = dict(self.average.update.args)
        plain = {"debias": True, "accumulator_dtype": None}
        return (self.measure, given.pop("decay")), {k: v for k, v in given.items() if v is not plain[k]}

    def numbers(self, updates: Any) -> Any:
        return _as_floats(self.measure(updates))

    def init(self, params: Any) -> tuple[Any, Any]:
        return EmptyState(), self.average.init(_blank(self.numbers, _seen(params)))

    def __call__(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        del params, extra
        none, average = state
        average = average._replace(ema=_as_floats(average.ema))  # Optax begins with the dtype of the measurement
        u, average = self.average.update(self.numbers(_seen(updates)), average)
        return u, (none, average)


def measure_with_ema(
    measure: Callable[[Any], Any], decay: Decay[Hyper], debias: bool = True, accumulator_dtype: DType | None = None
) -> GradientTransformationExtraArgs:
    """Measure the updates, and return the exponential moving average of the measurement; for `monitor`.

        m   = measure(g)
        ema = decay ema + (1 - decay) m
        u   = ema / (1 - decay^t)              debias=False: ema

    State    (EmptyState(), EmaState(count, ema)).
    Units    those of the measurement.
    Source   Optax.
    Differs  flags and whole numbers are averaged in float32 from the start; Optax begins in their own dtype and changes it.
    Raises   HyperparameterError: decay outside [0, 1).
    """
    return transformation(MeasureWithEma(measure, ema(decay, debias, accumulator_dtype)))
