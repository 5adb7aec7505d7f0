"""`get_hyperparams` and `set_hyperparams`: the hyperparameters of any chain, by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from gradxform._errors import HyperparameterError, StructureError, UnknownNameError
from gradxform._parameters import Parameter, real_parameter
from gradxform._types import Array, ArrayLike, Hyper, Number, OptState, Schedule, Updates
from gradxform.core import GradientTransformation
from gradxform.core._hyper import at_rank, evaluate, fits, is_schedule
from gradxform.core._parts import Known, Labels, walk
from gradxform.core._stage import Stage
from gradxform.core._transformation import Spec, check_transformation
from gradxform.schedules import constant_schedule
from gradxform.schedules._inject import injection_of


class Found(NamedTuple):
    """A hyperparameter, where it stands, its value, and the schedule that it follows, if any."""

    path: tuple[str, ...]
    name: str
    value: Array | float
    schedule: Schedule | None = None


class Reader:
    """The hyperparameters that one transformation holds itself, by name."""

    def __init__(self, tx: Known, state: OptState):
        self.spec = getattr(tx, "update", None)
        self.state = state
        of_a_part = isinstance(self.spec, Spec) and not isinstance(self.spec, Stage)
        self.in_state = not of_a_part and isinstance(getattr(state, "hyperparams", None), Mapping)

    def title(self) -> str:
        own = self.spec.name() if isinstance(self.spec, Spec) else type(self.state).__name__
        return own.removeprefix("scale_by_")

    def values(self) -> dict[str, Hyper]:
        """The numbers, arrays and schedules."""
        if self.in_state:
            return self.state.hyperparams
        if not isinstance(self.spec, Stage):
            return {}
        return {n: self.spec.args[n] for n, p in self.spec.kernel.parameters.items() if p.is_data and self.spec.args[n] is not None}

    def count(self) -> Array | None:
        """The completed updates, None without a clock."""
        if not isinstance(self.spec, Stage):
            return getattr(self.state, "count", None)
        self.spec.layout.read(self.state, self.spec.owner)
        return self.spec.layout.completed(self.state)

    def schedules(self) -> dict[str, Schedule]:
        """Those of them that follow a schedule."""
        if not self.in_state:
            return {n: x for n, x in self.values().items() if is_schedule(x)}
        injection = injection_of(self.spec)
        return dict(injection.schedules) if injection else {}

    def used(self, ahead: bool = False) -> dict[str, Array | float]:
        """The values that the last update used, or, `ahead`, those that the next will use; before the first these are the same."""
        values, injection = self.values(), injection_of(self.spec)
        if ahead and injection:
            states = self.state.hyperparams_states
            new = {n: jnp.asarray(injection.scheduled(n, states[n])) for n in injection.schedules}
            return {**self.state.hyperparams, **new}
        k = None if not values or self.in_state else self.count()
        if k is None:
            values = {n: x for n, x in values.items() if not is_schedule(x)}
        elif not ahead:
            k = jnp.maximum(k - 1, 0)
        return {n: evaluate(x, k, self.title(), n) for n, x in values.items()}

    def replaced(self, changes: Mapping[str, Hyper]) -> tuple[Callable[..., tuple[Updates, OptState]] | None, OptState]:
        """The transformation and its state with other values."""
        if self.in_state:
            return self.spec, self._with_state(changes)
        was = self.spec
        assert isinstance(was, Stage)  # nothing else has hyperparameters of its own
        old, declared, new = was.args, was.kernel.parameters, {}
        for name, value in changes.items():
            declared[name].check(was.owner, value)
            new[name] = constant_schedule(cast(Number, value)) if is_schedule(old[name]) and not is_schedule(value) else value
        spec = Stage(was.kernel, {**old, **new})
        spec.maker = was.maker
        if spec.layout is not was.layout:
            raise StructureError(
                f"set_hyperparams: {was!r:.200} with {', '.join(new)} so changed has a state of another layout (a schedule needs "
                "a clock). Make the new transformation, and carry the state over with `transfer_state`."
            )
        return spec, self.state

    def _with_state(self, changes: Mapping[str, Hyper]) -> OptState:
        injection = injection_of(self.spec)
        scheduled = injection.schedules if injection else getattr(self.state, "hyperparams_states", {})
        new = dict(self.state.hyperparams)
        for name, value in changes.items():
            if is_schedule(value) or name in scheduled:
                raise HyperparameterError(
                    f"set_hyperparams: `{name}` follows a schedule, or would; what `inject_hyperparams` keeps in the state is a number. "
                    "Inject the other kind of value, and carry the state over with `transfer_state`."
                )
            declared = injection.declared(name) if injection else real_parameter(name)
            new[name] = _in_place_of(new[name], cast(ArrayLike, value), self.title(), declared)
        return self.state._replace(hyperparams=new)


def _in_place_of(old: ArrayLike, value: ArrayLike, owner: str, declared: Parameter) -> ArrayLike:
    """A value for one in the state, in its dtype and its shape: in range, whole where that is, and no larger."""
    name, dtype = declared.name, jnp.result_type(old)
    if not jnp.issubdtype(dtype, jnp.complexfloating):
        declared.check(owner, value)
    inexact = jnp.issubdtype(dtype, jnp.integer) and jnp.issubdtype(jnp.result_type(value), jnp.inexact)
    if inexact and (isinstance(value, jax.core.Tracer) or np.any(np.asarray(value) % 1)):
        raise HyperparameterError(f"set_hyperparams: `{name}` in the state is a whole number, but got {value!r}.")
    if not fits(np.shape(value), np.shape(old)):
        raise HyperparameterError(
            f"set_hyperparams: `{name}` in the state has shape {np.shape(old)}, which the new value, of shape {np.shape(value)}, does not "
            "fit. Inject one of that shape, and carry the state over with `transfer_state`."
        )
    return jnp.broadcast_to(at_rank(jnp.asarray(value, dtype), np.ndim(old)), np.shape(old)) if hasattr(old, "dtype") else value


def hyperparams_of(tx: GradientTransformation, state: OptState, ahead: bool = False) -> Iterator[Found]:
    """The hyperparameters in the order of the stages, as the last update used them, or as the next will."""
    met: list[tuple[str, ...]] = []
    seen: list[tuple[tuple[str, ...], dict[str, Array | float], dict[str, Schedule]]] = []

    def visit(labels: Labels, tx: Known, state: OptState) -> tuple[Known, OptState, bool]:
        reader = Reader(tx, state)
        used = reader.used(ahead)
        if used:
            path = (*labels, reader.title()) if not reader.in_state else labels
            met.append(path)
            seen.append((path, used, reader.schedules()))
        return tx, state, not reader.in_state

    walk(visit, tx, state)
    for i, (path, used, schedules) in enumerate(seen):
        if met.count(path) > 1:
            path = (*path[:-1], f"{path[-1] if path else ''}[{met[:i].count(path)}]")
        for name, value in used.items():
            yield Found(path, name, value, schedules.get(name))


def named(found: Sequence[Found]) -> list[str]:
    """A name for each: its own, or where several have that, with as much of their paths as tells them apart."""
    shown = []
    for one in found:
        paths = [other.path for other in found if other.name == one.name]
        common = set.intersection(*map(set, paths))
        short = [tuple(step for step in path if step not in common) for path in paths]
        path = () if len(paths) == 1 else one.path
        if len(paths) > 1 and len(set(short)) == len(paths):
            path = tuple(step for step in one.path if step not in common)
        shown.append(".".join((*path, one.name)))
    return shown


def get_hyperparams(tx: GradientTransformation, state: OptState) -> dict[str, Array | float]:
    """The hyperparameters that the last update used, by name.

        value = schedule(max(count - 1, 0))         count updates are complete
        value = what was given                      where it is a number or an array

        get_hyperparams(tx, state)["learning_rate"]

    Before the first update they are those that it will use. It may stand in a compiled step, where scheduled values are traced. Chains,
    masks, partitions and wrappers are looked through; with `inject_hyperparams` they are read from the state, also from Optax's.
    Inside `accumulate` the count is that of the inner updates.

    A name that several stages have comes with what tells them apart: the label in a partition or the name in a `named_chain`, and the
    stage's name without `scale_by_`: `head.learning_rate`, `adam.b1`. Of equal stages in one chain the first is `trace[0]`.

    Args:
      tx: the transformation; what another library made by a closure is opaque.
      state: its state.

    >>> tx = gx.adam(1e-3)
    >>> gx.get_hyperparams(tx, tx.init(params))["learning_rate"]
    0.001

    Returns:
      A dictionary in the order of the stages. A hyperparameter that is None is left out.

    Source   optax #206, #312, PR #363.
    """
    check_transformation(tx, "get_hyperparams")
    found = list(hyperparams_of(tx, state))
    return {name: one.value for name, one in zip(named(found), found, strict=True)}


def set_hyperparams(
    tx: GradientTransformation, state: OptState, /, **values: float | jax.Array | Callable[[Any], Any]
) -> tuple[GradientTransformation, OptState]:
    """The transformation and its state with other hyperparameters, named as `get_hyperparams` names them.

        tx, state = set_hyperparams(tx, state, learning_rate=1e-4)
        tx, state = set_hyperparams(tx, state, **{"head.learning_rate": 1e-4})

    A number or a schedule in a transformation is part of it: it is replaced there, and the state is as it was. In the place of a schedule
    a number becomes a constant schedule, so that the clock goes on. One that `inject_hyperparams` keeps in the state is replaced in the
    state, in the dtype and the shape that it had, and the transformation is as it was.

    It may stand in a compiled step, before the update: then the value is an input of the step, and to change it compiles nothing.

        def step(params, state, learning_rate):
            now, state = set_hyperparams(tx, state, learning_rate=learning_rate)
            u, state = now.update(gradients, state, params)

    Args:
      tx: the transformation.
      state: its state.
      values: numbers, arrays, tracers or schedules by name.

    >>> tx = gx.adam(1e-3)
    >>> tx, state = gx.set_hyperparams(tx, tx.init(params), learning_rate=1e-4)

    Returns:
      (tx, state).

    Source   the wish of optax #577, #353.
    Raises   UnknownNameError: no hyperparameter has that name, or more than one has. HyperparameterError: out of range, or a schedule that
             is kept in the state, or a larger array than is kept there. StructureError: a schedule where the state has no clock for it
             (`transfer_state` gives it one).
    """
    check_transformation(tx, "set_hyperparams")
    found = list(hyperparams_of(tx, state))
    names = named(found)
    for name in values:
        if name not in names:
            raise UnknownNameError(_unknown(name, names))
    changes = iter([{f.name: values[n]} if n in values else {} for n, f in zip(names, found, strict=True)])

    def visit(labels: Labels, tx: Known, state: OptState) -> tuple[Known, OptState, bool]:
        reader, mine = Reader(tx, state), {}
        for _ in reader.used():
            mine |= next(changes)
        if mine:
            spec, state = reader.replaced(mine)
            tx = spec.public() if isinstance(spec, Spec) and spec is not reader.spec else tx
        return tx, state, not reader.in_state

    return walk(visit, tx, state)


def _unknown(name: str, names: Sequence[str]) -> str:
    several = [n for n in names if n.endswith("." + name)]
    near = several or difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    hint = f"Several have: {', '.join(several)}." if several else f"Did you mean {near[0]!r}?" if near else ""
    return f"set_hyperparams: there is no single hyperparameter {name!r}. {hint} There are {', '.join(names) or 'none'}."
