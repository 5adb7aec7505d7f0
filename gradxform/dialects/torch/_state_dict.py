"""The `state_dict` of an optimizer of PyTorch's, from a file: arrays by parameter and name, and the groups."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from gradxform._errors import StructureError
from gradxform._files import File
from gradxform._files import array as as_array
from gradxform._files import read as content_of

CONVERT = """
    d = optimizer.state_dict()
    arrays = {f"state.{i}.{k}": torch.as_tensor(x) for i, s in d["state"].items() for k, x in s.items() if x is not None}
    safetensors.torch.save_file(arrays, "optimizer.safetensors", metadata={"param_groups": json.dumps(d["param_groups"])})
"""


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
    found, flat, words = content_of("load_torch_state", file, CONVERT)
    if flat and not isinstance(file, Mapping):
        found = _nested(found, words)
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
    is_array = hasattr(x, "detach") or hasattr(x, "__array__") or isinstance(x, (int, float))
    return as_array(x) if is_array else None


def _nested(arrays: Mapping[str, np.ndarray], words: Mapping[str, str]) -> dict[str, Any]:
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
    groups = arrays.get("param_groups", words.get("param_groups"))
    groups = [{"params": sorted(state)}] if groups is None else json.loads(str(groups))
    return {"state": state, "param_groups": groups}
