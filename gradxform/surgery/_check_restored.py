"""`check_restored`: whether a state that was restored is the one that was saved, of this transformation, and here."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._errors import StructureError
from gradxform._messages import TRANSFER, brief, unpacked, wrong_state
from gradxform._types import OptState, Params, Tree
from gradxform.core import GradientTransformation
from gradxform.core._holes import with_path
from gradxform.core._transformation import check_transformation
from gradxform.distributed._per_device import PerDeviceState
from gradxform.surgery._difference import Difference, differences, outline
from gradxform.surgery._digest import fingerprint, named_leaves
from gradxform.surgery._summary import abstract

ENCODE = "`gradxform.encode_state(state, like=tx.init(params))`"
TARGET = "restore into `jax.eval_shape(tx.init, params)`, where `gradxform.state_shardings(tx, params)` says"
BARE = "Restore it into `jax.eval_shape(old_tx.init, params)`, of the transformation that saved it. Then: "
FRESH = (
    "Where that is meant, the stage begins afresh with "
    '`gradxform.transfer_state(old_tx, state, tx, params, fresh=["name"])`, with the transformation of before and the name of the stage.'
)
SAYS = {
    "optimizer": ("is of another optimizer", TRANSFER),
    "tree": (
        "is of other parameters, or of another mask",
        "Were `params` those of the run? `gradxform.transfer_state(tx, state, tx, params)`, with the transformation and the state of "
        "before, carries over what has the same paths and shapes, and begins the rest afresh.",
    ),
    "shape": ("is of parameters with other shapes", FRESH),
    "arguments": ("has another shape, as of an optimizer with other arguments, or of other parameters", FRESH),
    "unread": ("is half restored", f"No file was read there. Let no leaf be left out, as a partial restore does: {TARGET}."),
    "storage": (
        "is stored otherwise",
        f"{ENCODE} stores it as this transformation does, `gradxform.decode_state(state)` as plain float32. Optax's states, and those "
        "without `store`, are plain.",
    ),
    "containers": (
        "has lost its classes",
        f"Stores give dictionaries and lists where they are not told what to restore into: {TARGET}.",
    ),
    "classes": (
        "has other classes with the same fields, as Optax's state has",
        f"`update` goes on from it as it is; {ENCODE} gives it the classes of this transformation.",
    ),
}  # fmt: skip


def check_restored(tx: GradientTransformation, params: Params, state: OptState, digest: Mapping[str, str] | None = None) -> None:
    """Check a state from a file before a run goes on with it: that it is of this transformation, whole, and as it was saved.

        params, state = restored
        check_restored(tx, params, state, digest)

    Structure, shapes, dtypes and storage are compared with what `tx.init` makes of the parameters, of which shapes are enough; devices
    with those of the parameters; the numbers with the digest that was taken when they were saved. The first leaf that differs is named,
    with what is the matter and what to call:

        is of another optimizer         `transfer_state` carries it over
        is of other parameters          of another tree, or another mask; `transfer_state`
        is of parameters with other     shapes; or has another shape, of other arguments of the optimizer: that stage begins afresh
        is half restored                a leaf is no array: no file was read there
        is stored otherwise             in other codes or dtypes, or plain, as Optax's is: `encode_state`, `decode_state`
        has lost its classes            it was restored without a target
        has other classes               as Optax's state has: it goes on as it is; `encode_state`
        is on other devices             than the parameters, as where it was saved on more
        is of another number of devices `per_device` keeps a row for each
        is not what was saved           a file changed or was truncated, or the digest is of another step

    Nothing is changed, and nothing is mended halfway: a state is as it was saved, or there is an error. What passes goes on bitwise as
    before on as many devices, and but for the order of sums on others.

    Args:
      tx: the transformation that is to go on, of this library or another.
      params: its parameters, restored; or their shapes and dtypes, where the digest is of the state alone.
      state: as it was restored.
      digest: what `digest` gave when they were saved: of the pair `(params, state)`, or of the state alone.

    >>> tx = gx.adam(1e-3)
    >>> state = tx.init(params)
    >>> gx.check_restored(tx, params, state, gx.digest((params, state)))
    >>> gx.check_restored(gx.store(tx), params, gx.encode_state(state, like=gx.store(tx).init(params)))

    Source   gradxform.
    Differs  Optax has none.
    Raises   StructureError: state is not one of tx, is half restored, is stored otherwise, is on other devices, or is not what was saved;
             digest is no digest; the digest is of another tree.
    """
    check_transformation(tx, "check_restored")
    shapes = abstract(params)
    like = jax.eval_shape(tx.init, shapes)
    _check_kind(like, state)
    found = differences(like, state, shapes)
    if found:
        raise _refused(found[0], bare=found[0].kind != "containers" and any(x.kind == "containers" for x in found))
    _check_devices(params, state)
    _check_rows(state)
    if digest is not None:
        _check_digest(params, state, digest)


def _refused(found: Difference, bare: bool) -> StructureError:
    """The error of a state that differs so; `bare` if it has lost its classes besides, which is to be mended first."""
    what, advice = SAYS[found.kind]
    first = BARE if bare else ""
    return StructureError(
        f"check_restored: the state {what}: at `{found.path}` should be {found.wanted}, but is {found.found}. {first}{advice}"
    )


def _check_kind(like: OptState, state: OptState) -> None:
    """That it is a state at all."""
    at = unpacked(state, like)
    if at is not None:
        raise StructureError(f"check_restored: got a pair whose part {at} is the state. Pass that.")
    if state is None or callable(state):
        raise wrong_state("check_restored", outline(like), state)


def _devices(x: Tree) -> frozenset[object] | None:
    """Where an array has to be; None where JAX may move it."""
    sharding = getattr(x, "sharding", None)
    return frozenset(sharding.device_set) if sharding is not None and getattr(x, "committed", True) else None


def _check_devices(params: Params, state: OptState) -> None:
    """That a compiled step may take both: JAX refuses arrays that are committed to different sets of devices."""
    sets = {devices for devices in map(_devices, jax.tree.leaves(params)) if devices is not None}
    for path, x in with_path(state):
        devices = _devices(x)
        if sets and devices is not None and devices not in sets:
            counts = " and ".join(str(n) for n in sorted(map(len, sets)))
            raise StructureError(
                f"check_restored: the state is on other devices than the parameters: `{path}` is on {len(devices)}, they are on {counts}. "
                f"Where it was saved on another number of devices, {TARGET}, or move it: `jax.device_put(state, shardings)`."
            )


def _check_rows(state: OptState) -> None:
    """That each row of `per_device` has its device: else `shard_map` hands several to one, which reads the first."""
    for path, part in jax.tree_util.tree_leaves_with_path(state, is_leaf=lambda x: isinstance(x, PerDeviceState)):
        for inside, x in with_path(part) if isinstance(part, PerDeviceState) else ():
            devices = _devices(x)
            rows = np.shape(x)[0]
            if devices is not None and (len(devices) % rows or x.sharding.shard_shape(x.shape)[0] not in (1, rows)):
                at = "/".join(filter(None, (jax.tree_util.keystr(path, simple=True, separator="/"), inside)))
                raise StructureError(
                    f"check_restored: the state is of another number of devices: `{at}` has a row for each of {rows}, and is on "
                    f"{len(devices)}. Restore on {rows}, or begin it afresh: make a state inside `shard_map`, and carry the rest over with "
                    "`gradxform.transfer_state`."
                )


def _check_digest(params: Params, state: OptState, saved: Mapping[str, str]) -> None:
    """That the bits are those of which the digest was taken."""
    if not isinstance(saved, Mapping) or not all(isinstance(x, str) for pair in saved.items() for x in pair):
        raise StructureError(
            f"check_restored: `digest` should be what `gradxform.digest` returned, a dictionary of strings, but is {brief(saved)}."
        )
    leaves, pair = named_leaves(state), named_leaves((params, state))
    of_both = saved.keys() == pair.keys()
    leaves = pair if of_both else leaves
    odd = [path for path in (*saved, *leaves) if path not in leaves or path not in saved]
    if odd:
        raise StructureError(
            f"check_restored: `digest` is of another tree: the state has {'no' if odd[0] in saved else 'a'} leaf `{odd[0]}`, the digest "
            f"{'has one' if odd[0] in saved else 'none'}. Take it of the pair `(params, state)`, or of `state`, when these are saved."
        )
    now = {path: fingerprint(path, x) for path, x in leaves.items()}
    changed = [path for path in leaves if now[path] != saved[path]]
    for path in changed[:1]:
        part = ("the parameters", "the state")[path.startswith("1")] if of_both else "the state"
        raise StructureError(
            f"check_restored: what was restored is not what was saved: `{path.partition('/')[2] if of_both else path}` of {part} was "
            f"{saved[path]}, but is {now[path]}. {_why(leaves[path], saved[path], now[path], len(changed), len(leaves))}"
        )


def _why(x: Tree, saved: str, now: str, changed: int, leaves: int) -> str:
    """What may be the matter, as far as the bits tell."""
    of = f"{changed} of {leaves} leaves differ"
    if saved.partition(" ")[0] != now.partition(" ")[0]:
        return f"It was converted in between ({of}). Take the digest of what is saved, and compare before anything is changed."
    if now == fingerprint("", jnp.zeros(np.shape(x), x.dtype)):
        return f"It is 0 throughout, as where a file was truncated or is missing ({of}). Restore the checkpoint before."
    if changed == leaves > 1:
        return "All leaves differ: is the digest of another step?"
    return f"Its file has changed since, or was truncated ({of}). Restore the checkpoint before."
