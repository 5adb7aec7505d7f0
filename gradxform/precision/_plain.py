"""Stored states as plain arrays, and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradxform._errors import StructureError
from gradxform._messages import shape_of
from gradxform._numerics import round_to
from gradxform._types import Array, OptState, Tree
from gradxform.core._encoded import closed, is_entry, opened
from gradxform.core._state import Layout, layout
from gradxform.core._trees import numbers_may_go
from gradxform.tree._leafwise import is_encoded


def decode_state(state: OptState) -> OptState:
    """A state with plain arrays where entries are encoded: for Optax, for files, for a look.

        updates, state = optax.adamw(1e-3).update(grads, decode_state(state), params)           goes on without codes

    Its classes and all other arrays stay. The arrays are float32; a run goes on from them in float32.

    Args:
      state: of any transformation.

    >>> state = gx.store(gx.adam(1e-3)).init(params)
    >>> jax.tree.structure(gx.decode_state(state)) == jax.tree.structure(gx.adam(1e-3).init(params))
    True

    Source   the layout of states is Optax's.
    Differs  Optax has none.
    Raises   StructureError: an entry is relative to another field, and stands in a state that does not declare which.
    """
    with numbers_may_go():
        return _decoded(state)


def encode_state(state: OptState, like: OptState) -> OptState:
    """A state with its arrays stored as they are in another state.

        state = encode_state(restored, like=store(tx, "8bit").init(params))

    Rounding at random begins with the seeds of `like`.

    Args:
      state: with plain arrays, or stored otherwise; of Optax's classes, or of ours.
      like: the state of the same transformation and parameters, whose classes the result has.

    >>> stored = gx.store(gx.adam(1e-3)).init(params)
    >>> state = gx.encode_state(gx.adam(1e-3).init(params), like=stored)
    >>> jax.tree.structure(state) == jax.tree.structure(stored)
    True

    Source   the layout of states is Optax's.
    Differs  Optax has none.
    Raises   StructureError: the two have other fields, or other shapes.
    """
    with numbers_may_go():
        return _encoded(_decoded(state), like)


def _is_record(x: Tree) -> bool:
    return hasattr(x, "_fields") and not is_entry(x)


def _layout(cls: Any) -> Layout:
    """The declaration of a state; of a class of another library what is declared without one, that nothing is like the parameters."""
    try:
        return layout(cls)
    except Exception:  # fields without annotations, or with such as cannot be read
        return Layout(cls, {})


def _decoded(x: Tree) -> Tree:
    if is_encoded(x):
        if x.partner:
            raise StructureError(
                f"decode_state: {type(x).__name__} is relative to another field, but stands where none is declared. Give the whole state."
            )
        return x.decode()
    if _is_record(x) and not isinstance(x, type):
        x = opened(_layout(type(x)), x)
    parts, treedef = _children(x)
    new = [y if y is x else _stacked(x, i, _decoded, y)(y) for i, y in enumerate(parts)]
    return x if all(a is b for a, b in zip(parts, new, strict=True)) else treedef.unflatten(new)


def _encoded(x: Tree, like: Tree) -> Tree:
    if is_encoded(like):
        return like.encode(_fitting(x, like))
    parts, treedef = _children(like)
    if len(parts) == 1 and parts[0] is like:
        return round_to(_fitting(x, like), like.dtype) if hasattr(like, "dtype") and hasattr(x, "dtype") else x
    theirs, structure = _children(x)
    if structure.num_leaves != treedef.num_leaves or (_is_record(like) and getattr(x, "_fields", like._fields) != like._fields):
        raise StructureError(
            f"encode_state: `like` has {_outline(like)} where the state has {_outline(x)}. They must be of one optimizer."
        )
    if _is_record(like) and (declared := _layout(type(like))).like_params:
        wide = opened(declared, like)
        if wide is not like:
            made = _encoded(x, wide)
            return closed(declared, made, like, lambda new, old: new)
    return treedef.unflatten([_stacked(like, i, _encoded, b)(a, b) for i, (a, b) in enumerate(zip(theirs, parts, strict=True))])


def _stacked(record: Tree, i: int, f: Callable[..., Tree], child: Tree) -> Callable[..., Tree]:
    """f at a child, or at each of those that are stacked there, as in the state of `per_device`."""
    field = _layout(type(record)).fields.get(record._fields[i]) if _is_record(record) else None
    holds_codes = (
        field is not None and field.through is not None and any(map(is_encoded, jax.tree.leaves(child, is_leaf=is_encoded)))
    )
    return jax.vmap(f) if holds_codes else f


def _fitting(x: Tree, like: Tree) -> Array:
    if getattr(x, "shape", None) != like.shape:
        raise StructureError(f"encode_state: `like` has an array of shape {like.shape} where the state has {shape_of(x)}.")
    return jnp.asarray(x)


def _children(x: Tree) -> tuple[list[Tree], Any]:
    """The children of a node, one level down; a leaf is its own."""
    return jax.tree.flatten(x, is_leaf=lambda y: y is not x)


def _outline(x: Tree) -> str:
    return f"a {type(x).__name__} of {', '.join(x._fields)}" if _is_record(x) else f"{jax.tree.structure(x)}"[:200]
