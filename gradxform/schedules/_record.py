"""`schedule`: from an equation in k to a factory of records.

    equation(k, <hyperparameters>) -> value

`k` is the number of completed updates: an array of integers (or of floats, where a caller passes floats) that saturates at
2^31 - 1, as the optimizers' clocks do. The equation is written with `jax.numpy` and holds for every k >= 0 of any shape.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Concatenate, ParamSpec, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from gradxform._declare import Bound, declaration_of, declare, whole
from gradxform._errors import HyperparameterError
from gradxform._numerics import INT32_MAX, is_inexact, promote
from gradxform._parameters import Parameter, parameter_for, signature_of
from gradxform._types import Array, ArrayLike, Number, Range, Schedule, Tree
from gradxform.core._hyper import at_rank
from gradxform.core._transformation import Named, frozen, show
from gradxform.schedules._path import real

P = ParamSpec("P")
Equation = Callable[Concatenate[Array, P], ArrayLike]


class Duration(Range):
    """An interval of numbers of steps, which are whole or not, or infinite. A whole one stays whole, so that it is counted exactly."""


Steps = Annotated[Number, Duration("[0, inf]")]
Length = Annotated[Number, Duration("(0, inf]")]
AnySteps = Annotated[Number, Duration("[-inf, inf]")]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Record(Named):
    """A schedule as data: `record(k)` is its value after `k` completed updates. Values that are arrays have their axes after those of k.

    It prints as the call that makes an equal one, compares and hashes by value (arrays by their bytes, tracers by identity), and is
    pickled and copied by the name of its factory.
    """

    factory: Callable[..., Schedule]
    equation: Callable[..., Any]
    args: Mapping[str, Any]

    def __call__(self, k: ArrayLike) -> Array:
        k, declared = _clock(k), declaration_of(self.factory).parameters
        if k.ndim and jax.eval_shape(self, jax.ShapeDtypeStruct((), k.dtype)).ndim:
            return jax.vmap(self)(k)
        args = _of_one_rank(self.args)
        values = {name: x for name, x in args.items() if not isinstance(declared[name].range, Duration)}
        value = jnp.asarray(self.equation(k, **{**args, **{name: _widened(x) for name, x in values.items()}}))
        kinds = [x.dtype for x in (k, *jax.tree.leaves(values)) if hasattr(x, "dtype") and is_inexact(x.dtype)] or [value.dtype]
        return jnp.broadcast_to(value, k.shape or value.shape).astype(promote(jnp.float32, *kinds))

    def title(self) -> str:
        return self.equation.__name__

    def values(self) -> tuple[object, ...]:
        return tuple(self.args.values())

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Record) and self._key() == other._key())

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[object, ...]:
        return (self.factory, frozen(self.args))

    def __repr__(self) -> str:
        parameters = declaration_of(self.factory).parameters.values()
        chosen = [p for p in parameters if p.required or frozen(self.args[p.name]) != frozen(p.default)]
        return f"{self.equation.__name__}({', '.join(f'{p.name}={show(self.args[p.name])}' for p in chosen)})"

    def __reduce__(self) -> tuple[object, ...]:
        return functools.partial(self.factory, **self.args), ()


def _clock(k: ArrayLike) -> Array:
    """The count as an array in which steps can be subtracted and compared: at least int32, saturated."""
    k = jnp.asarray(k if isinstance(k, jax.Array) else np.minimum(k, np.int64(INT32_MAX)))
    return k.astype(promote(k.dtype, jnp.int32))


def _of_one_rank(args: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments, arrays among them with as many axes as the one that has most."""
    is_one = lambda x: isinstance(x, (jax.Array, np.ndarray)) and x.ndim > 0
    rank = max((x.ndim for x in args.values() if is_one(x)), default=0)
    return {name: at_rank(jnp.asarray(x), rank) if is_one(x) else x for name, x in args.items()}


def _widened(x: Tree) -> Tree:
    """An array, or those in a list or a dictionary, as numbers to calculate with. Not done sooner, so that no record holds a tracer it was
    not given."""
    if isinstance(x, (jax.Array, np.ndarray)):
        return real(jnp.asarray(x))
    several = isinstance(x, dict) or type(x) is tuple
    return jax.tree.map(lambda y: real(y) if isinstance(y, jax.Array) and is_inexact(y.dtype) else y, x) if several else x


def admit(owner: str, parameter: Parameter, value: object) -> Tree:
    """A hyperparameter as a record keeps it, or a `HyperparameterError`.

    NumPy's scalars become Python's, and 1 a 1.0 where it is a value; 1e4 steps are 10000. What is not data must be known before tracing.
    """
    counts, lasts = parameter.counts, isinstance(parameter.range, Duration)
    if counts and isinstance(value, Tracer):
        raise HyperparameterError(
            f"{owner}: `{parameter.name}` must be a whole number that is known before tracing, but got {show(value)}. "
            "Pass it to the traced function as a static argument."
        )
    known = isinstance(value, np.generic) or (
        lasts and isinstance(value, (np.ndarray, jax.Array)) and not isinstance(value, Tracer)
    )
    if known and getattr(value, "ndim", None) == 0:
        value = value.item()  # type: ignore[attr-defined]
    if lasts and isinstance(value, float) and value.is_integer():
        value = int(value)
    value = whole(value) if counts else value
    if parameter.is_data and callable(value):
        raise HyperparameterError(
            f"{owner}: `{parameter.name}` must be a number or an array, but got the schedule {show(value)}. "
            "To run one schedule after another use `join_schedules`."
        )
    parameter.check(owner, value)
    return float(value) if parameter.is_data and not lasts and type(value) is int else value


def admit_part(owner: str, name: str, value: object, hint: object) -> Tree:
    """An element of a list or a dictionary, admitted as an argument of its own with that annotation."""
    return admit(owner, parameter_for(name, hint), value)


@overload
def schedule(equation: Equation[P], /) -> Callable[P, Schedule]: ...
@overload
def schedule(*, settle: Callable[..., Mapping[str, Any]]) -> Callable[[Equation[P]], Callable[P, Schedule]]: ...
def schedule(
    equation: Callable[..., ArrayLike] | None = None, /, *, settle: Callable[..., Mapping[str, Any]] | None = None
) -> Callable[..., Any]:
    """Turn `def name(k, <hyperparameters>)`, a schedule's equation in k, into a factory `name(<hyperparameters>)` of records.

    Args:
      equation: (k, hyperparameters) -> value. Ranges in the annotations are validated when a record is made; a `Literal` lists
        the choices. Without a range a hyperparameter is static.
      settle: (the hyperparameters that it names) -> those that the record keeps in another form; it raises where they do not fit
        together.

    >>> @gx.kernels.schedule
    ... def harmonic(k, init_value: gx.Real):
    ...     return init_value / (1 + jnp.float32(k))
    >>> float(harmonic(1.0)(3))
    0.25
    """
    if equation is None:
        return functools.partial(_factory, settle=settle)
    return _factory(equation, settle=settle)


def _factory(equation: Callable[..., Any], settle: Callable[..., Mapping[str, Any]] | None) -> Callable[..., Schedule]:
    def make(bound: Bound) -> Schedule:
        kept = dict(bound.arguments)
        if settle is not None:
            kept.update(settle(**{n: kept[n] for n in signature_of(settle).parameters}))
        return Record(public, equation, kept)

    public = declare(equation, make, skip=1, returns=Schedule, admit=admit)
    return public
