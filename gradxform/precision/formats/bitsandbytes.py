"""bitsandbytes' 8-bit state: the dynamic map in blocks of 256. For states that it saved; not recommended for new ones."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from gradxform._files import File
from gradxform._types import Array, ArrayLike, OptState, Tree
from gradxform.precision._codec import codec, named_storage
from gradxform.precision.formats import _blocks, _dynamic, _saved

BLOCK = 256
FIELDS = {"state1": "mu", "state2": "nu"}


def _above(y: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Whether the upper is nearer to y's neighbour among 2^16 numbers from -1 to 1, as the library looks codes up."""
    f = np.float32
    point = f(2) * np.floor((y + f(1)) * f(32767.5) + f(0.5)) / f(65535) - f(1)
    return np.abs(point - lower) > np.abs(point - upper)


@functools.cache
def _table(signed: bool) -> _dynamic.Table:
    return _dynamic.table(signed, _above)


def _coded(x: Array, scales: Array, signed: bool) -> tuple[Array, Array]:
    blocks, top, axis = _blocks.largest(x, scales)
    y = jnp.where(top > 0, blocks * (1 / jnp.where(top > 0, top, 1)), -1)  # where all is 0, the first code, as in the library
    return _dynamic.nearest(y, _table(signed)).reshape(x.shape), jnp.squeeze(top, axis)


@codec("bitsandbytes:8bit:signed")
class BitsandbytesSigned(NamedTuple):
    """Numbers of either sign as bitsandbytes stores them in 8 bits.

        x = dynamic[code] absmax               absmax   max |x| of a block of 256 numbers along one axis

    1.0156 bytes per number. A number is not looked up as it is, but its neighbour among 65536 from -1 to 1: so the library's code for the
    CPU does. Nothing becomes 0 thereby, 0 itself not: it is read as 2.1e-5 absmax. The library's code for GPUs searches the map, in which
    0 stays 0, and gives other codes near 0 and near ties; what either saved is read the same.

    Source   bitsandbytes 0.50, `create_dynamic_map` and `quantize_blockwise`; Dettmers et al. 2022, arXiv:2110.02861.
    Differs  blocks lie along one axis of the array, the last whose length is a multiple of 256: the library's lie along the flattened
             array, which is the same where that is the last axis. Where no axis fits, and below 4096 numbers, leaves stay in float32. A
             number that is not finite makes its block so; the library passes over NaN.
    """

    dynamic: Array
    absmax: Array

    biased = True

    @classmethod
    def zeros(cls, like: Array, seed: ArrayLike) -> BitsandbytesSigned | None:
        del seed
        return _blocks.zeros(cls, like, BLOCK, 127, jnp.uint8, jnp.float32)

    def decode(self, partner: Array | None = None) -> Array:
        return _blocks.spread(_dynamic.looked_up(self.dynamic, True), self.absmax)

    def encode(self, x: Array, partner: Array | None = None) -> BitsandbytesSigned:
        return BitsandbytesSigned(*_coded(x, self.absmax, True))


@codec("bitsandbytes:8bit:unsigned")
class BitsandbytesUnsigned(NamedTuple):
    """Numbers that are not negative as bitsandbytes stores them in 8 bits.

        x = udynamic[code] absmax              absmax   max x of a block of 256 numbers along one axis

    As `BitsandbytesSigned`, with a map that has no negative numbers. What is less than 1.5e-5 absmax, 0 included, is read as 1.6e-5
    absmax, so that no second moment becomes 0.
    """

    udynamic: Array
    absmax: Array

    biased = True
    nonnegative = True

    @classmethod
    def zeros(cls, like: Array, seed: ArrayLike) -> BitsandbytesUnsigned | None:
        del seed
        return _blocks.zeros(cls, like, BLOCK, 0, jnp.uint8, jnp.float32)

    def decode(self, partner: Array | None = None) -> Array:
        return _blocks.spread(_dynamic.looked_up(self.udynamic, False), self.absmax)

    def encode(self, x: Array, partner: Array | None = None) -> BitsandbytesUnsigned:
        return BitsandbytesUnsigned(*_coded(x, self.absmax, False))


named_storage("bitsandbytes:8bit")(_blocks.by_sign(BitsandbytesSigned, BitsandbytesUnsigned))


def read(
    saved: File,
    state: OptState,
    names: Tree,
    *,
    fields: _saved.Places = FIELDS,
    transposed: Tree = False,
    decoded: bool = False,
) -> OptState:
    """A state, with what an 8-bit optimizer of bitsandbytes had saved in the place of its own.

        state = bitsandbytes.read("optimizer.pt", store(adamw(1e-3), "bitsandbytes:8bit").init(params), {"w": 0, "b": 1})

    Read the section on states that were saved in `gradxform.precision.formats`. Optimizers with one moment keep it in `state1`: of
    `Lion8bit` that is `mu`; for others name it, as in `fields={"state1": "trace"}`.

    Args:
      saved: a file (.pt, .pth, .bin, .safetensors, .npz), or what was read from one.
      state: of this library; it says which fields there are, and their shapes.
      names: a tree like the parameters, with what each is called in `saved`, a number or a name; None where the state stays as it is.
      fields: the field of the state for each of the library's; None: it is left out.
      transposed: whether the axes of a leaf are the reverse of those that were saved, as (in, out) is of (out, in); a tree like `names`,
        or a part of one.
      decoded: whether to give plain float32 arrays throughout.

    >>> from gradxform.precision.formats import bitsandbytes
    >>> saved = {"state": {0: {"step": 7, "state1": jnp.zeros(2), "state2": jnp.zeros(2)}}}
    >>> bitsandbytes.read(saved, gx.adamw(1e-3).init(params), {"w": None, "b": 0})[0].count
    Array(7, dtype=int32)

    Source   bitsandbytes 0.50, `Optimizer8bit.state_dict`: `state1`, `qmap1`, `absmax1` and the same with 2, of late in a dictionary of
             their own.
    Raises   StructureError, with the path: a parameter, a field or a shape is not as it is here. MissingArgumentError: PyTorch is
             not installed, and the file is neither NumPy's nor of safetensors.
    """
    return _saved.restored("bitsandbytes.read", saved, state, names, fields, transposed, decoded, _fields)


def _fields(record: _saved.Record) -> _saved.Record:
    """The entries of one parameter, by the library's names."""
    record |= record.pop("__bnb_optimizer_quant_state__", {})
    found = {k: v for k, v in record.items() if k.rstrip("12") not in ("state", "qmap", "absmax")}
    for name in ("state1", "state2"):
        if name in record:
            codes, number = record[name], name[-1]
            found[name] = codes if codes.dtype != np.uint8 else _entry(codes, record[f"absmax{number}"], record[f"qmap{number}"])
    return found


def _entry(codes: np.ndarray, absmax: np.ndarray, qmap: np.ndarray) -> _saved.Entry:
    return _saved.mapped({True: BitsandbytesSigned, False: BitsandbytesUnsigned}, codes, absmax, qmap, BLOCK)
