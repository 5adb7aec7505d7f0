"""What to change where something does not fit: changes are tried, and the first that helps is named."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

from gradxform._errors import GradxformError
from gradxform.planning._asked import Asked
from gradxform.planning._hardware import HARDWARE
from gradxform.planning._record import Plan
from gradxform.precision import store
from gradxform.surgery._report import size_text

MOST = 2**14  # devices


def advice(found: Plan, asked: Asked) -> str:
    """One sentence."""
    said = f"{size_text(found.bytes)} do not fit in the {size_text(found.hardware.memory)} of one {found.hardware.name}"
    least = found.bytes
    for words, other in _changes(asked):
        try:
            needed = other.bytes
        except GradxformError:  # it cannot be stored so, or the larger axis does not divide a leaf
            continue
        if needed <= other.hardware.memory:
            return f"{said}: with {words} it takes {size_text(needed)}."
        least = min(least, needed)
    tried = "`zero`, state in 8 bits, a larger axis of parameters, other hardware"
    found_none = f"{said}, and none of the changes tried ({tried}) is enough: it takes at least {size_text(least)}"
    if "fsdp" in asked.axes.roles.values():
        return f"{found_none}."
    own, parts = found.parameter_bytes + found.gradient_bytes, math.ceil(least / found.hardware.memory)
    return (
        f"{found_none}. Parameters and gradients alone take {size_text(own)}: split them as well, over an axis 'fsdp' of the mesh, of "
        f"{2 ** math.ceil(math.log2(parts))} devices or more."
    )


def _changes(asked: Asked) -> Iterator[tuple[str, Asked]]:
    """The least first: where the state lives, how it is stored, how the mesh is divided, more devices, larger ones."""
    batch = tuple(a for a, role in asked.axes.roles.items() if role in ("data", "fsdp") and asked.axes.sizes[a] > 1)
    words = f"zero={batch[0]!r}" if len(batch) == 1 else f"zero={batch!r}"
    split = [] if asked.zero or not batch else [(words, dataclasses.replace(asked, zero=batch))]
    yield from split
    kept = [*split, ("", asked)]
    for words, one in reversed(kept):
        if stored := _stored(one):
            yield _both(words, "its state stored as '8bit'"), stored
    for words, one in kept:
        for mesh, larger in _larger(one):
            yield _both(words, f"the mesh {mesh}"), larger
    for device in sorted(HARDWARE.values(), key=lambda d: d.memory):
        if device.kind == asked.hardware.kind and device.memory > asked.hardware.memory:
            yield f"{device.name} in its place", dataclasses.replace(asked, hardware=device)


def _both(first: str, second: str) -> str:
    return f"{first} and {second}" if first else second


def _stored(asked: Asked) -> Asked | None:
    try:
        return dataclasses.replace(asked, tx=store(asked.tx, "8bit"))
    except GradxformError:
        return None


def _larger(asked: Asked) -> Iterator[tuple[str, Asked]]:
    """Meshes in which more devices share the parameters: first the same devices, then more of them."""
    roles, sizes = asked.axes.roles, asked.axes.sizes
    shared = next((a for a, role in roles.items() if role == "fsdp"), None)
    data = next((a for a, role in roles.items() if role == "data"), None)
    if shared is None:
        return
    meshes, k = [], 2
    while data is not None and sizes[data] % k == 0:
        meshes.append({**sizes, data: sizes[data] // k, shared: sizes[shared] * k})
        k *= 2
    k = 2
    while asked.axes.devices * k <= MOST:
        meshes.append({**sizes, shared: sizes[shared] * k})
        k *= 2
    for mesh in meshes:
        text = ",".join(f"{name}={n}" for name, n in mesh.items())
        yield text, dataclasses.replace(asked, axes=dataclasses.replace(asked.axes, sizes=mesh))
