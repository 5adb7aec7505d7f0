"""`summary`: what an optimizer is made of, which leaves each part sees, what its state weighs and how it is stored, and its rates."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from gradxform._types import Array, Field, OptState, Params, Tree
from gradxform.core import GradientTransformation
from gradxform.core._blocks import roles_in
from gradxform.core._encoded import is_encoded
from gradxform.core._holes import dtype_of, flatten, is_array, is_whole_array, paths, with_path
from gradxform.core._parts import Known, Labels, is_transformation, parts_of
from gradxform.core._roles import Role
from gradxform.core._stacked import Stacked
from gradxform.core._stage import Stage
from gradxform.core._transformation import Spec, check_transformation, show
from gradxform.surgery._hyperparams import Found, hyperparams_of, named
from gradxform.surgery._pieces import piece_of
from gradxform.surgery._report import report
from gradxform.surgery._resume import resume_at

SHARES = (0, 0.25, 0.5, 0.75, 1)  # of the run, at which schedules are shown


@dataclasses.dataclass(frozen=True)
class FieldSummary:
    """One field of the state of one stage.

    Attributes:
      name: of the field.
      kind: `leaf` (one entry per leaf), `shared`, `clock` or `key`; of a transformation of another library `leaf` where it is laid out like
        the parameters, and else `shared`.
      stored: how its entries are stored: a dtype, or the name of a codec with the dtype of its codes.
      leaves: how many entries it has.
      bytes: of all of its arrays.
      wide: paths of the leaves whose entries are plain arrays of 32 bits or more.
      saturated: how many of its numbers lie at the ends of what their codec can store; None where that is not known, as without arrays.
    """

    name: str
    kind: str
    stored: tuple[str, ...]
    leaves: int
    bytes: int
    wide: tuple[str, ...] = ()
    saturated: int | None = None


@dataclasses.dataclass(frozen=True)
class StageSummary:
    """One transformation, without those inside it.

    Attributes:
      title: its name, with its arguments but for the transformations among them; `adam: chain` for the chain that `adam` makes.
      labels: the names of the groups of partitions, and of members of named chains, that it stands in.
      depth: how many transformations it stands in.
      sees: paths of the leaves that it sees.
      fields: of its state.
      roles: where it asks which axes of a leaf are inputs and outputs, pairs of a path and its `Role`; None for what is no matrix.
    """

    title: str
    labels: tuple[str, ...]
    depth: int
    sees: tuple[str, ...]
    fields: tuple[FieldSummary, ...]
    roles: tuple[tuple[str, Role | None], ...] = ()

    @property
    def bytes(self) -> int:
        return sum(field.bytes for field in self.fields)


@dataclasses.dataclass(frozen=True)
class HyperparamSummary:
    """One hyperparameter.

    Attributes:
      name: as `get_hyperparams` has it.
      now: its value as the last update used it; before the first, as that will.
      schedule: what it follows, as text; None: it is a number.
      course: of a schedule, pairs of a number of completed updates and the value then, over the run.
    """

    name: str
    now: Array | float
    schedule: str | None = None
    course: tuple[tuple[int, Array | float], ...] = ()


@dataclasses.dataclass(frozen=True)
class Summary:
    """What `summary` finds. It prints as a table of 80 columns.

    Attributes:
      stages: the transformations, outer ones first.
      hyperparams: the numbers and schedules in them.
      leaves: paths of all parameters.
      parameters: how many numbers those are.
      parameter_bytes: their bytes.
    """

    stages: tuple[StageSummary, ...]
    hyperparams: tuple[HyperparamSummary, ...]
    leaves: tuple[str, ...]
    parameters: int
    parameter_bytes: int

    @property
    def bytes(self) -> int:
        """Those of the state."""
        return sum(stage.bytes for stage in self.stages)

    @property
    def bytes_per_parameter(self) -> float:
        return self.bytes / self.parameters if self.parameters else 0.0

    def __str__(self) -> str:
        return report(self)


def abstract(params: Params) -> Params:
    """Shapes and dtypes in place of arrays and numbers; gaps in place of what is neither."""
    is_number = lambda x: is_array(x) or is_whole_array(x) or (hasattr(x, "shape") and hasattr(x, "dtype"))
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x), dtype_of(x)) if is_number(x) else None, params)


def _bytes(x: Tree) -> int:
    return math.prod(x.shape) * x.dtype.itemsize if hasattr(x, "dtype") else np.asarray(x).nbytes


def _title(tx: Known, state: OptState, around: str | None) -> str:
    """A transformation's name and arguments, after the function that made it unless that made what is around it too.

    Of another library's the function that made it, or the class of its state.
    """
    spec = getattr(tx, "update", None)
    if not isinstance(spec, Spec):
        maker = getattr(spec, "__qualname__", "").partition(".<locals>")[0]
        return maker or type(state).__name__
    args, kwargs = spec.arguments()
    inside = lambda x: is_transformation(x) or (isinstance(x, Mapping) and any(map(is_transformation, x.values())))
    pair = lambda x: isinstance(x, tuple) and any(map(is_transformation, x))  # the name and the transformation of a named chain
    value = lambda x: "..." if isinstance(x, jax.ShapeDtypeStruct) else show(x)  # a number in a state without arrays
    said = [value(x) for x in args if not (inside(x) or pair(x))]
    said += [f"{name}={value(x)}" for name, x in kwargs.items() if not (inside(x) or pair(x))]
    call = f"{spec.name()}({', '.join(said)})" if said else spec.name()
    return call if spec.maker in (None, spec.name(), around) else f"{spec.maker}: {call}"


def _entries(tree: Tree, params: Params) -> tuple[list[tuple[str, Tree]], bool]:
    """The entries of a field with their paths, and whether it is laid out like the parameters."""
    leaves, treedef = flatten(params)
    try:
        parts = treedef.flatten_up_to(tree)
    except (ValueError, TypeError, KeyError):
        return with_path(tree, is_leaf=is_encoded), False
    found = [row for row in zip(paths(params), parts, strict=True) if jax.tree.leaves(row[1])]
    return found, len(leaves) > 1 or tree is not parts[0] or np.shape(parts[0]) == np.shape(leaves[0])


def _stored(entry: Tree) -> list[str]:
    if is_encoded(entry):
        return [f"{type(entry).__name__} {entry[0].dtype}"]
    return [str(dtype_of(x)) for x in jax.tree.leaves(entry)]


def _is_wide(entry: Tree) -> bool:
    plain = [] if is_encoded(entry) else jax.tree.leaves(entry)
    return any(is_array(x) and jnp.finfo(dtype_of(x)).bits >= 32 for x in plain)


def _saturated(entries: Sequence[Tree]) -> int | None:
    """How many numbers lie at the ends of their codec; None where none has ends, or there are no arrays."""
    counted = [x for x in entries if is_encoded(x) and hasattr(x, "saturated")]
    known = all(isinstance(y, (jax.Array, np.ndarray)) and not isinstance(y, jax.core.Tracer) for x in counted for y in x)
    return sum(int(x.saturated()) for x in counted) if counted and known else None


def _field(name: str, field: Field | None, tree: Tree, params: Params, size: Callable[[Tree], int]) -> FieldSummary:
    entries, alike = _entries(tree, params)
    kind = field.kind if field is not None and field.kind is not None else "leaf" if alike else "shared"
    trees = [x for _, x in entries]
    return FieldSummary(
        name, kind, tuple(dict.fromkeys(s for x in trees for s in _stored(x))), len(entries),
        sum(map(size, jax.tree.leaves(tree))), tuple(path for path, x in entries if kind == "leaf" and _is_wide(x)),
        _saturated(trees),
    )  # fmt: skip


class Visited(NamedTuple):
    """A transformation on the way through those that it stands in.

    Attributes:
      tx: itself; None where it is not known.
      state: its own.
      seen: the parameters as it sees them, as shapes.
      labels: as those of a `StageSummary`.
      depth: as that of a `StageSummary`.
      around: the function that made what it stands in.
      apart: the parameters leaf by leaf, where it sees stacks of them; None: it sees none.
      groups: the positions of the leaves of each stack.
    """

    tx: Known
    state: OptState
    seen: Params
    labels: Labels = ()
    depth: int = 0
    around: str | None = None
    apart: Params | None = None
    groups: tuple[tuple[int, ...], ...] = ()

    @property
    def each(self) -> Params:
        """The parameters that it sees, leaf by leaf."""
        return self.seen if self.apart is None else self.apart

    def summary(self) -> StageSummary:
        """What there is to say of it."""
        leaves, spec = list(zip(paths(self.each), flatten(self.each)[0], strict=True)), getattr(self.tx, "update", None)
        roles = (roles_in(spec, self.each) if isinstance(spec, Stage) else None) or ()
        said = tuple((path, role) for (path, p), role in zip(leaves, roles, strict=False) if is_array(p))
        sees = tuple(path for path, p in leaves if is_array(p))
        return StageSummary(self.title, self.labels, self.depth, sees, self.fields(), said)

    @property
    def title(self) -> str:
        return _title(self.tx, self.state, self.around)

    def fields(self, size: Callable[[Tree], int] = _bytes) -> tuple[FieldSummary, ...]:
        """Those of its own state; `size` gives the bytes of an array."""
        piece = piece_of(self.labels, self.tx, self.state)
        declared = {} if piece.layout is None else piece.layout.fields
        return tuple(_field(name, declared.get(name), x, self.seen, size) for name, x in piece.fields.items())

    def kept(self) -> set[str]:
        """Paths of the leaves that its own state has something of."""
        fields = piece_of(self.labels, self.tx, self.state).fields.values()
        return self.apart_of({path for entries, alike in (_entries(x, self.seen) for x in fields) if alike for path, _ in entries})

    def apart_of(self, seen: Iterable[str]) -> set[str]:
        """Paths of leaves that it sees, with those of all members in the place of a stack's."""
        names, each = paths(self.seen), paths(self.each)
        several = {names[group[0]]: [each[i] for i in group] for group in self.groups}
        return {one for path in seen for one in several.get(path, [path])}


def visits(
    tx: Known, state: OptState, params: Params, labels: Labels = (), depth: int = 0, around: str | None = None
) -> Iterator[Visited]:
    """A transformation and all that are inside it, outer ones first."""
    spec = getattr(tx, "update", None)
    if isinstance(spec, Stacked):
        view = spec.view(params)
        groups = tuple(group.leaves for group in view.groups)
        yield Visited(spec.inner, state, view.see(params), labels, depth, around, params, groups)
        return
    yield Visited(tx, state, params, labels, depth, around)
    parts = parts_of(tx, state)
    around = spec.maker if isinstance(spec, Spec) else None
    views = [params] * len(parts)
    if parts and isinstance(spec, Spec):
        views = jax.eval_shape(lambda p: list(spec.seen(p, len(parts))), params)
    for part, seen in zip(parts, views, strict=True):
        yield from visits(part.tx, part.state, seen, (*labels, part.label) if part.label else labels, depth + 1, around)


def _values(tx: GradientTransformation, params: Params, steps: int | None) -> list[list[Found]]:
    """The hyperparameters at the start, and then at the points of the run. No array is made: the compiler sees that none is used."""
    found: list[Found] = []

    def traced(step: Array | None) -> list[Array | float]:
        state = tx.init(jax.tree.map(lambda p: jnp.zeros(p.shape, p.dtype), params))
        state = state if step is None else resume_at(tx, state, step)
        now = list(hyperparams_of(tx, state, ahead=True))
        found[:] = [one._replace(value=None if isinstance(one.value, jax.core.Tracer) else one.value) for one in now]
        return [one.value for one in now]

    at = jax.jit(traced)
    made = [at(None), *(at(jnp.int32(step)) for step in _points(steps))]
    value = lambda one, x: x if one.value is None else one.value
    return [[one._replace(value=value(one, x)) for one, x in zip(found, row, strict=True)] for row in made]


def _points(steps: int | None) -> list[int]:
    return [] if steps is None else [round(share * steps) for share in SHARES]


def _hyperparams(
    tx: GradientTransformation, state: OptState | None, params: Params, steps: int | None
) -> Iterator[HyperparamSummary]:
    start, *course = _values(tx, params, steps) if state is None or steps is not None else [[]]
    now = start if state is None else list(hyperparams_of(tx, state))
    for i, (name, one) in enumerate(zip(named(now), now, strict=True)):
        if one.schedule is None:
            yield HyperparamSummary(name, one.value)
        else:
            over = zip(_points(steps), (row[i].value for row in course), strict=True)
            yield HyperparamSummary(name, one.value, show(one.schedule), tuple(over))


def summary(tx: GradientTransformation, params: Params, state: OptState | None = None, *, steps: int | None = None) -> Summary:
    """What an optimizer is made of: its stages, the leaves that each sees, what its state weighs and how it is stored, and its rates.

        print(summary(adamw(cosine_decay_schedule(1e-3, 10_000)), params, steps=10_000))

    A stage for matrices also says which axes of each leaf are its inputs and outputs.

    It prints as a table of 80 columns, and is data as well: `summary(tx, params).bytes_per_parameter`. Nothing is computed with the
    parameters, and no state is made: shapes will do, as of a model that does not fit.

        summary(tx, jax.eval_shape(model.init, key, batch))

    With a state that holds arrays it also tells where codecs reach their ends (`FieldSummary.saturated`), and the rates as they are.

    Args:
      tx: the optimizer: chains, masks, partitions and wrappers are looked through. Of a transformation of another library its state tells.
      params: the parameters, or their shapes and dtypes.
      state: a state of tx; None: as `init` makes it.
      steps: how long the run is, in updates: schedules are shown at five points of it, each as the update after so many uses it. Inside
        `accumulate` these are still updates of the whole.

    >>> gx.summary(gx.adamw(1e-3), params).bytes_per_parameter > 8  # two moments in float32, and a count
    True

    Returns:
      A `Summary`: `stages` (with `sees`, `roles`, `fields`), `hyperparams`, `leaves`, `parameters`, `bytes`, `bytes_per_parameter`.

    Source   `summary` of Keras, for models.
    Differs  Optax has none.
    Raises   StructureError: tx is not a transformation; state is not one of tx; clocks depend on more than the step.
    """
    check_transformation(tx, "summary")
    shapes = abstract(params)
    found = jax.eval_shape(tx.init, shapes) if state is None else state
    arrays = [(path, p) for path, p in zip(paths(shapes), flatten(shapes)[0], strict=True) if is_array(p)]
    known = None if any(isinstance(x, jax.ShapeDtypeStruct) for x in jax.tree.leaves(state)) else state
    return Summary(
        tuple(one.summary() for one in visits(tx, found, shapes)), tuple(_hyperparams(tx, known, shapes, steps)),
        tuple(path for path, _ in arrays), sum(math.prod(p.shape) for _, p in arrays), sum(_bytes(p) for _, p in arrays),
    )  # fmt: skip
