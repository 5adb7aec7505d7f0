"""State records: which fields are per leaf and which are shared, read from the annotations of the state class."""

from __future__ import annotations

import dataclasses
import functools
import typing
from typing import Any, NamedTuple

import jax

from gradxform._errors import StructureError
from gradxform._types import Field, Shared


class EmptyState(NamedTuple):
    """A stateless transformation's state."""


class ScaleByScheduleState(NamedTuple):
    """The state of a stateless transformation with a scheduled hyperparameter."""

    count: Shared


class CountedState(NamedTuple):
    """A clock around a state that has none, for a scheduled hyperparameter."""

    count: Shared
    inner_state: Any


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a state class is laid out.

    Attributes:
      cls: the NamedTuple that holds the fields.
      leaf: names of the fields with one entry per leaf.
      real: those of them that are real for complex leaves.
      copies: those of them that begin as copies of the parameters.
      shared: names of the fields with one value, without the clock and the random key.
      key: name of the random key, if any.
      clock: name of the clock, `count` unless a field is annotated `Clock`, if any.
      boxed: whether the clock stands outside, in a `CountedState`.
    """

    cls: type
    leaf: tuple[str, ...]
    real: frozenset[str]
    copies: frozenset[str]
    shared: tuple[str, ...]
    key: str | None
    clock: str | None
    boxed: bool = False

    def unbox(self, state: Any) -> Any:
        return state.inner_state if self.boxed else state

    def read(self, state: Any, owner: str) -> Any:
        """The record that holds the fields, checked to be of this layout.

        Optax's class of the same fields will do; where there are no fields, anything empty.
        """
        if not self.cls._fields and not jax.tree.leaves(state):
            return state
        record = self.unbox(state) if hasattr(state, "inner_state") or not self.boxed else state
        wanted = self.cls._fields
        if getattr(record, "_fields", None) != wanted or (self.boxed and record is state):
            raise StructureError(
                f"{owner}: the state should be a {self.cls.__name__}{wanted}, but is a {type(state).__name__}: {state!r:.200}. "
                "Pass the state that this transformation's `init` or last `update` returned."
            )
        return record

    def write(self, state: Any, fields: dict[str, Any]) -> Any:
        """`state` with new fields; its class, which may be Optax's, stays."""
        if self.boxed:
            count = fields.pop("count")
            return state._replace(count=count, inner_state=state.inner_state._replace(**fields))
        return state._replace(**fields) if fields else state

    def make(self, fields: dict[str, Any]) -> Any:
        if self.boxed:
            count = fields.pop("count")
            return CountedState(count, self.cls(**fields))
        return self.cls(**fields)


@functools.cache
def layout_of(cls: type, boxed: bool = False) -> Layout:
    """Read a state class. Every field must be annotated with one of the kinds in `gradxform._types`."""
    hints = typing.get_type_hints(cls, include_extras=True)
    kinds = {}
    for field in cls._fields:
        marks = [a for a in getattr(hints.get(field), "__metadata__", ()) if isinstance(a, Field)]
        if not marks:
            raise StructureError(
                f"{cls.__name__}.{field}: annotate it as `Updates` (one array per leaf), `RealUpdates`, `ParamsCopy`, `Shared`, "
                "`Clock` or `Key`."
            )
        kinds[field] = marks[0].kind
    return Layout(
        cls=cls,
        leaf=tuple(f for f, kind in kinds.items() if kind.endswith("leaf")),
        real=frozenset(f for f, kind in kinds.items() if kind == "real leaf"),
        copies=frozenset(f for f, kind in kinds.items() if kind == "copy leaf"),
        shared=tuple(f for f, kind in kinds.items() if kind == "shared" and f != "count"),
        key=next((f for f, kind in kinds.items() if kind == "key"), None),
        clock="count" if "count" in kinds or boxed else next((f for f, kind in kinds.items() if kind == "clock"), None),
        boxed=boxed,
    )
