"""The vocabulary of annotations: what a state field holds, and what values a hyperparameter may take.

State fields     `Updates` (one array per leaf, like the parameter), `RealUpdates` (the same, real for complex leaves),
                 `Shared` (one value for the whole state), `Key` (a shared random key; the kernel sees `c.key`).
Hyperparameters  `Decay`, `Unit`, `Positive`, `NonNegative`, `Real`: data, a number, scalar array or schedule, with its range.
                 `Count`: a static whole number with its range. Anything else in a kernel's signature is static; a `Literal` lists
                 its possible values.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import jax
import jax.core
import numpy as np

from gradxform._errors import HyperparameterError

Array = jax.Array
PyTree = Any
ArrayTree = PyTree
Params = PyTree
OptState = PyTree
Schedule = Callable[[Any], Any]
"""A function of the number of completed updates."""


@dataclasses.dataclass(frozen=True)
class Field:
    """Marks what a state field holds."""

    kind: str


Updates = Annotated[Any, Field("leaf")]
RealUpdates = Annotated[Any, Field("real leaf")]
Shared = Annotated[Any, Field("shared")]
Key = Annotated[Any, Field("key")]


@dataclasses.dataclass(frozen=True)
class Range:
    """An interval in the usual notation, such as `[0, 1)`. It validates, documents and generates tests."""

    text: str
    low: float = dataclasses.field(init=False)
    high: float = dataclasses.field(init=False)

    def __post_init__(self):
        low, high = self.text[1:-1].split(",")
        object.__setattr__(self, "low", float(low))
        object.__setattr__(self, "high", float(high))

    def __contains__(self, x: Any) -> bool:
        above = x >= self.low if self.text[0] == "[" else x > self.low
        below = x <= self.high if self.text[-1] == "]" else x < self.high
        return bool(above and below)

    @property
    def is_fraction(self) -> bool:
        """Whether `1 - x` matters, so that it is carried along with x."""
        return (self.low, self.high) == (0.0, 1.0)


# To a type checker a hyperparameter is Any: a caller may pass a schedule where the kernel sees a scalar.
Hyper = Any
Decay = Annotated[Hyper, Range("[0, 1)")]
Unit = Annotated[Hyper, Range("[0, 1]")]
Positive = Annotated[Hyper, Range("(0, inf)")]
NonNegative = Annotated[Hyper, Range("[0, inf)")]
Real = Annotated[Hyper, Range("(-inf, inf)")]
Count = Annotated[int, Range("[1, inf)")]


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One argument of a kernel, optimizer or schedule, as its signature declares it."""

    name: str
    default: Any
    range: Range | None
    is_data: bool
    keyword_only: bool
    nullable: bool = False
    choices: tuple[Any, ...] = ()

    @property
    def required(self) -> bool:
        return self.default is inspect.Parameter.empty

    def check(self, owner: str, value: Any) -> None:
        """Raise `HyperparameterError` unless `value` is in range, or one of the choices. Tracers and schedules pass."""
        if self.choices and not any(value is x or (type(value) is type(x) and value == x) for x in self.choices):
            raise HyperparameterError(
                f"{owner}: `{self.name}` must be one of {', '.join(map(repr, self.choices))}, but got {value!r}."
            )
        if self.range is None or isinstance(value, jax.core.Tracer) or value is self.default or (value is None and self.nullable):
            return
        if self.is_data and callable(value):
            return
        problem = _problem(value, self)
        if problem:
            kinds = "a number, a scalar array or a schedule" if self.is_data else "a whole number"
            raise HyperparameterError(
                f"{owner}: `{self.name}` must be {kinds} in {self.range.text}, but got {value!r} ({problem})."
            )


def _problem(value: Any, parameter: Parameter) -> str:
    assert parameter.range is not None
    if isinstance(value, (bool, np.bool_)):
        return "a flag, not a number"
    if not parameter.is_data:
        whole = isinstance(value, (int, np.integer))
        return "" if whole and value in parameter.range else "out of range" if whole else f"a {type(value).__name__}"
    if not isinstance(value, (int, float, np.number, np.ndarray, jax.Array)):
        return f"a {type(value).__name__}"
    if np.shape(value) != ():
        return f"of shape {np.shape(value)}"
    if np.iscomplexobj(value):
        return "complex"
    x = float(value)
    if math.isnan(x) or x not in parameter.range:
        return "out of range"
    return ""


def _annotation(hint: Any) -> tuple[Any, Range | None]:
    """The bare type and the range of a type hint, looking through `| None`."""
    for candidate in (hint, *typing.get_args(hint)):
        if typing.get_origin(candidate) is Annotated:
            base, *marks = typing.get_args(candidate)
            for mark in marks:
                if isinstance(mark, Range):
                    return base, mark
    return hint, None


def _choices(hint: Any) -> tuple[Any, ...]:
    """The values that a `Literal` lists."""
    return typing.get_args(hint) if typing.get_origin(hint) is Literal else ()


@functools.cache
def parameters_of(fn: Callable[..., Any], skip: int = 0) -> Mapping[str, Parameter]:
    """The declared arguments of `fn`, without its first `skip`."""
    hints = typing.get_type_hints(fn, include_extras=True)
    found = {}
    for p in list(inspect.signature(fn).parameters.values())[skip:]:
        base, interval = _annotation(hints.get(p.name))
        is_data = interval is not None and base is not int
        keyword_only, nullable = p.kind is p.KEYWORD_ONLY, type(None) in typing.get_args(hints.get(p.name))
        found[p.name] = Parameter(p.name, p.default, interval, is_data, keyword_only, nullable, _choices(hints.get(p.name)))
    return found


def check_arguments(owner: str, parameters: Mapping[str, Parameter], values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if name in parameters:
            parameters[name].check(owner, value)
