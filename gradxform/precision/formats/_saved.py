"""States that other libraries saved: from a file or nested dictionaries to entries in a state of ours."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import keystr

from gradxform._errors import StructureError
from gradxform._files import File, array, read
from gradxform._messages import shape_of
from gradxform._types import OptState, Tree
from gradxform.precision.formats._blocks import blocked_axis
from gradxform.precision.formats._dynamic import values
from gradxform.tree._leafwise import is_encoded
from gradxform.tree._search import get_all_with_path
from gradxform.tree._search import set as replaced

FLAT = "    a file of NumPy's `savez` or of safetensors with arrays called `state/0/exp_avg/codes`"
"""What needs no PyTorch."""
Record = dict[str, Any]
"""What is saved of one parameter, by the library's names."""
Places = Mapping[str, str | None]
"""Our field for each of the library's; None: it is left out."""
Entry = Any
"""An encoded entry, or an array."""


def _arrays(x: Any) -> Any:
    """Nested dictionaries of NumPy arrays, of whatever kind the arrays were."""
    if isinstance(x, Mapping):
        return {str(k): _arrays(v) for k, v in x.items()}
    if hasattr(x, "codes") and hasattr(x, "scale"):  # a tensor of torchao's own
        return {name: _arrays(getattr(x, name)) for name in ("codes", "scale", "qmap") if hasattr(x, name)} | {
            "shape": tuple(x.shape)
        }
    return array(x)


def _records(owner: str, source: File) -> Mapping[str, Record]:
    """What is saved of each parameter."""
    content, is_flat, _ = read(owner, source, FLAT)
    found = _arrays(content)
    if is_flat:
        flat, found = found, {}
        for path, x in flat.items():
            *boxes, name = path.split("/")
            box = found
            for key in boxes:
                box = box.setdefault(key, {})
            box[name] = x
    if "state" not in found:
        raise StructureError(
            f"{owner}: expected an optimizer's `state_dict` with `state`, but it has {', '.join(found) or 'nothing'}."
        )
    return found["state"]


def entry(cls: Callable[..., Tree], codes: np.ndarray, scales: np.ndarray, block: int) -> Entry:
    """Blocks of the flattened array as an entry, where they lie along one axis; else the values."""
    shape, axis = codes.shape, blocked_axis(codes.shape, block)
    if axis is not None and math.prod(shape[axis + 1 :]) == 1:
        return cls(jnp.asarray(codes), jnp.asarray(scales.reshape(*shape[:axis], shape[axis] // block, *shape[axis + 1 :])))
    flat = np.pad(codes.reshape(-1), (0, -codes.size % block))
    return cls(jnp.asarray(flat), jnp.asarray(scales)).decode()[: codes.size].reshape(shape)


def mapped(
    classes: Mapping[bool, Callable[..., Tree]], codes: np.ndarray, scales: np.ndarray, table: np.ndarray, block: int
) -> Entry:  # fmt: skip
    """Blocks that are stored by a table as an entry of the class with that table, with a sign or without; else the values."""
    for signed, cls in classes.items():
        if np.array_equal(table, values(signed)):
            return entry(cls, codes, scales, block)
    return (table[codes.reshape(-1)] * np.repeat(scales, block)[: codes.size]).reshape(codes.shape)


def restored(
    owner: str, source: File, state: OptState, names: Tree, fields: Places, transposed: Tree, decoded: bool,
    parse: Callable[[Record], Record],
) -> OptState:  # fmt: skip
    """The state with each field replaced by what is saved, as `read` of each library says."""
    records, is_leaf = _records(owner, source), lambda x: x is None
    keys, treedef = jax.tree_util.tree_flatten_with_path(names, is_leaf=is_leaf)
    flips = treedef.flatten_up_to(jax.tree.map(lambda t, part: jax.tree.map(lambda _: t, part, is_leaf=is_leaf), transposed, names))
    saved = {keystr(path): parse(_record(owner, records, path, key)) for path, key in keys if key is not None}
    _check_fields(owner, saved, fields)
    for theirs, ours in fields.items():
        if ours is None or not any(theirs in record for record in saved.values()):
            continue
        places = get_all_with_path(state, ours)
        if len(places) != 1:
            raise StructureError(f"{owner}: expected a state with one field {ours!r}, for {theirs!r}, but it has {len(places)}.")
        new = treedef.flatten_up_to(places[0][1])
        for i, ((path, key), flip) in enumerate(zip(keys, flips, strict=True)):
            if key is not None:
                new[i] = _placed(owner, keystr(path), ours, saved[keystr(path)][theirs], new[i], flip, decoded)
        state = replaced(state, None, **{ours: treedef.unflatten(new)})
    steps = {int(record["step"]) for record in saved.values()}
    if len(steps) > 1:
        raise StructureError(f"{owner}: the parameters have been updated {sorted(steps)} times, but there is one count here.")
    return replaced(state, count=jnp.int32(steps.pop())) if steps and get_all_with_path(state, "count") else state


def _record(owner: str, records: Mapping[str, Record], path: tuple[Any, ...], key: str | int) -> Record:
    if str(key) not in records:
        raise StructureError(f"{owner}: nothing is saved of {key!r}, for {keystr(path)}; there are {', '.join(records)}.")
    return dict(records[str(key)])


def _check_fields(owner: str, saved: Mapping[str, Record], fields: Places) -> None:
    for path, record in saved.items():
        if more := [name for name in record if name not in fields and name != "step"]:
            raise StructureError(
                f"{owner}: of {path} there is also {', '.join(more)}. Name a field for it in `fields`, or None to leave it out."
            )
        if lacking := [k for k, v in fields.items() if v and k not in record and any(k in r for r in saved.values())]:
            raise StructureError(f"{owner}: of {path} there is no {', '.join(lacking)}, but there is of others.")


def _placed(owner: str, path: str, field: str, new: Entry, old: Tree, flip: bool, decoded: bool) -> Entry:
    """One entry, in the axes and the form that are wanted."""
    new = new if is_encoded(new) else jnp.asarray(new, jnp.float32)
    new = jax.tree.map(jnp.transpose, new) if flip else new
    if new.shape != getattr(old, "shape", None):
        advice = " `transposed=` reverses the axes." if new.shape[::-1] == getattr(old, "shape", None) else ""
        raise StructureError(
            f"{owner}: `{field}` of {path} is saved with the shape {new.shape}, but here it is {shape_of(old)}.{advice}"
        )
    return new.decode() if decoded and is_encoded(new) else new
