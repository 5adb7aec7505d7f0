"""Encoded entries: what stands in a state field at a leaf whose values are stored otherwise than as a plain array.

An entry is a NamedTuple of arrays whose class, registered here, is the codec; its type alone says so. To the trees it is one leaf of the
parameter's shape. It is decoded and encoded where a leaf is widened and rounded, and nowhere else.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from gradxform._errors import StructureError
from gradxform._numerics import round_to
from gradxform._types import OptState, Tree, TreeDef
from gradxform.core._placement import placed
from gradxform.tree._leafwise import CODECS, is_encoded, is_gap

if TYPE_CHECKING:
    from gradxform.core._state import Layout


def register(cls: type) -> None:
    """Let the instances of a NamedTuple class be encoded entries; another class of its name and module, made again, gives way."""
    for old in [c for c in CODECS if (c.__module__, c.__qualname__) == (cls.__module__, cls.__qualname__)]:
        del CODECS[old]
    CODECS[cls] = None


def is_entry(x: Tree) -> bool:
    """Whether it is one entry of a state field: an encoded one, also as a mapping of its fields, or a gap. For `is_leaf=`."""
    return type(x) in CODECS or is_gap(x) or (isinstance(x, Mapping) and any(set(c._fields) == set(x) for c in CODECS))


def as_encoded(x: Tree) -> Tree:
    """A mapping of the fields of a codec as its entry, as Flax's NNX hands it back; anything else as it is."""
    if not isinstance(x, Mapping):
        return x
    found = [cls for cls in CODECS if set(cls._fields) == set(x)]
    if len(found) > 1:
        raise StructureError(
            f"A state field holds a mapping of {', '.join(x)}, and {' and '.join(c.__name__ for c in found)} are codecs of these fields. "
            "Flax's NNX hands entries back without their classes: give the fields of one codec another name."
        )
    return found[0](**x) if found else x


def any_encoded(entries: Iterable[Tree]) -> bool:
    return any(type(x) in CODECS for x in entries)


def decoded(entries: Sequence[Tree], names: Sequence[str], partners: Mapping[str, str]) -> list[Tree]:
    """The entries of a stage's fields at one leaf with arrays for those that are encoded.

    Args:
      entries: one of each field.
      names: of the fields.
      partners: by the names of fields, that of the field which the values are stored relative to.
    """
    found = {name: x.decode() if is_encoded(x) and not x.partner else x for name, x in zip(names, entries, strict=True)}
    relative = {name: x.decode(found[partners[name]]) for name, x in found.items() if is_encoded(x)}
    return list((found | relative).values())


def encoded(new: Sequence[Tree], old: Sequence[Tree], names: Sequence[str], partners: Mapping[str, str]) -> list[Tree]:
    """New values stored as the old entries are; those relative to a partner are so to that as it is stored.

    Arrays whose old entry is one too are returned as they come.
    """
    was = dict(zip(names, old, strict=True))
    found = dict(zip(names, new, strict=True))
    found |= {name: was[name].encode(x) for name, x in found.items() if is_encoded(was[name]) and not was[name].partner}
    for name in [name for name, x in was.items() if is_encoded(x) and x.partner]:
        partner = found[partners[name]]
        found[name] = was[name].encode(found[name], partner.decode() if is_encoded(partner) else partner)
    return list(found.values())


def as_stored(layout: Layout, new: Sequence[Tree], old: Sequence[Tree]) -> list[Tree]:
    """The next values of a stage's fields at one leaf, as the old ones are stored: rounded to their dtypes, or encoded, and where."""
    to = lambda n, o: round_to(jnp.asarray(n), o.dtype)
    rounded = [jnp.asarray(n) if is_encoded(o) else jax.tree.map(to, n, o) for n, o in zip(new, old, strict=True)]
    return placed(encoded(rounded, old, layout.leaf, layout.partners) if any_encoded(old) else rounded, list(old))


@functools.cache
def _compiled(f: Callable[..., list[Tree]]) -> Callable[..., list[Tree]]:
    """One call for what is done with the entries at one leaf, where a kernel of whole trees has its fields decoded before it runs."""
    return jax.jit(lambda *rows, names, partners: f(*rows, names, dict(partners)), static_argnames=("names", "partners"))


Split = Callable[[Tree], tuple[list[Tree], TreeDef]]
"""A tree of entries as a list of them, and the structure."""


def at_entries(tree: Tree) -> tuple[list[Tree], TreeDef]:
    return jax.tree.flatten(tree, is_leaf=is_entry)


def opened(layout: Layout, record: OptState, split: Split = at_entries) -> OptState:
    """A stage's record with plain arrays in place of encoded entries."""
    columns = _columns(layout, record, split)
    if not columns:
        return record
    read = functools.partial(_compiled(decoded), names=tuple(columns), partners=tuple(layout.partners.items()))
    rows = zip(*(entries for entries, _ in columns.values()), strict=True)
    new = zip(*[read(row) if any_encoded(row) else row for row in rows], strict=True)
    return record._replace(**{name: columns[name][1].unflatten(xs) for name, xs in zip(columns, new, strict=True)})


def closed(
    layout: Layout, new: OptState, old: OptState, rounded: Callable[[Tree, Tree], Tree], split: Split = at_entries
) -> OptState:
    """A record of plain arrays, stored as an old one is; `rounded` gives an array as a plain old one is stored."""
    columns = _columns(layout, old, split)
    if not columns:
        return new
    theirs = [treedef.flatten_up_to(getattr(new, name)) for name, (_, treedef) in columns.items()]
    written = functools.partial(_compiled(encoded), names=tuple(columns), partners=tuple(layout.partners.items()))
    made = []
    for before, after in zip(zip(*(x for x, _ in columns.values()), strict=True), zip(*theirs, strict=True), strict=True):
        after = [n if is_encoded(o) else rounded(n, o) for n, o in zip(after, before, strict=True)]
        made.append(written(after, before) if any_encoded(before) else after)
    new_fields = zip(*made, strict=True)
    return new._replace(**{name: columns[name][1].unflatten(xs) for name, xs in zip(columns, new_fields, strict=True)})


def _columns(layout: Layout, record: OptState, split: Split) -> dict[str, tuple[list[Tree], TreeDef]]:
    """The entries and the structure of those fields that are like the parameters; none where no entry is encoded."""
    fields = {name: getattr(record, name, None) for name in layout.like_params}
    parts = {name: split(x) for name, x in fields.items() if x is not None}
    parts = {name: ([as_encoded(x) for x in entries], treedef) for name, (entries, treedef) in parts.items()}
    return parts if any(any_encoded(entries) for entries, _ in parts.values()) else {}
