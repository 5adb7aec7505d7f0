"""`inject_hyperparams`: hyperparameters in the state, where a step can read them and a loop can change them."""

from __future__ import annotations

import contextlib
import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, NamedTuple, Protocol, TypeGuard

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from gradxform._declare import bind, declaration_of
from gradxform._errors import HyperparameterError
from gradxform._numerics import concretely, increment, promote, real_part, round_to
from gradxform._parameters import Parameter, check_arguments, real_parameter, remembered, unchecked
from gradxform._types import Array, ArrayLike, Clock, DType, Field, Inner, OptState, Params, Schedule, Shared, Tree
from gradxform.core import GradientTransformation, GradientTransformationExtraArgs, wrapper
from gradxform.core._holes import dtype_of, flatten, is_array
from gradxform.core._hyper import called, is_schedule, real_value
from gradxform.core._labels import Labels
from gradxform.core._stage import Stage
from gradxform.core._state import like_before
from gradxform.core._transformation import frozen

Factory = Callable[..., GradientTransformation]


class InjectHyperparamsState(NamedTuple):
    """The state that `inject_hyperparams` had before schedules could have one; kept for old checkpoints."""

    count: Clock
    hyperparams: Shared
    inner_state: Inner


class StatefulSchedule(Protocol):
    """A schedule with a state of its own, which may depend on the extra arguments of `update`, such as `value=`."""

    def init(self) -> Tree:
        """The first state."""

    def update(self, state: Tree, **extra_args: Tree) -> Tree:
        """The next state."""

    def __call__(self, state: Tree, **extra_args: Tree) -> ArrayLike:
        """The value."""
        ...


class WrappedScheduleState(NamedTuple):
    """Updates so far."""

    count: Clock


class WrappedSchedule:
    """A schedule as a `StatefulSchedule`: its state is the count, from 0."""

    def __init__(self, schedule_fn: Schedule):
        self.schedule_fn = schedule_fn

    def init(self) -> WrappedScheduleState:
        return WrappedScheduleState(jnp.zeros([], jnp.int32))

    def update(self, state: WrappedScheduleState, **extra_args: object) -> WrappedScheduleState:
        del extra_args
        return WrappedScheduleState(increment(state.count))

    def __call__(self, state: WrappedScheduleState, **extra_args: object) -> ArrayLike:
        del extra_args
        return self.schedule_fn(state.count)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WrappedSchedule) and self.schedule_fn == other.schedule_fn

    def __hash__(self) -> int:
        return hash((WrappedSchedule, self.schedule_fn))

    def __repr__(self) -> str:
        return repr(self.schedule_fn)


class Injection:
    """A factory of transformations and its arguments: which of them are static, numbers for the state, or schedules."""

    def __init__(self, factory: Factory, static_args: frozenset[str], dtype: DType | None, args: Mapping[str, Any]):
        self.factory, self.static_args, self.dtype, self.args = factory, static_args, dtype, dict(args)
        self.owner = f"inject_hyperparams({getattr(factory, '__name__', repr(factory))})"
        kinds = {name: _kind(name, value, factory, static_args) for name, value in args.items()}
        self.static = {name: value for name, value in args.items() if kinds[name] == "static"}
        self.numbers = {name: value for name, value in args.items() if kinds[name] == "number"}
        self.schedules = {name: _stateful(value) for name, value in args.items() if kinds[name] == "schedule"}
        self.ranged = {name: p for name, p in _ranged(factory).items() if p.range}
        check_arguments(self.owner, self.ranged, self.numbers)

    def _key(self) -> tuple[Any, ...]:
        return (frozen(self.factory), self.static_args, frozen(self.dtype), frozen(self.args))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Injection) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def call(self) -> tuple[str, Mapping[str, Any]]:
        """The function and the arguments that make an equal one."""
        parameters = inspect.signature(self.factory).parameters
        default = lambda name: frozen(parameters[name].default) if name in parameters else inspect.Parameter.empty
        shown = {name: value for name, value in self.args.items() if frozen(value) != default(name)}
        return self.owner, shown

    def declared(self, name: str) -> Parameter:
        """What the factory declares of a number that is in the state."""
        return real_parameter(name, getattr(_ranged(self.factory).get(name), "range", None))

    def inner(self, hyperparams: Mapping[str, Any]) -> GradientTransformation:
        """The inner transformation with these hyperparameters."""
        with unchecked():
            return self.factory(**self.static, **hyperparams)

    def dtype_for(self, tree: Tree) -> DType:
        """The dtype of the hyperparameters beside these parameters: float32 or wider."""
        if self.dtype is not None:
            return jnp.dtype(self.dtype)
        kinds = {real_part(dtype_of(x)) for x in flatten(tree)[0] if is_array(x)}
        return promote(jnp.float32, *kinds)

    def states(self) -> dict[str, OptState]:
        """The first states of the schedules."""
        return {name: f.init() for name, f in self.schedules.items()}

    def values(self, params: Params) -> dict[str, Array]:
        """The first hyperparameters."""
        dtype, states = self.dtype_for(params), self.states()
        values = {name: _settled(x, dtype, copy=True) for name, x in self.numbers.items()}
        return values | {name: _settled(self.scheduled(name, states[name]), dtype, scheduled=True) for name in self.schedules}

    def scheduled(self, name: str, state: OptState, **extra: Tree) -> ArrayLike:
        """The value of a schedule."""
        value = called(self.owner, name, self.schedules[name], state, **extra)
        return real_value(self.owner, name, value) if name in self.ranged else value


def _first(params, injection):
    known = not any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(injection.numbers))
    with concretely() if known else contextlib.nullcontext():  # what begins may depend on their values
        values = injection.values(params)
    return injection.inner(values).init(params)


def _made(s, injection):
    return injection.inner(injection.values(()) if s is None else s.hyperparams)


def _states_at(inner_step, value, injection):
    known = {name for name, f in injection.schedules.items() if isinstance(f, WrappedSchedule)}
    return {name: like_before(WrappedScheduleState(inner_step), x) if name in known else x for name, x in value.items()}


def _values_at(inner_step, value, injection):
    last, new = jnp.maximum(jnp.asarray(inner_step) - 1, 0), dict(value)
    for name, f in injection.schedules.items():
        if isinstance(f, WrappedSchedule):
            new[name] = jnp.asarray(f.schedule_fn(last)).astype(value[name].dtype)
    return new


class InjectStatefulHyperparamsState(NamedTuple):
    """Updates so far, the hyperparameters by name as they were used last, the states of the schedules, the inner state."""

    count: Annotated[Clock, Field(at=lambda inner_step: inner_step)]
    hyperparams: Annotated[Shared, Field(first=lambda params, injection: injection.values(params), at=_values_at)]
    hyperparams_states: Annotated[Shared, Field(first=lambda injection: injection.states(), at=_states_at)]
    inner_state: Annotated[Inner, Field(first=_first, made=_made)]


@wrapper(InjectStatefulHyperparamsState, scope="elementwise", call=lambda injection: injection.call())
def _injected(g, s, p, c, injection: Injection):
    """A transformation made anew at every update, of the hyperparameters in the state."""
    dtype, hyper, states = injection.dtype_for(g if p is None else p), {}, {}
    for name, old in s.hyperparams.items():
        hyper[name] = _settled(old, dtype)
    for name, f in injection.schedules.items():
        value = _settled(injection.scheduled(name, s.hyperparams_states[name], **c.extra), dtype, scheduled=True)
        hyper[name] = round_to(value, jnp.result_type(s.hyperparams[name]))
        states[name] = f.update(s.hyperparams_states[name], **c.extra)
    u, inner_state = c.bind(injection.inner(hyper)).update(g, s.inner_state, p)
    return u, s._replace(hyperparams=hyper, hyperparams_states=states, inner_state=inner_state)


def injection_of(spec: object) -> Injection | None:
    """What was injected, if that is what an `update` does."""
    return spec.args["injection"] if isinstance(spec, Stage) and spec.kernel is _injected.kernel else None


def _stateful(value: Schedule | StatefulSchedule) -> StatefulSchedule:
    """A schedule of either kind as one with a state."""
    return value if _is_stateful(value) else WrappedSchedule(value)


def _is_stateful(value: object) -> TypeGuard[StatefulSchedule]:
    return callable(value) and all(callable(getattr(value, method, None)) for method in ("init", "update"))


def _settled(value: ArrayLike, dtype: DType, copy: bool = False, scheduled: bool = False) -> jax.Array:
    """A hyperparameter as an array: of `dtype`, unless it is an array that says itself what it is.

    A schedule of whole numbers, and a whole number put in the place of a float, become floats.
    """
    if isinstance(value, jax.Array) and not (value.weak_type or (scheduled and jnp.issubdtype(value.dtype, jnp.integer))):
        return jnp.array(value, copy=True) if copy else value
    if jnp.issubdtype(jnp.result_type(value), jnp.complexfloating):
        dtype = promote(dtype, jnp.complex64)
    return jnp.array(value, dtype, copy=True) if copy else jnp.asarray(value, dtype)


def _kind(name: str, value: object, factory: Factory, static_args: frozenset[str]) -> str:
    """Whether an argument is a `number` for the state, a `schedule`, or `static`."""
    said = _annotated(factory).get(name)
    plain = value is None or isinstance(value, (bool, np.bool_, str, type, Labels)) or _is_key(value)
    if name in static_args or plain or said == "static":
        return "static"
    if is_schedule(value):
        return "schedule"
    if isinstance(value, (int, np.integer)) and said != "number":
        parameter = inspect.signature(factory).parameters.get(name)
        return "number" if parameter is not None and isinstance(parameter.default, float) else "static"
    return "number" if isinstance(value, (int, float, complex, np.number, np.ndarray, jax.Array)) else "static"


def _is_key(value: object) -> bool:
    """A random key, typed or raw."""
    if not isinstance(value, jax.Array):
        return False
    return jnp.issubdtype(value.dtype, jax.dtypes.prng_key) or (value.dtype == jnp.uint32 and value.shape[-1:] in ((2,), (4,)))


def _ranged(factory: Factory) -> Mapping[str, Parameter]:
    """The arguments that a factory declares by our annotations."""
    try:
        declared = declaration_of(factory).parameters
    except Exception:  # an annotation of a foreign function that cannot be evaluated says nothing
        return {}
    return declared if any(p.range for p in declared.values()) else {}


@remembered
def _annotated(factory: Factory) -> Mapping[str, str | None]:
    """What the annotations say of the arguments: `number`, `static` (so is every one of ours without a range), or nothing."""
    if isinstance(factory, functools.partial):
        return _annotated(factory.func)
    ranged = _ranged(factory)
    if ranged:
        return {n: "number" if p.is_data else "static" for n, p in ranged.items()}
    try:
        return {n: _says(hint) for n, hint in typing.get_type_hints(factory).items()}
    except Exception:
        return {}


def _says(hint: object) -> str | None:
    parts = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    if any(part in (float, complex, jax.Array, np.ndarray) for part in parts):
        return "number"
    static = any(part in (int, bool, str) or typing.get_origin(part) is Callable for part in parts)
    return "static" if static else None


def inject_hyperparams(
    inner_factory: Callable[..., GradientTransformation],
    static_args: str | Iterable[str] = (),
    hyperparam_dtype: DType | None = None,
) -> Callable[..., GradientTransformationExtraArgs]:
    """Keep the hyperparameters of a transformation in its state.

        tx = inject_hyperparams(adam)(learning_rate=schedule, b1=0.9)
        state.hyperparams["learning_rate"]                              # what the last update used; what the first will
        state.hyperparams["b1"] = 0.95                                  # from the next update on

        h_i  = schedule_i(k)            k updates are complete, from 0; or as set in the state
        u, s = inner_factory(h)(g, s)

    What is in the state is an input of a compiled step: changing it compiles nothing. `set_hyperparams` does it in the dtype that is
    there. To set a scheduled one in the state has no effect: the schedule says what it is at every update; `set_hyperparams` refuses.

    In the state are numbers, arrays, and schedules of either kind. Static are: what `static_args` names; flags, strings, dtypes, random
    keys and everything else without a number; arguments that are annotated as whole numbers, and Python's whole numbers unless the
    annotation or the default is a float; and a function where the annotation has no place for a number, such as a mask.

    Args:
      inner_factory: a function of hyperparameters that makes a transformation, ours or of another library.
      static_args: name or names of arguments to leave out of the state.
      hyperparam_dtype: the dtype of those in the state. None: float32, or wider if the parameters are.

    >>> tx = gx.inject_hyperparams(gx.adam)(learning_rate=gx.linear_schedule(0.0, 1e-3, 100))
    >>> float(tx.init(params).hyperparams["learning_rate"])
    0.0

    Returns:
      A function of the same arguments, each of which may be a schedule or a `StatefulSchedule`.

    State    InjectStatefulHyperparamsState(count, hyperparams, hyperparams_states, inner_state). Memory: that of inner.
    Units    those of inner.
    Shapes   those of inner.
    Source   Optax.
    Differs  hyperparameters are never rounded to the parameters' bfloat16 (there 0.999 is 1 and Adam's first update NaN); an array that
             is not weakly typed stays what it is. Whole numbers are static; Optax traces them. A schedule of whole numbers gives floats.
             Dtypes and masks need not be named as static. The state's leaves are arrays of one dtype, first and last.
    Raises   ValueError: `static_args` names what is not an argument.
    """
    if not callable(inner_factory):
        raise HyperparameterError(
            f"inject_hyperparams: expected a function of hyperparameters, but got {inner_factory!r:.200}. Give the function itself: "
            "`inject_hyperparams(adam)(learning_rate=1e-3)`."
        )
    static = frozenset([static_args] if isinstance(static_args, str) else static_args)
    signature = inspect.signature(inner_factory)
    if not static <= set(signature.parameters):
        raise HyperparameterError(
            f"inject_hyperparams: `static_args` must name arguments of {getattr(inner_factory, '__name__', inner_factory)}, which are "
            f"{', '.join(signature.parameters)}, but got {', '.join(sorted(static - set(signature.parameters)))}."
        )

    @functools.wraps(inner_factory)
    def make(*args: object, **kwargs: object) -> GradientTransformationExtraArgs:
        bound = bind(getattr(inner_factory, "__name__", "inject_hyperparams"), inner_factory, args, kwargs)
        given = {}
        for name, value in bound.arguments.items():
            rest = signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD
            given |= value if rest else {name: value}
        return _injected(Injection(inner_factory, static, hyperparam_dtype, given))

    return make


def inject_stateful_hyperparams(
    inner_factory: Callable[..., GradientTransformation],
    static_args: str | Iterable[str] = (),
    hyperparam_dtype: DType | None = None,
) -> Callable[..., GradientTransformationExtraArgs]:
    """The same as `inject_hyperparams`, under the name that it once had.

    Args:
      inner_factory: a function of hyperparameters that makes a transformation, ours or of another library.
      static_args: name or names of arguments to leave out of the state.
      hyperparam_dtype: the dtype of those in the state. None: float32, or wider if the parameters are.

    >>> tx = gx.inject_stateful_hyperparams(gx.adam)(learning_rate=1e-3)
    """
    return inject_hyperparams(inner_factory, static_args, hyperparam_dtype)
