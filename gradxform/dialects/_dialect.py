"""The decorator that every dialect's functions wear: it checks their arguments under the name `system.function`, and registers them."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from gradxform import registry
from gradxform._declare import declare
from gradxform.registry import Entry, Registers

F = TypeVar("F", bound=Callable[..., Any])


def entries(system: str | None = None) -> list[Entry]:
    """All functions of one dialect, or of all, by system and name."""
    return [e for e in map(registry.entry, registry.names(f"{system or '*'}.*", kind="*")) if e.system]


def dialect(
    system: str,
    *,
    core: str | None = None,
    example: Mapping[str, Any] | None = None,
    ndim: int | None = None,
    check: Callable[[str, Mapping[str, Any]], None] | None = None,
) -> Registers:
    """Check a function's arguments against their annotations, as `system.function`, and register it.

    Args:
      system: the dialect.
      core: the core optimizer that it corresponds to.
      example: arguments of a typical instance.
      ndim: the number of axes that its leaves must have.
      check: called with the full name and all arguments, for what the arguments must be together.
    """

    def decorate(fn: F) -> F:
        call = lambda bound: fn(*bound.args, **bound.kwargs)
        make = cast(F, declare(fn, call, owner=f"{system}.{fn.__name__}", check=check))
        registry.add(Entry(fn.__name__, make, "optimizer", system, example or {}, {}, None, {}, (), ndim, system=system, core=core))
        return make

    return decorate


def spelled_out(fn: F, defaults: Mapping[str, Any], by_position: bool = False) -> F:
    """`fn`, whose signature ends with `**common`, with the common arguments in its signature and their defaults in place.

    Args:
      fn: it annotates `**common` with `Unpack[...]` of a `TypedDict`, which gives the arguments' types and ranges.
      defaults: the common arguments in their order.
      by_position: they may follow the function's own by position; otherwise they are given by keyword only.
    """
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD if by_position else inspect.Parameter.KEYWORD_ONLY
    own = [p for p in inspect.signature(fn).parameters.values() if p.kind is not p.VAR_KEYWORD]
    arguments = [*own, *(inspect.Parameter(name, kind, default=value) for name, value in defaults.items())]

    @functools.wraps(fn)
    def full(*args, **kwargs):
        return fn(**dict(zip([p.name for p in arguments], args, strict=False)), **kwargs)

    hints = typing.get_type_hints(fn, include_extras=True)
    (common,) = typing.get_args(hints.pop("common"))
    full.__annotations__ = {**hints, **typing.get_type_hints(common, include_extras=True)}
    full.__signature__ = inspect.Signature(arguments)  # type: ignore[attr-defined]
    return full  # type: ignore[return-value]
