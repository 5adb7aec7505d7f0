"""State records: the fields of a state class, read from its annotations, and the transformations' own state classes."""

from __future__ import annotations

import dataclasses
import functools
import sys
import typing
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from gradxform._errors import StructureError
from gradxform._messages import wrong_state
from gradxform._types import Array, Clock, Field, Inner, OptState, Tree


class EmptyState(NamedTuple):
    """A stateless transformation's state."""


class ScaleByScheduleState(NamedTuple):
    """The state of a stateless transformation with a scheduled hyperparameter."""

    count: Clock


class CountedState(NamedTuple):
    """A clock around a state that has none, for a scheduled hyperparameter."""

    count: Clock
    inner_state: Inner


@dataclasses.dataclass(frozen=True, eq=False)
class Layout:
    """How a state is laid out: its class, and what each of its fields is.

    Attributes:
      cls: the NamedTuple that holds the fields; None: the state is that of the transformation inside.
      fields: the fields by name, in order.
      boxed: whether a clock stands outside, in a `CountedState`.
    """

    cls: Any
    fields: Mapping[str, Field]
    boxed: bool = False

    def _of(self, kind: str) -> tuple[str, ...]:
        return tuple(name for name, field in self.fields.items() if field.kind == kind)

    @functools.cached_property
    def leaf(self) -> tuple[str, ...]:
        """Names of the fields with one entry per leaf."""
        return self._of("leaf")

    @functools.cached_property
    def like_params(self) -> tuple[str, ...]:
        """Names of those of them whose entries have the axes of the leaf."""
        return tuple(name for name in self.leaf if self.fields[name].axes is None)

    @functools.cached_property
    def partners(self) -> Mapping[str, str]:
        """By the names of the fields whose size another one bounds, that of the other."""
        return {name: field.partner for name, field in self.fields.items() if field.partner}

    @functools.cached_property
    def shared(self) -> tuple[str, ...]:
        """Names of the fields with one value, without the clock and the random key."""
        return self._of("shared")

    @functools.cached_property
    def inner(self) -> tuple[str, ...]:
        """Names of the fields that hold the state of a transformation inside."""
        return self._of("inner")

    @functools.cached_property
    def key(self) -> str | None:
        """Name of the random key, if any."""
        return next(iter(self._of("key")), None)

    @functools.cached_property
    def clock(self) -> str | None:
        """Name of the clock, if any."""
        return "count" if self.boxed else next(iter(self._of("clock")), None)

    @functools.cached_property
    def start(self) -> int:
        """What the clock shows before the first update."""
        return 0 if self.boxed or not self.clock else int(self.fields[self.clock].first or 0)  # type: ignore[arg-type]

    @functools.cache  # noqa: B019 - as the layout itself, one for each class
    def without(self, names: tuple[str, ...]) -> Layout:
        """This layout where those fields have no entries for leaves: each is None as a whole."""
        if not names:
            return self
        gone = Field("shared", first=lambda: None)
        return dataclasses.replace(self, fields={n: f.but(gone) if n in names else f for n, f in self.fields.items()})

    @functools.cached_property
    def counted(self) -> Layout:
        """This layout with a clock, in the state class or around it."""
        return self if self.clock or self.cls is None else dataclasses.replace(self, boxed=True)

    @functools.cached_property
    def uncounted(self) -> Layout:
        """This layout without its clock, where it can be absent."""
        absent = self.fields[self.clock].absent if self.clock else None
        if absent is None:
            return self
        return Layout(absent, {name: field for name, field in self.fields.items() if name != self.clock})

    def own(self, state: OptState) -> OptState:
        """The state as the record that it was, if it comes as a mapping of the same fields, as Flax's NNX may hand it back."""
        if not isinstance(state, Mapping) or self.cls is None:
            return state
        if not self.boxed:
            return as_record(self.cls, state)
        state = as_record(CountedState, state)
        return state._replace(inner_state=as_record(self.cls, state.inner_state)) if isinstance(state, CountedState) else state

    def unbox(self, state: OptState) -> OptState:
        return state.inner_state if self.boxed else state

    def completed(self, state: OptState) -> Array | None:
        """The number of updates so far; None without a clock."""
        if not self.clock:
            return None
        return getattr(state, self.clock) - self.start if self.start else getattr(state, self.clock)

    def read(self, state: OptState, owner: str) -> OptState:
        """The record that holds the fields, checked to be of this layout.

        Optax's class of the same fields will do, or one that has more; where there are no fields, anything empty.
        """
        if self.cls is None or (not self.cls._fields and not jax.tree.leaves(state)):
            return state
        record = self.unbox(state) if hasattr(state, "inner_state") or not self.boxed else state
        wanted = self.cls._fields
        if getattr(record, "_fields", ())[: len(wanted)] != wanted or (self.boxed and record is state):
            raise wrong_state(owner, f"a {self.cls.__name__} of {', '.join(wanted)}", state)
        return record

    def write(self, state: OptState, fields: Mapping[str, Any], clock: Array | None = None) -> OptState:
        """`state` with new fields, and its clock if that is given; its class, which may be Optax's, stays."""
        if self.boxed:
            inner = state.inner_state._replace(**fields) if fields else state.inner_state
            return state._replace(count=state.count if clock is None else clock, inner_state=inner)
        fields = dict(fields) if clock is None or self.clock is None else {**fields, self.clock: clock}
        return state._replace(**fields) if fields else state

    def make(self, fields: Mapping[str, Any], clock: Array | None) -> OptState:
        """A state of these fields, and of a clock if there is one."""
        if self.cls is None:
            return fields["inner"]
        if self.boxed:
            return CountedState(clock, self.cls(**fields))
        return self.cls(**(fields if self.clock is None else {**fields, self.clock: clock}))


def _field(hint: object) -> Field:
    """What an annotation says of a field: all its marks, the later ones over the earlier."""
    marks = [mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, Field)]
    return functools.reduce(Field.but, marks, Field())


def _layout_of(cls: type) -> Layout:
    names = vars(sys.modules[cls.__module__])  # there its functions find their names
    hints = typing.get_type_hints(cls, names, include_extras=True)
    fields = {name: _field(hints.get(name)) for name in cls._fields}
    for name, field in fields.items():
        if field.kind is None:
            raise StructureError(
                f"{cls.__name__}.{name}: annotate it as `Updates` (one array per leaf), `RealUpdates`, `ParamsCopy`, `Shared`, "
                "`Clock`, `Key` or `Inner` (the state of a transformation inside)."
            )
    return Layout(cls, fields)


def layout(cls: object, **special: Field) -> Layout:
    """The layout of a state class, which its annotations declare; `special` says more of some fields.

    `elementwise(layout(ScaleByAdamState, nu=Field(first=...)))` is for a kernel whose fields begin otherwise than the class says. `Inner`
    in the place of a class is the state of the transformation inside.

    Args:
      cls: the NamedTuple class of a state.
      special: for a field by name, a `Field` that says more of it.

    >>> gx.kernels.layout(gx.ScaleByAdamState).leaf
    ('mu', 'nu')
    """
    if isinstance(cls, Layout):
        return cls
    if typing.get_origin(cls) is Annotated:
        return Layout(None, {"inner": _field(cls)})
    found = _layout_of(typing.cast(type, cls))
    if not special:
        return found
    return dataclasses.replace(found, fields={n: f.but(special[n]) if n in special else f for n, f in found.fields.items()})


def as_record(cls: Any, state: OptState) -> OptState:
    """A mapping of the fields of a NamedTuple as that; anything else as it is."""
    return cls(**state) if isinstance(state, Mapping) and set(state) == set(cls._fields) else state


def like_before(new: Tree, old: Tree) -> Tree:
    """A number in the dtype and on the devices of the one that it replaces; a tree as it is."""
    if hasattr(new, "_fields"):
        return type(old)(*map(like_before, new, old))
    return jnp.full_like(old, new) if hasattr(old, "dtype") and jnp.shape(new) == () else new


STATELESS = layout(ScaleByScheduleState, count=Field(absent=EmptyState))
"""The layout of a transformation that keeps nothing but a clock, and that only for a scheduled hyperparameter."""
