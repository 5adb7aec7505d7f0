"""What a transformation is made of: its parts with their states, taken out and put back.

A `Spec` says so itself by `parts(state)` and `joined(state, parts)`. A transformation of another library tells nothing; there the state
alone is taken apart, at those fields whose names end in `state`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Optional, overload

from gradxform._errors import StructureError
from gradxform._types import OptState

if TYPE_CHECKING:
    from gradxform.core._transformation import GradientTransformation

Labels = tuple[str, ...]
Known = Optional["GradientTransformation"]
"""A transformation; None where it is not known, as in one of another library."""


class Part(NamedTuple):
    """A transformation within another: the name that the user gave it, if any; itself, None where it is not known; its state."""

    label: str
    tx: Known
    state: OptState


def is_transformation(x: object) -> bool:
    return isinstance(x, tuple) and callable(getattr(x, "init", None)) and callable(getattr(x, "update", None))


def parts_of(tx: Known, state: OptState) -> list[Part]:
    """The parts of a transformation."""
    parts = getattr(getattr(tx, "update", None), "parts", None)
    return parts(state) if parts is not None else _parts_of_state(state)


def joined(tx: Known, state: OptState, parts: Sequence[Part]) -> tuple[Known, OptState]:
    """The transformation and its state with these parts in the place of those that `parts_of` gave."""
    update = getattr(tx, "update", None)
    join = getattr(update, "joined", None)
    if join is None:
        return tx, _with_states(state, [p.state for p in parts])
    spec, state = join(state, parts)
    spec.maker = getattr(update, "maker", None)
    return (tx if spec is update else spec.public()), state


def inner_fields(state: OptState) -> list[str]:
    """The fields that hold a state, of a transformation of another library."""
    return [f for f in getattr(state, "_fields", ()) if f.endswith("state") and f != "skip_state"]


def _is_plain(state: OptState) -> bool:
    return isinstance(state, (tuple, list)) and not hasattr(state, "_fields")


def _parts_of_state(state: OptState) -> list[Part]:
    if _is_plain(state):
        return [Part("", None, s) for s in state]
    if isinstance(state, Mapping):
        return [Part(str(name), None, s) for name, s in state.items()]
    if getattr(state, "_fields", None) == ("inner_states",):
        return [Part(str(name), None, s) for name, s in state.inner_states.items()]
    return [Part("", None, getattr(state, f)) for f in inner_fields(state) if isinstance(getattr(state, f), (tuple, list, Mapping))]


def _with_states(state: OptState, states: Sequence[OptState]) -> OptState:
    if _is_plain(state):
        return list(states) if isinstance(state, list) else tuple(states)
    if isinstance(state, Mapping):
        return type(state)(dict(zip(state, states, strict=True)))  # type: ignore[call-arg]
    if getattr(state, "_fields", None) == ("inner_states",):
        return state._replace(inner_states=type(state.inner_states)(zip(state.inner_states, states, strict=True)))
    names = [f for f in inner_fields(state) if isinstance(getattr(state, f), (tuple, list, Mapping))]
    return state._replace(**dict(zip(names, states, strict=True))) if names else state


Visit = Callable[[Labels, Known, OptState], tuple[Known, OptState, bool]]


@overload
def walk(
    visit: Visit, tx: GradientTransformation, state: OptState, labels: Labels = ()
) -> tuple[GradientTransformation, OptState]: ...
@overload
def walk(visit: Visit, tx: Known, state: OptState, labels: Labels = ()) -> tuple[Known, OptState]: ...
def walk(visit, tx, state, labels=()):
    """Visit a transformation, and then its parts, and put together what came of it.

    A visit is given the labels on the way there, the transformation and its state; it returns the latter two, changed or not, and
    whether to go on to the parts.
    """
    tx, state, deeper = visit(labels, tx, state)
    parts = parts_of(tx, state) if deeper else []
    new = [Part(p.label, *walk(visit, p.tx, p.state, (*labels, p.label) if p.label else labels)) for p in parts]
    same = all(a.tx is b.tx and a.state is b.state for a, b in zip(parts, new, strict=True))
    if same:
        return tx, state
    tx, state = joined(tx, state, new)
    changed = [i for i, (a, b) in enumerate(zip(parts, new, strict=True)) if a.tx is not b.tx]
    if changed and any(parts_of(tx, state)[i].tx != new[i].tx for i in changed):
        raise StructureError(f"{tx!r:.200} makes what is inside from its own arguments: change those, not what it makes.")
    return tx, state
