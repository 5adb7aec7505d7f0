"""Encoded entries: what stands in a state field at a leaf whose values are stored otherwise than as a plain array.

An entry is a NamedTuple of arrays whose class, registered here, is the codec; its type alone says so. To the trees it is one leaf of the
parameter's shape. It is decoded and encoded where a leaf is widened and rounded, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gradxform._errors import StructureError
from gradxform._types import Array, Tree
from gradxform.tree._leafwise import is_gap

_CODECS: dict[type, None] = {}


def register(cls: type) -> None:
    """Let the instances of a NamedTuple class be encoded entries; another class of its name and module, made again, gives way."""
    for old in [c for c in _CODECS if (c.__module__, c.__qualname__) == (cls.__module__, cls.__qualname__)]:
        del _CODECS[old]
    _CODECS[cls] = None


def is_encoded(x: Tree) -> bool:
    return type(x) in _CODECS


def is_entry(x: Tree) -> bool:
    """Whether it is one entry of a state field: an encoded one, or a gap. For `is_leaf=`."""
    return type(x) in _CODECS or is_gap(x)


def as_encoded(x: Tree) -> Tree:
    """A mapping of the fields of a codec as its entry, as Flax's NNX hands it back; anything else as it is."""
    if not isinstance(x, Mapping):
        return x
    found = [cls for cls in _CODECS if set(cls._fields) == set(x)]  # type: ignore[attr-defined]
    if len(found) > 1:
        raise StructureError(
            f"A state field holds a mapping of {', '.join(x)}, and {' and '.join(c.__name__ for c in found)} are codecs of these fields. "
            "Flax's NNX hands entries back without their classes: give the fields of one codec another name."
        )
    return found[0](**x) if found else x


def decoded(entries: Mapping[str, Tree], partners: Mapping[str, str]) -> dict[str, Tree]:
    """The entries of a stage's fields at one leaf as arrays: first those that need no partner, then those relative to one.

    Args:
      entries: by the names of the fields.
      partners: the field that each field's values are bounded by, by name.
    """
    found = {name: x.decode() if is_encoded(x) and not x.partner else x for name, x in entries.items()}
    return found | {name: x.decode(found[partners[name]]) for name, x in entries.items() if is_encoded(x) and x.partner}


def encoded(new: Mapping[str, Array], old: Mapping[str, Tree], partners: Mapping[str, str]) -> dict[str, Tree]:
    """New arrays stored as the old entries are; those relative to a partner against the partner as it is stored.

    Arrays whose old entry is one too are returned as they come.
    """
    found = {name: old[name].encode(x) if is_encoded(old[name]) and not old[name].partner else x for name, x in new.items()}
    for name, x in new.items():
        if is_encoded(old[name]) and old[name].partner:
            partner = found[partners[name]]
            found[name] = old[name].encode(x, partner.decode() if is_encoded(partner) else partner)
    return found


def any_encoded(entries: Sequence[Tree]) -> bool:
    return any(type(x) in _CODECS for x in entries)
