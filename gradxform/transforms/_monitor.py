"""Measurements of the updates on their way, kept in the state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from gradxform._errors import MissingArgumentError, StructureError
from gradxform._numerics import is_inexact
from gradxform._types import Array, ArrayLike, DType, Field, Hyper, Inner, OptState, Params, Shared, Tree, Updates
from gradxform.core import GradientTransformation, chain, stateless, wrapper
from gradxform.core._holes import is_array, is_gap
from gradxform.core._transformation import check_transformation
from gradxform.registry import transform
from gradxform.transforms._momentum import EmaDecay, ema
from gradxform.transforms._scale import identity
from gradxform.tree import norm

Measure = GradientTransformation | Callable[[Updates], Tree]


def _seen(tree: Tree) -> Tree:
    """What a measure sees of the updates: integer and float0 leaves are absent."""
    return jax.tree.map(lambda x: x if is_gap(x) or is_array(x) else None, tree, is_leaf=is_gap)


def _blank(measure: Callable[..., Tree], *args: Tree) -> Tree:
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


class SnapshotState(NamedTuple):
    """The last measurement, by its name."""

    measurement: Annotated[
        Shared, Field(first=lambda params, measure_name, measure: {measure_name: _blank(measure, _seen(params))})
    ]


@transform(source="Optax", example={"measure_name": "norm", "measure": norm}, homogeneity=1)
@wrapper(SnapshotState)
def snapshot(g, s, p, c, measure_name: str, measure: Callable[[Updates], Tree]):
    """Keep a measurement of the updates in the state, and pass them on.

        u = g
        measurement[measure_name] = measure(g)

    In a chain it sees what the members before it made of the gradient; `tree.get(state, measure_name)` reads it.

    Args:
      measure_name: the name of the measurement in the state.
      measure: a function of the updates that returns an array or a tree of arrays.

    >>> tx = gx.chain(gx.snapshot("norm", gx.global_norm), gx.adam(1e-3))
    >>> updates, state = tx.update(grads, tx.init(params), params)
    >>> round(float(gx.tree.get(state, "norm")), 4)
    2.4495

    State    SnapshotState(measurement). Memory: that of the measurement.
    Units    those of g.
    Shapes   any. The measurement has the shapes and dtypes that it would have of the parameters.
    Sharded  inside `shard_map` as unsharded, where functions of leaves return for the device's own part what they return for the
             whole.
    Source   Optax.
    Differs  before the first update the measurement is zero, where Optax has that of the parameters.
    Raises   StructureError: the shape of the measurement changes.
    """
    new = _recorded("snapshot", measure_name, measure(_seen(g)), s.measurement[measure_name])
    return g, s._replace(measurement={measure_name: new})


def _stages(measures: Mapping[str, Measure]) -> dict[str, GradientTransformation]:
    """Each measure as a transformation; a function of the updates is one without a state."""
    return {k: m if hasattr(m, "update") else stateless(lambda g, p, m=m: m(g)) for k, m in measures.items()}  # type: ignore[misc]


def _blanks(params: Params, measures: Mapping[str, Measure]) -> dict[str, Tree]:
    """Zeros like the measurements; without those that need an extra argument, of which nothing is known yet."""
    found, params = {}, _seen(params)
    for name, tx in _stages(measures).items():
        try:
            found[name] = _blank(lambda p, tx=tx: tx.update(p, tx.init(p), p)[0], params)
        except (MissingArgumentError, TypeError):
            continue
    return found


def _states(params: Params, measures: Mapping[str, Measure]) -> tuple[OptState, ...]:
    return tuple(tx.init(_seen(params)) for tx in _stages(measures).values())


class MonitorState(NamedTuple):
    """The last measurements by name, and the states of what measures them."""

    measurements: Annotated[Shared, Field(first=_blanks)]
    measure_states: Annotated[Inner, Field(first=_states, made=lambda measures: tuple(_stages(measures).values()), aside=True)]


def _check(owner: str, given: Mapping[str, Any]) -> None:
    for name, measure in given["measures"].items():
        if hasattr(measure, "update") or not callable(measure):
            check_transformation(measure, f"{owner}, measure {name!r}")


@wrapper(MonitorState, scope="elementwise", check=_check)
def monitor(g, s, p, c, measures: Mapping[str, Measure]):
    """Keep measurements of the updates in the state, and pass the updates on; a measurement may have a state of its own.

        u = g
        measurements[name] = measure(g)             of a function
        measurements[name], s = measure(g, s)       of a transformation, such as measure_with_ema

    `tree.get(state, name)` reads a measurement. Transformations get the parameters and the extra arguments.

    Args:
      measures: a dictionary from names to functions of the updates, or to transformations.

    >>> tx = gx.chain(gx.monitor({"norm": gx.global_norm}), gx.adam(1e-3))
    >>> updates, state = tx.update(grads, tx.init(params), params)
    >>> round(float(gx.tree.get(state, "norm")), 4)
    2.4495

    State    MonitorState(measurements, measure_states), laid out from `init` on as after the first update, so that it can be carried
             through a scan. Memory: that of the measurements.
    Units    those of g.
    Shapes   any. A measurement has the shapes and dtypes that it would have of the parameters.
    Source   Optax.
    Differs  in Optax `measurements` is empty before the first update, and the state cannot be scanned. A measurement that needs an extra
             argument is absent there still, for its shape is not known.
    Raises   StructureError: a measure is neither a transformation nor a function, or the shape of a measurement changes.
    """
    found, states, seen = {}, [], _seen(g)
    for (name, tx), old in zip(_stages(measures).items(), s.measure_states, strict=True):
        new, after = c.bind(tx).update(seen, old, _seen(p))
        before = s.measurements.get(name)
        found[name] = jax.tree.map(jnp.asarray, new) if before is None else _recorded("monitor", name, new, before)
        states.append(after)
    return g, s._replace(measurements=found, measure_states=tuple(states))


def _as_floats(tree: Tree) -> Tree:
    """Flags and whole numbers in float32."""
    real = lambda x: x if is_inexact(x.dtype) else x.astype(jnp.float32)
    return jax.tree.map(lambda x: real(jnp.asarray(x)), tree)


def _average(decay: EmaDecay, debias: bool, accumulator_dtype: DType | None) -> GradientTransformation:
    return chain(identity(), ema(decay, debias, accumulator_dtype))


def _first(params, measure, decay, debias, accumulator_dtype):
    return _average(decay, debias, accumulator_dtype).init(_blank(lambda g: _as_floats(measure(g)), _seen(params)))


@wrapper(Annotated[Inner, Field(made=_average, first=_first)])
def measure_with_ema(
    g, s, p, c, measure: Callable[[Updates], Tree], decay: EmaDecay[Hyper], debias: bool = True, accumulator_dtype: DType | None = None
):  # fmt: skip
    """Measure the updates, and return the exponential moving average of the measurement; for `monitor`.

        m   = measure(g)
        ema = decay ema + (1 - decay) m
        u   = ema / (1 - decay^t)              debias=False: ema

    Args:
      measure: a function of the updates that returns an array or a tree of arrays.
      decay: how much of the average stays at each update.
      debias: divide the average by 1 - decay^t, since it begins at 0.
      accumulator_dtype: the dtype of the average; None: the measurement's, float32 or wider.

    >>> tx = gx.chain(gx.monitor({"norm": gx.measure_with_ema(gx.global_norm, 0.9)}), gx.adam(1e-3))

    State    (EmptyState(), EmaState(count, ema)).
    Units    those of the measurement.
    Source   Optax.
    Differs  flags and whole numbers are averaged in float32 from the start; Optax begins in their own dtype and changes it.
    Raises   HyperparameterError: decay outside (-1, 1].
    """
    average = c.bind(_average(decay, debias, accumulator_dtype))
    none, before = s
    before = before._replace(ema=_as_floats(before.ema))  # Optax begins with the dtype of the measurement
    return average.update(_as_floats(measure(_seen(g))), (none, before))
