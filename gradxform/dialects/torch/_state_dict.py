"""The `state_dict` of an optimizer of PyTorch's, from a file: arrays by parameter and name, and the groups."""

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

File = str | os.PathLike[str] | Mapping[str, Any]
"""Where a `state_dict` is: a file, or itself, as it came from PyTorch."""
CONVERT = """
    d = optimizer.state_dict()
    arrays = {f"state.{i}.{k}": torch.as_tensor(x) for i, s in d["state"].items() for k, x in s.items() if x is not None}
    safetensors.torch.save_file(arrays, "optimizer.safetensors", metadata={"param_groups": json.dumps(d["param_groups"])})
"""
DTYPES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": jnp.bfloat16, "I64": np.int64, "I32": np.int32, "I16": np.int16,
    "I8": np.int8, "U8": np.uint8, "BOOL": np.bool_,
}  # fmt: skip


class StateDict(NamedTuple):
    """What PyTorch keeps: for each parameter, in the order in which the optimizer has them, its arrays by name; and the groups."""

    state: list[dict[str, np.ndarray]]
    groups: list[dict[str, Any]]

    def names(self) -> list[str] | None:
        """What the optimizer calls the parameters, if it was given their names."""
        found = [group.get("param_names") for group in self.groups]
        return None if not found or None in found else [name for names in found for name in names or ()]


def read(file: File) -> StateDict:
    """The `state_dict` in a file; none of its content is executed."""
    if isinstance(file, Mapping):
        found = file
    elif zipfile.is_zipfile(file) and all(name.endswith(".npy") for name in zipfile.ZipFile(file).namelist()):
        with np.load(file, allow_pickle=False) as arrays:
            found = _nested(dict(arrays))
    else:
        found = _of_safetensors(file) or _of_torch(file)
    if not {"state", "param_groups"} <= set(found):
        raise StructureError(
            "load_torch_state: expected an optimizer's `state_dict`, with `state` and `param_groups`, but found "
            f"{', '.join(map(repr, found))}. Of a file that holds more, read it with "
            "`torch.load(file, weights_only=True)` and pass the part that is the optimizer's."
        )
    groups = [dict(group) for group in found["param_groups"]]
    order = [i for group in groups for i in group["params"]]
    state = {int(i): {k: array for k, x in own.items() if (array := _array(x)) is not None} for i, own in found["state"].items()}
    return StateDict([state.get(i, {}) for i in order], groups)


def _array(x: Any) -> np.ndarray | None:
    """A tensor or a number as NumPy's array; None for what is neither."""
    if hasattr(x, "detach"):
        x = x.detach().cpu()
        x = x.float().numpy() if str(x.dtype) == "torch.bfloat16" else x.numpy()
    return np.asarray(x) if hasattr(x, "__array__") or isinstance(x, (int, float)) else None


def _nested(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Arrays under `state.INDEX.NAME`, and the groups as JSON; without them all parameters are in one."""
    state: dict[int, dict[str, np.ndarray]] = {}
    for key, x in arrays.items():
        if key == "param_groups":
            continue
        word, index, name = (*key.split(".", 2), "", "")[:3]
        if word != "state" or not index.isdigit() or not name:
            raise StructureError(
                f"load_torch_state: the array {key!r} is not called `state.INDEX.NAME`. Write the file so:\n{CONVERT}"
            )
        state.setdefault(int(index), {})[name] = x
    groups = json.loads(str(arrays["param_groups"])) if "param_groups" in arrays else [{"params": sorted(state)}]
    return {"state": state, "param_groups": groups}


def _of_safetensors(file: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The content of a file of safetensors: the length of a JSON header, the header, and the arrays that it describes."""
    with open(file, "rb") as stream:
        start = stream.read(9)
        size = int.from_bytes(start[:8], "little")
        if start[8:] != b"{" or size > os.path.getsize(file):
            return None
        header, body = json.loads(start[8:] + stream.read(size - 1)), stream.read()
    groups = header.pop("__metadata__", {}).get("param_groups")
    arrays = {}
    for key, about in header.items():
        begin, end = about["data_offsets"]
        if about["dtype"] not in DTYPES or end - begin != math.prod(about["shape"]) * np.dtype(DTYPES[about["dtype"]]).itemsize:
            raise StructureError(f"load_torch_state: cannot read {key!r} of dtype {about['dtype']} and shape {about['shape']}.")
        arrays[key] = np.frombuffer(body[begin:end], DTYPES[about["dtype"]]).reshape(about["shape"])
    return _nested(arrays | ({} if groups is None else {"param_groups": np.array(groups)}))


def _of_torch(file: str | os.PathLike[str]) -> Mapping[str, Any]:
    """The content of a file of `torch.save`, which is a pickle: read by PyTorch, which then executes nothing."""
    try:
        torch = importlib.import_module("torch")
    except ModuleNotFoundError:
        raise MissingArgumentError(
            f"load_torch_state: {os.fspath(file)!r} is no file of NumPy or safetensors. One of `torch.save` is read with PyTorch, which is "
            f"not installed here: `pip install torch`, or, where PyTorch is, write\n{CONVERT}"
        ) from None
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as e:
        raise StructureError(
            f"load_torch_state: {os.fspath(file)!r} is no file of NumPy or safetensors, and PyTorch finds more than arrays and numbers in "
            "it; what else a pickle holds is not executed. Save `optimizer.state_dict()` alone."
        ) from e
