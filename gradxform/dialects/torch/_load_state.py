"""`load_torch_state`: an optimizer of PyTorch's in the middle of its run, carried over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._errors import LabelError, StructureError
from gradxform._types import OptState, Params
from gradxform.core import GradientTransformation
from gradxform.core._labels import suggest
from gradxform.core._parts import Known, Labels, walk
from gradxform.core._transformation import check_transformation
from gradxform.dialects.torch._state_dict import File, StateDict, read
from gradxform.surgery import resume_at
from gradxform.surgery._pieces import Piece, by_path, piece_of

Place = str | tuple[str, Sequence[int]] | None
"""Where a parameter of PyTorch's is here: a path, one with the order of PyTorch's axes, or nowhere."""


class Source(NamedTuple):
    """Of a field of a state: what PyTorch calls it, the first that fits, and the axis of length 1 that it has there."""

    names: tuple[str, ...]
    squeeze: int | None = None


SOURCES = {
    "ScaleByAdamState": {"mu": Source(("exp_avg",)), "nu": Source(("exp_avg_sq", "exp_inf"))},
    "ScaleByAmsgradState": {
        "mu": Source(("exp_avg",)), "nu": Source(("exp_avg_sq",)), "nu_max": Source(("max_exp_avg_sq",)),
    },
    "ScaleByNadamState": {
        "mu": Source(("exp_avg",)), "nu": Source(("exp_avg_sq",)), "momentum_product": Source(("mu_product",)),
    },
    "TraceState": {"trace": Source(("momentum_buffer",))},
    "DampenedTraceState": {"trace": Source(("momentum_buffer",))},
    "OrthogonalState": {"mu": Source(("momentum_buffer",))},
    "ScaleByRmsState": {"nu": Source(("square_avg",))},
    "ScaleByRStdDevState": {"mu": Source(("grad_avg",)), "nu": Source(("square_avg",))},
    "ScaleByRssState": {"sum_of_squares": Source(("sum",))},
    "ScaleByAdaDeltaState": {"e_g": Source(("square_avg",)), "e_x": Source(("acc_delta",))},
    "ScaleByRpropState": {"step_sizes": Source(("step_size",)), "prev_updates": Source(("prev",))},
    "AsgdState": {"eta": Source(("eta",)), "ax": Source(("ax",))},
    "FactoredState": {
        "v_row": Source(("row_var", "col_var"), -1), "v_col": Source(("row_var", "col_var"), -2), "v": Source(("variance",)),
    },
}  # fmt: skip
"""The fields of a state class, by PyTorch's names of the same quantities."""


class Loaded(NamedTuple):
    """The state, and what became of PyTorch's.

    Attributes:
      state: of the transformation.
      carried: the fields that come from the file.
      fresh: those of which the file has nothing, so that they are as after `init`.
      dropped: what the file has and the state has no place for.
    """

    state: OptState
    carried: tuple[str, ...]
    fresh: tuple[str, ...]
    dropped: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(f"{title:8} {', '.join(x) or '-'}" for title, x in self._asdict().items() if title != "state")


class Moved:
    """PyTorch's arrays by the paths of the parameters here, and an account of those that were used."""

    def __init__(self, found: StateDict, names: Mapping[str, Place]):
        self.order = _in_order(found, names)
        self.arrays = dict(zip(self.order, found.state, strict=True))
        self.at = {place[0]: (name, place[1]) for name in self.order if (place := _place(names[name])) is not None}
        self.used: set[tuple[str, str]] = set()

    def take(self, path: str, source: Source, like: Any) -> np.ndarray | None:
        """What the file has for a leaf of a field, laid out as that, or None."""
        name, axes = self.at.get(path, ("", None))
        for key in source.names:
            x = self.arrays.get(name, {}).get(key)
            if x is None:
                continue
            x = np.transpose(x, axes) if axes is not None and x.ndim == len(axes) else x
            if source.squeeze is not None:
                if x.ndim < 2 or x.shape[source.squeeze] != 1:
                    continue
                x = np.squeeze(x, source.squeeze)
            if x.shape != np.shape(like):
                raise StructureError(_misfit(name, path, key, x.shape, np.shape(like)))
            self.used.add((name, key))
            return x
        return None

    def shared(self, owner: str, paths: Sequence[str], source: Source) -> np.ndarray | None:
        """What the file has for a number that several leaves share."""
        found = {path: x for path in paths if (x := self.take(path, source, np.zeros(()))) is not None}
        values = list(found.values())
        if any(not np.array_equal(x, values[0]) for x in values):
            raise StructureError(
                f"load_torch_state: in {owner} all leaves share one number, but in the file {source.names[0]} differs: "
                f"{', '.join(f'{p!r} {x}' for p, x in found.items())}. Put them in groups of their own."
            )
        return values[0] if values else None

    def step(self) -> int | None:
        """The updates that most parameters have seen."""
        steps = {name: int(own["step"]) for name, own in self.arrays.items() if "step" in own}
        most = max(steps.values(), default=None)
        self.used |= {(name, "step") for name, n in steps.items() if n == most}
        return most

    def dropped(self) -> tuple[str, ...]:
        return tuple(f"{name}.{key}" for name, own in self.arrays.items() for key in own if (name, key) not in self.used)


def _misfit(name: str, path: str, key: str, shape: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    order = tuple(reversed(range(len(shape))))
    hint = f" If PyTorch has its axes the other way round, write ({path!r}, {order})." if shape[::-1] == wanted else ""
    return (
        f"load_torch_state: `{key}` of {name!r} has shape {shape}, but at {path!r} the state has {wanted}.{hint} "
        "Say with `names` which parameter is which, in the order in which the optimizer was given them."
    )


def _place(place: Place) -> tuple[str, Sequence[int] | None] | None:
    return place if isinstance(place, tuple) else None if place is None else (place, None)


def _in_order(found: StateDict, names: Mapping[str, Place]) -> list[str]:
    """PyTorch's names in the order of the file."""
    own = found.names()
    if own is not None and set(own) != set(names):
        odd = sorted(set(own) ^ set(names))
        raise LabelError(
            f"load_torch_state: `names` and the names in the file differ in {', '.join(map(repr, odd))}. The file has "
            f"{', '.join(map(repr, own))}."
        )
    if len(names) != len(found.state):
        raise LabelError(
            f"load_torch_state: the file has {len(found.state)} parameters, but `names` has {len(names)}: {', '.join(names)}. Name all "
            "that the optimizer was given, group after group; one that is nowhere here is None."
        )
    return own or list(names)


def _check_paths(names: Mapping[str, Place], params: Params) -> None:
    known = by_path(params)
    for name, place in names.items():
        at = _place(place)
        if at is not None and at[0] not in known:
            near = suggest(at[0], list(known))
            raise LabelError(
                f"load_torch_state: {name!r} should be at {at[0]!r}, but there is no such leaf.{near} There are {', '.join(known)}."
            )


def torch_groups(file: File, names: Mapping[str, Place]) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """The parameter groups of a `state_dict` as labels of the leaves, and their hyperparameters, to make the transformation of.

        labels, groups = torch_groups(file, names)
        tx = gx.partition({k: torch.adamw(lr=g["lr"], weight_decay=g["weight_decay"]) for k, g in groups.items()}, labels)
        state, *report = load_torch_state(tx, params, file, names)

    Args:
      file, names: as for `load_torch_state`.

    >>> from gradxform.dialects import torch
    >>> saved = {"state": {}, "param_groups": [{"lr": 0.1, "params": [0]}, {"lr": 0.01, "params": [1]}]}
    >>> torch.torch_groups(saved, {"w": "w", "b": "b"})
    ({'w': '0', 'b': '1'}, {'0': {'lr': 0.1}, '1': {'lr': 0.01}})

    Returns:
      {path: label} and {label: hyperparameters}; the labels are "0", "1", ... in the order of the groups.

    Source   PyTorch 2.13, `Optimizer.state_dict`.
    """
    found = read(file)
    order = _in_order(found, names)
    numbers = [str(i) for i, group in enumerate(found.groups) for _ in group["params"]]
    places = [_place(names[name]) for name in order]
    labels = {place[0]: label for place, label in zip(places, numbers, strict=True) if place is not None}
    hypers = [{k: x for k, x in group.items() if k not in ("params", "param_names")} for group in found.groups]
    return labels, {str(i): x for i, x in enumerate(hypers)}


def load_torch_state(
    tx: GradientTransformation, params: Params, file: File, names: Mapping[str, Place], *, step: int | None = None
) -> Loaded:
    """Go on with a run of PyTorch's: the state of `tx` from the `state_dict` of an optimizer.

        names = {"fc.weight": ("fc/kernel", (1, 0)), "fc.bias": "fc/bias"}
        state, *report = load_torch_state(torch.adamw(3e-4), params, "optimizer.pt", names)

    A file of `torch.save(optimizer.state_dict(), file)` is read by PyTorch with `weights_only=True`. One of safetensors, or of NumPy's
    `savez`, with arrays called `state.INDEX.NAME` and the groups as JSON under `param_groups`, needs no PyTorch:

        d = optimizer.state_dict()
        arrays = {f"state.{i}.{k}": torch.as_tensor(x) for i, s in d["state"].items() for k, x in s.items() if x is not None}
        safetensors.torch.save_file(arrays, "optimizer.safetensors", metadata={"param_groups": json.dumps(d["param_groups"])})

    Nothing in a file is executed. The arrays go to the optimizers of `gradxform.dialects.torch`, and to ours of the same state; they are
    found within chains, masks, partitions and wrappers. All clocks are set to the file's step. The rates are those of `tx`.

    Args:
      tx, params: the transformation, and the parameters at that time, which `init` takes.
      file: its name, or the `state_dict` itself.
      names: for each parameter that the optimizer was given, in that order, group after group, PyTorch's name: the path of the leaf here;
        or the path, and the order in which PyTorch's axes come here: (1, 0) for a kernel that is (out, in) there and (in, out) here;
        or None, where there is no such leaf. Where the optimizer was given `named_parameters()`, the names decide, not their order.
      step: the updates of `tx` until then, where they are not the file's: of SGD, whose file has none, or under `accumulate`, where they
        are several for each step of PyTorch's.

    >>> moments = {"step": 25.0, "exp_avg": jnp.ones((2, 2)), "exp_avg_sq": jnp.ones((2, 2))}
    >>> state_dict = {"state": {0: moments}, "param_groups": [{"params": [0]}]}
    >>> state, *report = gx.load_torch_state(gx.adam(1e-3), params, state_dict, {"weight": ("w", (1, 0))})
    >>> int(gx.tree.get(state, "count"))
    25

    Returns:
      Loaded(state, carried, fresh, dropped); `print` it.

    Source   PyTorch 2.13, `Optimizer.state_dict`.
    Raises   LabelError: `names` does not fit the file or the parameters. StructureError: a shape is another; numbers differ that are shared
             here; the file is not a `state_dict`. MissingArgumentError: the file needs PyTorch and it is not installed.
    """
    check_transformation(tx, "load_torch_state")
    _check_paths(names, params)
    moved = Moved(read(file), names)
    made, carried, fresh = moved.step(), [], []
    clocks: list[tuple[str, Any]] = []
    start = tx.init(params)
    count = made if step is None else step
    resumed = start if count is None else resume_at(tx, start, count)

    def visit(labels: Labels, tx: Known, state: OptState) -> tuple[Known, OptState, bool]:
        piece = piece_of(labels, tx, state)
        fields = _filled(piece, moved, carried, fresh)
        if fields and piece.clock:
            clocks.append((piece.path, piece.completed()))
        if fields:
            state = piece.layout.write(state, fields) if piece.layout is not None else state._replace(**fields)
        return tx, state, True

    state = walk(visit, tx, resumed)[1]
    for path, clock in clocks:
        if made is not None and int(clock) != made:
            raise StructureError(
                f"load_torch_state: the file is of step {made}, but after {count} updates {path} has made {int(clock)}. Give `step`, the "
                "number of updates of the whole transformation."
            )
    return Loaded(state, tuple(carried), tuple(fresh), moved.dropped())


def _filled(piece: Piece, moved: Moved, carried: list[str], fresh: list[str]) -> dict[str, Any]:
    """The fields of a piece, with what the file has for them."""
    new: dict[str, Any] = {}
    sources = SOURCES.get(piece.record, {})
    leafwise = [f for f in piece.fields if f != piece.clock and (piece.layout is None or f in piece.layout.leaf)]
    paths = list(dict.fromkeys(path for f in leafwise for path in by_path(piece.fields[f])))
    for field, old in piece.fields.items():
        if field == piece.clock:
            continue
        source, name = sources.get(field), f"{piece.path}.{field}"
        if source is not None and field not in leafwise:
            x = moved.shared(piece.path, paths, source)
            (fresh if x is None else carried).append(name)
            new |= {} if x is None else {field: jnp.full_like(old, x)}
            continue
        values, found = by_path(old), {}
        for path, y in values.items():
            x = None if source is None else moved.take(path, source, y)
            if x is not None:
                found[path] = jnp.asarray(x, y.dtype)
        missing = [path for path in values if path not in found]
        carried += [name] if found and not missing else [f"{name} at {path!r}" for path in found]
        fresh += [name] if missing and not found else [f"{name} at {path!r}" for path in missing]
        new |= {field: jax.tree.structure(old).unflatten([found.get(path, y) for path, y in values.items()])} if found else {}
    return new
