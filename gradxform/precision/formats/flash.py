"""FlashOptim's 8-bit state: companded numbers in blocks of 32. For states that it saved; not recommended for new ones."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from gradxform._files import File
from gradxform._types import Array, ArrayLike, OptState, Tree
from gradxform.precision._codec import codec, named_storage
from gradxform.precision.formats import _blocks, _saved

BLOCK = 32
FLOOR = 1e-12
FIELDS = {"exp_avg": "mu", "exp_avg_sq": "nu", "momentum_buffer": "trace"}


def _coded(x: Array, scales: Array) -> tuple[Array, Array]:
    """x in blocks over the largest of its block, and these, rounded to float16 after they have been used."""
    blocks, top, axis = _blocks.largest(x, scales)
    top = jnp.maximum(top, FLOOR)
    return _blocks.divided(blocks, top), jnp.squeeze(top, axis).astype(jnp.float16)


def _rounded(y: Array, like: Array) -> Array:
    return jnp.floor(y + 0.5).astype(like.dtype).reshape(like.shape)


@codec("flash:8bit:signed")
class FlashSigned(NamedTuple):
    """Numbers of either sign as FlashOptim stores them in 8 bits.

        z = code / 127      x = z / (2 - |z|) scales            scales    max |x| of a block of 32 numbers along one axis, in float16

    1.0625 bytes per number. Blocks whose largest number is below 3e-8 become 0, and above 65504 infinite, for that is the range of float16.

    Source   FlashOptim 0.1.4, `quantize`; Gonzalez Ortiz et al. 2026, arXiv:2602.23349.
    Differs  blocks lie along one axis of the array, the last whose length is a multiple of 32: FlashOptim's lie along the flattened array,
             which is the same where that is the last axis. Where no axis fits, and below 4096 numbers, leaves stay in float32; FlashOptim
             stores those in 8 bits too.
    """

    softsign: Array
    scales: Array

    biased = True

    @classmethod
    def zeros(cls, like: Array, seed: ArrayLike) -> FlashSigned | None:
        del seed
        return _blocks.zeros(cls, like, BLOCK, 0, jnp.int8, jnp.float16)

    def decode(self, partner: Array | None = None) -> Array:
        z = _blocks.divided(self.softsign.astype(jnp.float32), 127)
        return _blocks.spread(z / (2 - jnp.abs(z)), self.scales)

    def encode(self, x: Array, partner: Array | None = None) -> FlashSigned:
        y, scales = _coded(x, self.scales)
        return FlashSigned(_rounded(2 * y / (1 + jnp.abs(y)) * 127, self.softsign), scales)


@codec("flash:8bit:unsigned")
class FlashUnsigned(NamedTuple):
    """Numbers that are not negative as FlashOptim stores them in 8 bits.

        x = (code / 255 scales)^2                               scales    max sqrt(x) of a block of 32 numbers along one axis, in float16

    As `FlashSigned`. What is less than 3.8e-6 of the largest number of its block becomes 0: a second moment that does divides the step by
    eps alone.
    """

    root: Array
    scales: Array

    biased = True
    nonnegative = True

    @classmethod
    def zeros(cls, like: Array, seed: ArrayLike) -> FlashUnsigned | None:
        del seed
        return _blocks.zeros(cls, like, BLOCK, 0, jnp.uint8, jnp.float16)

    def decode(self, partner: Array | None = None) -> Array:
        return jnp.square(_blocks.spread(_blocks.divided(self.root.astype(jnp.float32), 255), self.scales))

    def encode(self, x: Array, partner: Array | None = None) -> FlashUnsigned:
        y, scales = _coded(jnp.sqrt(x), self.scales)
        return FlashUnsigned(_rounded(y * 255, self.root), scales)


named_storage("flash:8bit")(_blocks.by_sign(FlashSigned, FlashUnsigned))


def read(
    saved: File,
    state: OptState,
    names: Tree,
    *,
    fields: _saved.Places = FIELDS,
    transposed: Tree = False,
    decoded: bool = False,
) -> OptState:
    """A state, with what an optimizer of FlashOptim has saved in the place of its own.

        like = store(adamw(1e-3), "flash:8bit").init(params)
        state = flash.read("optimizer.pt", like, {"w": 0, "b": 1}, fields={**flash.FIELDS, "error_bits": None})

    Read the section on states that were saved in `gradxform.precision.formats`. States saved with `compress_state_dict=False` are of plain
    arrays, which are read too. The corrections of master weights, `error_bits`, have no place in the state: leave them out, or add
    them to the parameters before.

    Args:
      saved: a file (.pt, .pth, .bin, .safetensors, .npz), or what was read from one.
      state: of this library; it says which fields there are, and their shapes.
      names: a tree like the parameters, with what each is called in `saved`, a number or a name; None where the state stays as it is.
      fields: the field of the state for each of the library's; None: it is left out.
      transposed: whether the axes of a leaf are the reverse of those that were saved, as (in, out) is of (out, in); a tree like `names`,
        or a part of one.
      decoded: whether to give plain float32 arrays throughout.

    >>> from gradxform.precision.formats import flash
    >>> saved = {"state": {0: {"step": 7, "exp_avg": jnp.zeros(2), "exp_avg_sq": jnp.zeros(2)}}}
    >>> flash.read(saved, gx.adamw(1e-3).init(params), {"w": None, "b": 0})[0].count
    Array(7, dtype=int32)

    Source   FlashOptim 0.1.4, `FlashOptimizer.state_dict`: `exp_avg::quantized`, `exp_avg::scales` and the like; beside bfloat16 parameters
             the bits of the scales are saved as those of bfloat16.
    Raises   StructureError, with the path: a parameter, a field or a shape is not as it is here. MissingArgumentError: PyTorch is
             not installed, and the file is neither NumPy's nor of safetensors.
    """
    return _saved.restored("flash.read", saved, state, names, fields, transposed, decoded, _fields)


def _fields(record: _saved.Record) -> _saved.Record:
    found = {name: x for name, x in record.items() if "::" not in name}
    for name in {name.partition("::")[0] for name in record if "::" in name}:
        codes, scales = record[f"{name}::quantized"], record[f"{name}::scales"].view(np.float16)
        cls = FlashUnsigned if name == "exp_avg_sq" else FlashSigned
        found[name] = _saved.entry(cls, codes.astype(np.uint8 if cls is FlashUnsigned else np.int8), scales, BLOCK)
    return found
