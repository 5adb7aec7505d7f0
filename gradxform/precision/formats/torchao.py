"""States that torchao's 8-bit and float8 optimizers saved."""

from __future__ import annotations

import numpy as np

from gradxform._errors import StructureError
from gradxform._files import File
from gradxform._types import OptState, Tree
from gradxform.precision.formats import _saved
from gradxform.precision.formats._torchao_8bit import TorchaoSigned, TorchaoUnsigned
from gradxform.precision.formats._torchao_fp8 import TorchaoFp8

FIELDS = {"exp_avg": "mu", "exp_avg_sq": "nu", "max_exp_avg_sq": "nu_max"}


def read(
    saved: File,
    state: OptState,
    names: Tree,
    *,
    fields: _saved.Places = FIELDS,
    transposed: Tree = False,
    decoded: bool = False,
) -> OptState:
    """A state, with what an 8-bit or float8 optimizer of torchao has saved in the place of its own.

        state = torchao.read("optimizer.pt", store(adamw(1e-3), "torchao:8bit").init(params), {"w": 0, "b": 1})

    Read the section on states that were saved in `gradxform.precision.formats`. For `torch.load` to accept the tensors of torchao's own
    classes, import `torchao.optim` first.

    Args:
      saved: a file (.pt, .pth, .bin, .safetensors, .npz), or what was read from one.
      state: of this library; it says which fields there are, and their shapes.
      names: a tree like the parameters, with what each is called in `saved`, a number or a name; None where the state stays as it is.
      fields: the field of the state for each of the library's; None: it is left out.
      transposed: whether the axes of a leaf are the reverse of those that were saved, as (in, out) is of (out, in); a tree like `names`,
        or a part of one.
      decoded: whether to give plain float32 arrays throughout.

    >>> from gradxform.precision.formats import torchao
    >>> saved = {"state": {0: {"step": 7, "exp_avg": jnp.zeros(2), "exp_avg_sq": jnp.zeros(2)}}}
    >>> torchao.read(saved, gx.adamw(1e-3).init(params), {"w": None, "b": 0})[0].count
    Array(7, dtype=int32)

    Source   torchao 0.18, `OptimState8bit` and `OptimStateFp8`.
    Raises   StructureError, with the path: a parameter, a field or a shape is not as it is here, or a state of 4 bits.
             MissingArgumentError: PyTorch is not installed, and the file is neither NumPy's nor of safetensors.
    """
    return _saved.restored("torchao.read", saved, state, names, fields, transposed, decoded, _fields)


def _fields(record: _saved.Record) -> _saved.Record:
    return {name: _entry(name, x) if isinstance(x, dict) else x for name, x in record.items()}


def _entry(name: str, x: _saved.Record) -> _saved.Entry:
    codes, scale, qmap = x["codes"], x["scale"], x.get("qmap")
    if qmap is None:
        return _saved.entry(TorchaoFp8, codes.view(np.uint8), scale, codes.size // scale.size)
    if qmap.size != 256:
        raise StructureError(f"torchao.read: `{name}` is stored in 4 bits, which is not read: no 4 bits keep a second moment.")
    return _saved.mapped({True: TorchaoSigned, False: TorchaoUnsigned}, codes, scale, qmap, codes.size // scale.size)
