"""Arguments as a signature declares them: range, choices, parts, and the check of a value."""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import functools
import inspect
import math
import typing
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, ParamSpec, TypeVar

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from gradxform._errors import HyperparameterError
from gradxform._messages import brief
from gradxform._types import READS_CLOCK, STATIC, ForEngine, PerLeaf, Range, Schedule

P = ParamSpec("P")
Made = TypeVar("Made")
_checked: contextvars.ContextVar[bool] = contextvars.ContextVar("checked", default=True)


@contextlib.contextmanager
def unchecked() -> Iterator[None]:
    """Let every value pass, as one does that is traced: a schedule's, for one."""
    token = _checked.set(False)
    try:
        yield
    finally:
        _checked.reset(token)


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One argument of a kernel, optimizer or schedule, as its signature declares it."""

    name: str
    default: object
    range: Range | None
    is_data: bool
    keyword_only: bool
    nullable: bool = False
    choices: tuple[object, ...] = ()
    parts: tuple[Parameter, ...] = ()
    any_number: bool = False
    per_leaf: PerLeaf | None = None
    reads_clock: bool = False
    functions: bool = False
    engine: str = ""
    counts: bool = False

    @property
    def required(self) -> bool:
        return self.default is inspect.Parameter.empty

    def check(self, owner: str, value: object) -> None:
        """Raise `HyperparameterError` unless `value` is in range, or one of the choices. Tracers and schedules pass."""
        if not _checked.get():
            return
        named = [x for x in jax.tree.leaves(value) if isinstance(x, str)] if self.per_leaf else [value]
        odd = [x for x in named if not any(x is y or (type(x) is type(y) and x == y) for y in self.choices)]
        if self.choices and odd:
            raise HyperparameterError(
                f"{owner}: `{self.name}` must be one of {', '.join(map(repr, self.choices))}, but got {brief(odd[0])}."
            )
        if self.engine:
            self._check_engine(owner, value)
        if self.parts and not (value is None and self.nullable):
            self._check_parts(owner, value)
        if self.range is None or isinstance(value, jax.core.Tracer) or value is self.default or (value is None and self.nullable):
            return
        if callable(value) and (self.is_data or self.functions):
            return
        problem = _problem(value, self)
        if problem:
            hint = f" {FOR_INIT}" if is_for_init(value) else ""
            kinds = "a number, an array or a schedule" if self.is_data else "a whole number" if self.counts else "a number"
            raise HyperparameterError(
                f"{owner}: `{self.name}` must be {kinds} in {self.range.text}, but got {brief(value)} ({problem}).{hint}"
            )

    def _check_engine(self, owner: str, value: object) -> None:
        names = value if isinstance(value, tuple) else (value,)
        if self.engine in ("spread", "deal") and value is not None and not (names and all(isinstance(x, str) for x in names)):
            raise HyperparameterError(
                f"{owner}: `{self.name}` must be the name of a mesh's axis, a tuple of such names or None, but got {brief(value)}."
            )
        if self.engine in WHOLE_FOR_ENGINES and not (value is None or callable(value) or _is_count(value)):
            raise HyperparameterError(f"{owner}: `{self.name}` must be a whole number from 1 on, but got {brief(value)}.")
        if self.engine == "wire" and value is not None and not _is_real_dtype(value):
            raise HyperparameterError(
                f"{owner}: `{self.name}` must be a real dtype such as jnp.bfloat16, or None, but got {brief(value)}."
            )

    def _check_parts(self, owner: str, value: object) -> None:
        given = value if isinstance(value, (tuple, list)) else ()
        if not (given if self.any_number else len(given) == len(self.parts)):
            number = "one or more" if self.any_number else len(self.parts)
            raise HyperparameterError(f"{owner}: `{self.name}` must be a tuple of {number}, but got {brief(value)}.")
        for part, x in zip(self.parts * (len(given) if self.any_number else 1), given, strict=True):
            if part.is_data and callable(x) and not part.functions:
                raise HyperparameterError(f"{owner}: `{part.name}` cannot be a schedule, but got {brief(x)}. Give a number.")
            part.check(owner, x)


WHOLE_FOR_ENGINES = ("every", "start", "block_size", "merge_dims")


def _is_count(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and bool(value >= 1)


def _is_real_dtype(value: object) -> bool:
    try:
        return bool(jnp.issubdtype(jnp.dtype(value), jnp.floating))  # type: ignore[arg-type]
    except TypeError:
        return False


FOR_INIT = "The parameters are for `init`: `state = tx.init(params)`."


def is_for_init(value: object) -> bool:
    """Whether what was given for a hyperparameter looks like the parameters, as PyTorch's optimizers take them."""
    return isinstance(value, (dict, list, tuple, Iterator))


def _problem(value: object, parameter: Parameter) -> str:
    assert parameter.range is not None
    if isinstance(value, (bool, np.bool_)):
        return "a flag, not a number"
    if parameter.counts:
        whole = isinstance(value, (int, np.integer))
        return "" if whole and value in parameter.range else "out of range" if whole else f"a {type(value).__name__}"
    kinds = (int, float, np.number) if not parameter.is_data else (int, float, np.number, np.ndarray, jax.Array)
    if not isinstance(value, kinds):
        return f"a {type(value).__name__}"
    if np.iscomplexobj(value):
        return "complex"
    if isinstance(value, (np.ndarray, jax.Array)) and not any(jnp.issubdtype(value.dtype, kind) for kind in (np.number, np.bool_)):
        return f"of dtype {value.dtype}"
    x = np.asarray(value).astype(float)
    ends = (float(x.min()), float(x.max())) if x.size else ()  # of an interval every element is inside if these are
    wrong = [e for e in ends if math.isnan(e) or e not in parameter.range]
    return "" if not wrong else f"{wrong[0]:g} is out of range" if x.ndim else "out of range"


def _annotation(hint: object) -> tuple[object, Range | None]:
    """The bare type and the range of a type hint, looking through `| None` and other marks."""
    inside = typing.get_args(hint)
    if typing.get_origin(hint) is Annotated:
        found = next((mark for mark in inside[1:] if isinstance(mark, Range)), None)
        inside, base = inside[:1], inside[0]
        if found is not None:
            return base, found
    for candidate in () if typing.get_origin(hint) is tuple else inside:
        base, found = _annotation(candidate)
        if found is not None:
            return base, found
    return hint, None


def _choices(hint: object) -> tuple[object, ...]:
    """The values that a `Literal` lists, marked or not."""
    hint = typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint
    return typing.get_args(hint) if typing.get_origin(hint) is Literal else ()


def remembered(f: Callable[P, Made]) -> Callable[P, Made]:
    """f, which says something of a function, once for each; what it says must not hold that function, and dies with it."""
    said: weakref.WeakKeyDictionary[Any, dict[Any, Made]] = weakref.WeakKeyDictionary()

    @functools.wraps(f)
    def once(*args: P.args, **kwargs: P.kwargs) -> Made:
        key = (args[1:], *kwargs.items())
        try:
            return said[args[0]][key]
        except (KeyError, TypeError):
            made = f(*args, **kwargs)
        with contextlib.suppress(TypeError):  # it cannot be hashed, or not be referred to weakly
            said.setdefault(args[0], {})[key] = made
        return made

    return once


signature_of = remembered(inspect.signature)  # read when a function is first called, not when it is defined


@remembered
def parameters_of(fn: Callable[..., Any], skip: int = 0) -> Mapping[str, Parameter]:
    """The declared arguments of `fn`, without its first `skip`."""
    hints = typing.get_type_hints(fn.func if isinstance(fn, functools.partial) else fn, include_extras=True)
    arguments = list(inspect.signature(fn).parameters.values())[skip:]
    return {p.name: parameter_for(p.name, hints.get(p.name), p.default, p.kind is p.KEYWORD_ONLY) for p in arguments}


def parameter_for(name: str, hint: object, default: object = inspect.Parameter.empty, keyword_only: bool = False) -> Parameter:
    """An argument of that annotation."""
    base, interval = _annotation(hint)
    bare = typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint
    inside = typing.get_args(bare)
    marks = [mark for part in (hint, bare, *inside) for mark in getattr(part, "__metadata__", ())]
    counts = interval is not None and base is int
    is_data = interval is not None and not counts and STATIC not in marks
    parts, any_number = (), False
    if typing.get_origin(hint) is tuple:
        any_number = Ellipsis in inside
        parts = (
            (parameter_for(name, inside[0]),)
            if any_number
            else tuple(parameter_for(f"{name}[{i}]", x) for i, x in enumerate(inside))
        )
    per_leaf = next((mark for mark in marks if isinstance(mark, PerLeaf)), None)
    nullable, reads_clock = type(None) in inside, READS_CLOCK in marks
    engine = next((mark.what for mark in marks if isinstance(mark, ForEngine)), "")
    functions = any(x is Schedule or typing.get_origin(x) is Callable for x in (*inside, *typing.get_args(base)))
    choices = _choices(hint if per_leaf is None else per_leaf.of)
    return Parameter(
        name, default, interval, is_data, keyword_only, nullable, choices, parts, any_number, per_leaf, reads_clock, functions, engine,
        counts,
    )  # fmt: skip


def real_parameter(name: str, interval: Range | None = None, nullable: bool = False) -> Parameter:
    """An argument that must be a number, or an array of numbers, in the interval; without one in any, but not NaN."""
    interval = interval or Range("[-inf, inf]")
    return Parameter(name, inspect.Parameter.empty, interval, is_data=True, keyword_only=False, nullable=nullable)


def check_arguments(owner: str, parameters: Mapping[str, Parameter], values: Mapping[str, object]) -> None:
    for name, value in values.items():
        if name in parameters:
            parameters[name].check(owner, value)
