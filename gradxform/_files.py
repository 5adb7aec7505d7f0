"""Arrays that other libraries saved, in files of NumPy, safetensors and PyTorch. Nothing in a file is ever executed."""

from __future__ import annotations

import importlib
import json
import math
import os
import pickle
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from gradxform._errors import MissingArgumentError, StructureError

File = str | os.PathLike[str] | Mapping[Any, Any]
"""The name of a file, or what was read from one."""
DTYPES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": jnp.bfloat16, "F8_E4M3": jnp.float8_e4m3fn, "I64": np.int64,
    "I32": np.int32, "I16": np.int16, "I8": np.int8, "U64": np.uint64, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8, "BOOL": np.bool_,
}  # fmt: skip
"""Those of safetensors."""
NARROW = {"torch.bfloat16": jnp.bfloat16, "torch.float8_e4m3fn": jnp.float8_e4m3fn}
"""Those of PyTorch that NumPy does not have, so that they come by way of float32, which holds all their numbers."""


class Content(NamedTuple):
    """What is in a file: arrays by name, or, as PyTorch writes it, nested mappings; and the words beside them."""

    found: Mapping[Any, Any]
    flat: bool
    words: Mapping[str, str]


def read(owner: str, file: File, advice: str) -> Content:
    """What is in a file, of whatever name. `advice` says how to write one that needs no PyTorch."""
    if isinstance(file, Mapping):
        return Content(file, not any(isinstance(x, Mapping) for x in file.values()), {})
    if zipfile.is_zipfile(file) and all(name.endswith(".npy") for name in zipfile.ZipFile(file).namelist()):
        with np.load(file, allow_pickle=False) as arrays:
            return Content(dict(arrays), True, {})
    return _of_safetensors(owner, file) or Content(_of_torch(owner, file, advice), False, {})


def array(x: Any) -> np.ndarray:
    """A tensor, an array or a number as NumPy's array."""
    if hasattr(x, "detach"):
        x = x.detach().cpu()
        narrow = NARROW.get(str(x.dtype))
        x = x.numpy() if narrow is None else x.float().numpy().astype(narrow)
    return np.asarray(x)


def _of_safetensors(owner: str, file: str | os.PathLike[str]) -> Content | None:
    """The content of a file of safetensors: the length of a JSON header, the header, and the arrays that it describes."""
    with open(file, "rb") as stream:
        start = stream.read(9)
        size = int.from_bytes(start[:8], "little")
        if start[8:] != b"{" or size > os.path.getsize(file):
            return None
        header, body = json.loads(start[8:] + stream.read(size - 1)), stream.read()
    words, arrays = header.pop("__metadata__", {}), {}
    for key, about in header.items():
        begin, end = about["data_offsets"]
        if about["dtype"] not in DTYPES or end - begin != math.prod(about["shape"]) * np.dtype(DTYPES[about["dtype"]]).itemsize:
            raise StructureError(f"{owner}: cannot read {key!r} of dtype {about['dtype']} and shape {about['shape']}.")
        arrays[key] = np.frombuffer(body[begin:end], DTYPES[about["dtype"]]).reshape(about["shape"])
    return Content(arrays, True, words)


def _of_torch(owner: str, file: str | os.PathLike[str], advice: str) -> Mapping[str, Any]:
    """The content of a file of `torch.save`, which is a pickle: read by PyTorch, which then executes nothing."""
    try:
        torch = importlib.import_module("torch")
    except ModuleNotFoundError:
        raise MissingArgumentError(
            f"{owner}: {os.fspath(file)!r} is no file of NumPy or safetensors. One of `torch.save` is read with PyTorch, which is not "
            f"installed here: `pip install torch`, or, where PyTorch is, write\n{advice}"
        ) from None
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as e:
        raise StructureError(
            f"{owner}: {os.fspath(file)!r} is no file of NumPy or safetensors, and PyTorch finds more than arrays and numbers in it; what "
            "else a pickle holds is not executed. Save `optimizer.state_dict()` alone."
        ) from e
