"""The decorator that every dialect's functions wear: it checks their arguments under the name `system.function`, and registers them."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

from gradxform._errors import HyperparameterError
from gradxform._lazy import load
from gradxform._types import Parameter, Range, check_arguments, parameters_of

F = TypeVar("F", bound=Callable[..., Any])


class Each:
    """Marks an argument that is a sequence of hyperparameters, with the range of each."""

    def __init__(self, *ranges: str):
        self.ranges = tuple(Range(text) for text in ranges)

    def check(self, owner: str, name: str, value: Any, default: Any) -> None:
        """Raise `HyperparameterError` unless `value` has that many members, each in its range. None is allowed where it is a default."""
        texts = ", ".join(r.text for r in self.ranges)
        if not isinstance(value, (tuple, list)) or len(value) != len(self.ranges):
            raise HyperparameterError(
                f"{owner}: `{name}` must be a sequence of {len(self.ranges)} numbers, scalar arrays or schedules in {texts}, "
                f"but got {value!r}."
            )
        for i, (x, usual, interval) in enumerate(zip(value, default, self.ranges, strict=True)):
            Parameter(f"{name}[{i}]", usual, interval, is_data=True, keyword_only=False).check(owner, x)


Betas = Annotated[Any, Each("[0, 1)", "[0, 1)")]


@dataclasses.dataclass(frozen=True)
class DialectEntry:
    """What is known about one function of a dialect.

    Attributes:
      system: the dialect, such as `torch`.
      name: the function.
      make: the function itself.
      core: the core optimizer that it corresponds to; None if there is none.
      example: arguments of a typical instance, for tests and the documentation.
      ndim: the number of axes that its leaves must have, if not any.
    """

    system: str
    name: str
    make: Callable[..., Any]
    core: str | None
    example: Mapping[str, Any]
    ndim: int | None

    def __call__(self, **overrides: Any) -> Any:
        return self.make(**{**self.example, **overrides})


SYSTEMS = ("keras", "mxnet", "neon", "torch")
_ENTRIES: dict[tuple[str, str], DialectEntry] = {}


def entries(system: str | None = None) -> list[DialectEntry]:
    """All functions of one dialect, or of all, by system and name."""
    load(*(f"gradxform.dialects.{known}" for known in SYSTEMS))
    return [e for key, e in sorted(_ENTRIES.items()) if system in (None, key[0])]


def dialect(
    system: str,
    *,
    core: str | None = None,
    example: Mapping[str, Any] | None = None,
    ndim: int | None = None,
    check: Callable[[str, Mapping[str, Any]], None] | None = None,
) -> Callable[[F], F]:
    """Check a function's arguments against their annotations, as `system.function`, and register it.

    Args:
      system: the dialect.
      core: the core optimizer that it corresponds to.
      example: arguments of a typical instance.
      ndim: the number of axes that its leaves must have.
      check: called with the full name and all arguments, for what the arguments must be together.
    """

    def decorate(fn: F) -> F:
        owner, signature = f"{system}.{fn.__name__}", inspect.signature(fn)
        sequences = _sequences(fn)

        @functools.wraps(fn)
        def make(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind(*args, **kwargs)
            check_arguments(owner, parameters_of(fn), bound.arguments)
            for name, each in sequences.items():
                if name in bound.arguments:
                    each.check(owner, name, bound.arguments[name], signature.parameters[name].default)
            bound.apply_defaults()
            if check is not None:
                check(owner, bound.arguments)
            return fn(*bound.args, **bound.kwargs)

        _ENTRIES[system, fn.__name__] = DialectEntry(system, fn.__name__, make, core, example or {}, ndim)
        return make  # type: ignore[return-value]

    return decorate


def _sequences(fn: Callable[..., Any]) -> dict[str, Each]:
    """The arguments that are annotated with `Each`."""
    found = {}
    for name, hint in typing.get_type_hints(fn, include_extras=True).items():
        for mark in getattr(hint, "__metadata__", ()):
            if isinstance(mark, Each):
                found[name] = mark
    return found
