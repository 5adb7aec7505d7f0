"""Which fields of a state lie in the host's memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from gradxform._errors import StructureError
from gradxform._messages import brief
from gradxform._types import OptState, Tree
from gradxform.core import GradientTransformation
from gradxform.core._labels import suggest
from gradxform.core._parts import Known, Labels, inner_fields, walk
from gradxform.core._stage import Stage
from gradxform.core._transformation import Spec
from gradxform.distributed._derived import Shaped, Typed
from gradxform.distributed._zero import AnyMesh

Placement = str | Mapping[str, str]
"""The kind of memory of all fields with something for each leaf, or of those that are named."""
KINDS = ("pinned_host", "device")


def in_memory(owner: str, tx: GradientTransformation, state: Typed, placement: Placement, mesh: AnyMesh) -> Typed:
    """A state whose arrays say, beside how they are split, in what kind of memory they lie.

    Numbers stay on the device, and with them seeds and what else a codec keeps for a whole leaf.
    """
    _check_kinds(owner, placement)
    known: dict[str, None] = {}

    def visit(labels: Labels, tx: Known, state: OptState) -> tuple[Known, OptState, bool]:
        update: Any = getattr(tx, "update", None)
        if isinstance(update, Stage):
            layout, new = update.layout, {}
            record = layout.read(state, update.owner)
            for name in layout.leaf:
                known[name] = None
                move = lambda x, name=name: _moved(update.owner, name, x, _kind(placement, name), mesh)
                new[name] = jax.tree.map(move, getattr(record, name))
            through = any(layout.fields[name].through for name in layout.inner)
            return tx, layout.write(state, new), not through
        if not isinstance(update, Spec):
            _check_unknown(owner, state, placement)
        return tx, state, True

    found = walk(visit, tx, state)[1]
    for name in () if isinstance(placement, str) else placement:
        if name not in known:
            raise StructureError(
                f"{owner}: `placement` names {name!r}, and no state of {tx!r:.200} has a field of that name with something for each leaf. "
                f"There are {', '.join(known) or 'none'}.{suggest(name, list(known))}"
            )
    return found


def _check_kinds(owner: str, placement: Placement) -> None:
    if jax.__version_info__ < (0, 10):
        raise StructureError(
            f"{owner}: JAX {jax.__version__} compiles no step whose state lies on the host. `placement` needs JAX 0.10."
        )
    given = placement.values() if isinstance(placement, Mapping) else [placement]
    for kind in given:
        if kind not in KINDS:
            raise StructureError(
                f"{owner}: `placement` must be 'pinned_host', or a dictionary of that by names of fields, but got {brief(kind)}. What lies "
                "in another kind of memory does not say so in a compiled step."
            )


def _kind(placement: Placement, name: str) -> str | None:
    kind = placement if isinstance(placement, str) else placement.get(name)
    return None if kind == "device" else kind


def _moved(stage: str, field: str, x: Shaped, kind: str | None, mesh: AnyMesh) -> Shaped:
    if kind is None or not x.shape:
        return x
    if isinstance(mesh, Mesh):
        _check_memory(stage, field, x, kind, mesh)
    return Shaped(x.shape, x.dtype, sharding=NamedSharding(x.sharding.mesh, x.sharding.spec, memory_kind=kind))


def _check_memory(stage: str, field: str, x: Shaped, kind: str, mesh: Mesh) -> None:
    """Refuses what a device cannot have in that kind of memory."""
    device = next((d for d in mesh.devices.flat if d.process_index == jax.process_index()), mesh.devices.flat[0])
    has = [memory.kind for memory in device.addressable_memories()]
    if kind not in has:
        raise StructureError(
            f"{stage}: `{field}` cannot lie in {kind}: of {device.device_kind} JAX knows {', '.join(has) or 'no kind of memory'}. Leave "
            "`placement` out here; to compile for what is not there, derive on an `AbstractMesh`."
        )
    if device.platform == "tpu" and np.dtype(x.dtype).itemsize == 1:
        raise StructureError(
            f"{stage}: `{field}` is stored in 8 bits, which a TPU lays out otherwise than its host does, so that XLA compiles no transfer "
            "of them. Store it as 'bfloat16', or keep it on the device."
        )


def _check_unknown(owner: str, state: OptState, placement: Placement) -> None:
    """Refuses fields of a transformation of another library, which computes with what it gets where that lies."""
    names = [name for name in getattr(state, "_fields", ()) if name not in inner_fields(state)]
    wanted = [name for name in names if _kind(placement, name) and _has_axes(getattr(state, name))]
    if wanted:
        raise StructureError(
            f"{owner}: `placement` is for `{wanted[0]}` of {type(state).__name__}, whose transformation is of another library, or written "
            "by hand, and fetches nothing from the host. Name the fields of others, or use the transformation of gradxform."
        )


def _has_axes(tree: Tree) -> bool:
    return any(getattr(x, "shape", ()) for x in jax.tree.leaves(tree))
