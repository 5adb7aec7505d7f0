"""`transfer_state`: the state of one optimizer carried over to another that is almost the same."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from gradxform._errors import StructureError, UnknownNameError
from gradxform._numerics import is_whole, round_to
from gradxform._parameters import check_arguments, parameters_of
from gradxform._types import Array, OptState, Params
from gradxform.core import GradientTransformation
from gradxform.core._kernel import names_of
from gradxform.core._labels import suggest
from gradxform.core._parts import Known, Labels, joined, parts_of, walk
from gradxform.core._stacked import in_stacks, leaf_by_leaf
from gradxform.core._transformation import check_transformation, frozen
from gradxform.precision import decode_state, encode_state
from gradxform.schedules._inject import injection_of
from gradxform.surgery._pieces import Piece, Pieces, by_path, origins
from gradxform.surgery._resume import resume_at
from gradxform.surgery._summary import abstract

Age = int | str
"""The updates that a leaf's moments have seen; where that is not known, whose they are."""


class Transfer(NamedTuple):
    """The new state, and what became of its fields.

    Attributes:
      state: of the new optimizer.
      carried: the fields that were carried over.
      fresh: those that started afresh.
      dropped: the fields of the old state that have no place in it.
      clocks: the stages that count updates, with the number that each has completed.
      mixed: the stages in which leaves of different ages met under one clock, with the ages.
    """

    state: OptState
    carried: tuple[str, ...]
    fresh: tuple[str, ...]
    dropped: tuple[str, ...]
    clocks: tuple[tuple[str, Array | int], ...] = ()
    mixed: tuple[str, ...] = ()

    def __str__(self) -> str:
        shown = [f"{name} {'(traced)' if isinstance(age, jax.core.Tracer) else age}" for name, age in self.clocks]
        rows = {"carried": self.carried, "fresh": self.fresh, "dropped": self.dropped, "clocks": shown}
        lines = [f"{title:8} {', '.join(names) or '-'}" for title, names in rows.items()]
        return "\n".join([*lines, *(f"mixed    {x}" for x in self.mixed)])


def _means_the_same(old: Array, new: Array) -> bool:
    """Whether a leaf is a number still in the dtype of the new one; what is whole are codes, such as bits, that other dtypes have not."""
    dtypes = jnp.result_type(old), jnp.result_type(new)
    return dtypes[0] == dtypes[1] or not any(map(is_whole, dtypes))


def _carried(where: str, path: str, old: Array, new: Array) -> Array:
    """An old leaf in the place of a new one."""
    if np.shape(old) != np.shape(new):
        at = f" at {path!r}" if path else ""
        raise StructureError(
            f"transfer_state: `{where}`{at} has shape {np.shape(old)} in the old state, but {np.shape(new)} in the new one. Transfer "
            f"between optimizers of the same parameters, or begin it afresh: `fresh=[{where.rpartition('.')[0]!r}]`."
        )
    if jnp.result_type(old) == jnp.result_type(new):
        return old
    return round_to(jnp.asarray(old), jnp.result_type(new))


class Mover:
    """Fills the pieces of a new state, and keeps the account."""

    def __init__(self, old: list[Piece], new: list[Piece], found: list[list[int]], params: Params, oldest: bool):
        self.old, self.new, self.found, self.oldest = old, new, found, oldest
        self.step = _clock_of(old)
        self.values = [{f: by_path(x) for f, x in p.fields.items()} for p in old]
        self.sources = [{f: self._sources(p, f, found[j]) for f in p.moments(params)} for j, p in enumerate(new)]
        self.homes: dict[Labels, set[Labels]] = {}
        for j, piece in enumerate(new):
            self.homes.setdefault(piece.labels, set()).update(old[i].labels for i in self.donors(j))
        self.carried: list[str] = []
        self.fresh: list[str] = []
        self.clocks: list[tuple[str, Any]] = []
        self.mixed: list[str] = []
        self.used: set[tuple[int, str]] = set()

    def _sources(self, piece: Piece, field: str, found: Sequence[int]) -> dict[str, int | None]:
        """The old piece from which each leaf of a field comes."""
        new, by_leaf = by_path(piece.fields[field]), piece.layout is not None and field in piece.layout.leaf
        has = lambda i, path: path in self.values[i].get(field, {}) and self._goes(piece, field, path, i)
        alike = lambda i, path: not by_leaf or _means_the_same(self.values[i][field][path], new[path])
        return {path: next((i for i in found if has(i, path) and alike(i, path)), None) for path in new}

    def _goes(self, piece: Piece, field: str, path: str, i: int) -> bool:
        """Whether a value may go over: an injected hyperparameter only where both optimizers were given the same."""
        new, old = injection_of(piece.spec), injection_of(self.old[i].spec)
        return field != "hyperparams" or new is None or old is None or frozen(new.args.get(path)) == frozen(old.args.get(path))

    def donors(self, j: int) -> list[int]:
        """The old pieces from which the leaves of a new one come."""
        return list(dict.fromkeys(i for at in self.sources[j].values() for i in at.values() if i is not None))

    def age(self, i: int | None) -> Age:
        """The updates that what an old piece holds has seen."""
        completed = 0 if i is None else self.old[i].completed()
        completed = self.step if completed is None else completed
        known = completed is not None and not isinstance(completed, jax.core.Tracer) and np.ndim(completed) == 0
        return int(completed) if known else f"as in {self.old[i].path}"  # type: ignore[call-overload, arg-type]

    def ages(self, j: int) -> dict[str, Age]:
        """The age of each leaf of a new piece."""
        found: dict[str, Age] = {}
        for at in self.sources[j].values():
            found |= {path: self.age(i) for path, i in at.items() if i is None or found.get(path) != 0}
        return found

    def fill(self, j: int) -> dict[str, Any]:
        """The fields of a piece, with the old values where there are any."""
        piece, donors, ages = self.new[j], self.donors(j), self.ages(j)
        differ = len(set(ages.values())) > 1
        untold = self.step is None and any(f not in self.old[i].fields for i in donors for f in piece.timed)
        if ages and not donors and not piece.timed:
            return self.begin(j)
        if ages and piece.timed and (differ or untold or not donors) and piece.reads_clock():
            if differ:
                self.mixed.append(_told(piece.path, ages, self.oldest))
            if untold or not donors or not self.oldest:
                return self.begin(j)
        order = donors or self._at_home(j)
        late = sorted(order, key=lambda i: -age if isinstance(age := self.age(i), int) else 0)
        taken: dict[str, tuple[Any, dict[str, bool]]] = {}
        for field in piece.fields:
            first = late if field in piece.timed else [*order, *self.found[j]]
            at = self.sources[j].get(field) or self._sources(piece, field, first)
            taken[field] = self._take(piece, field, at)
        if piece.clock and not all(taken[piece.clock][1].values()):
            taken[piece.clock] = self._started(piece, late)
        if len({i for at in self.sources[j].values() for i in at.values()}) > 1:
            taken |= {f: (piece.fields[f], {"": False}) for f in _of_a_round(piece)}
        return self._account(piece, taken)

    def _started(self, piece: Piece, late: Sequence[int]) -> tuple[Array, dict[str, bool]]:
        """A clock that is new, at the step of the oldest piece that it continues, or else at that which all clocks show."""
        steps = [*(self.old[i].completed() for i in late), self.step]
        step, first = next((x for x in steps if x is not None), None), piece.fields[piece.clock or ""]
        return (first, {"": False}) if step is None else (jnp.full_like(first, step + piece.start), {"": True})

    def begin(self, j: int) -> dict[str, Any]:
        """The fields of a piece as `init` makes them."""
        return self._account(self.new[j], {f: (x, {"": False}) for f, x in self.new[j].fields.items()})

    def _at_home(self, j: int) -> list[int]:
        """The old pieces of a new one without leaves: those in the groups from which the leaves beside it come, or of the same labels."""
        labels = self.new[j].labels
        homes = self.homes.get(labels) or {labels}
        return [i for i in self.found[j] if self.old[i].labels in homes] or self.found[j]

    def _take(self, piece: Piece, field: str, at: Mapping[str, int | None]) -> tuple[Any, dict[str, bool]]:
        """A field with its leaves from the old pieces, and which of them were carried over."""
        new = by_path(piece.fields[field])
        for path, i in at.items():
            if i is not None:
                new[path] = _carried(f"{piece.path}.{field}", path, self.values[i][field][path], new[path])
                self.used.add((i, field))
        return jax.tree.structure(piece.fields[field]).unflatten(new.values()), {p: i is not None for p, i in at.items()}

    def _account(self, piece: Piece, fields: Mapping[str, tuple[Any, dict[str, bool]]]) -> dict[str, Any]:
        for field, (_, done) in fields.items():
            name = f"{piece.path}.{field}"
            if any(done.values()):
                self.carried.append(name)
            rest = [path for path, was in done.items() if not was]
            if rest:
                self.fresh.append(f"{name} at {', '.join(rest)}" if any(done.values()) else name)
        found = {f: x for f, (x, _) in fields.items()}
        if piece.clock:
            self.clocks.append((piece.path, found[piece.clock] - piece.start))
        return found

    def dropped(self) -> tuple[str, ...]:
        return tuple(f"{p.path}.{f}" for i, p in enumerate(self.old) for f in p.fields if (i, f) not in self.used)


def _told(name: str, ages: Mapping[str, Age], oldest: bool) -> str:
    """The ages that met in a stage, what was done, and what else can be."""
    by_age: dict[Age, list[str]] = {}
    for path, age in ages.items():
        by_age.setdefault(age, []).append(repr(path))
    listed = "; ".join(f"{age} at {', '.join(p[:3])}{' and others' * (len(p) > 3)}" for age, p in by_age.items())
    done = "goes on with the clock of the oldest" if oldest else "begins afresh"
    return f"{name} has leaves of different ages ({listed}) and one clock, so it {done}. In groups of a `partition` each keeps its own."


def _of_a_round(piece: Piece) -> list[str]:
    """The fields that are the same after any number of complete rounds, as an unfinished mean and the number of gradients in it."""
    fields = piece.layout.fields if piece.layout is not None else {}
    at = {f: fields[f].at for f in piece.fields if f in fields}
    return [f for f, value in at.items() if value is not None and not {"step", "inner_step"} & {*names_of(value)}]


def _clock_of(pieces: Sequence[Piece]) -> Array | None:
    """The step that all clocks show, if they agree."""
    counts = [c for c in (p.completed() for p in pieces) if c is not None]
    if not counts or any(isinstance(c, jax.core.Tracer) for c in counts) or len({int(c) for c in counts}) > 1:
        return None
    return counts[0]


def _renewed(pieces: Sequence[Piece], fresh: str | Sequence[str]) -> list[bool]:
    """Which pieces start afresh on purpose."""
    patterns = [fresh] if isinstance(fresh, str) else list(fresh)
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(p.path, pattern) for p in pieces):
            names = list(dict.fromkeys(p.path for p in pieces if p.fields))
            raise UnknownNameError(
                f"transfer_state: `fresh` has {pattern!r}, which names no stage of new_tx.{suggest(pattern, names)} "
                f"The stages with a state are {', '.join(names) or 'none'}."
            )
    return [any(fnmatch.fnmatchcase(p.path, pattern) for pattern in patterns) for p in pieces]


def transfer_state(
    old_tx: GradientTransformation,
    old_state: OptState,
    new_tx: GradientTransformation,
    params: Params,
    *,
    fresh: str | Sequence[str] = (),
    mixed: Literal["fresh", "oldest"] = "fresh",
) -> Transfer:
    """Go on with another optimizer: one with a stage, a mask, a schedule or a wrapper more or less, or other hyperparameters.

        old = chain(clip(1.0), adam(1e-3));  new = masked(adamw(cosine_decay_schedule(1e-3, 10_000)), mask)
        state, *report = transfer_state(old, state, new, params)

    Stages are matched by name and order, as the longest common subsequence; where names differ, by the class of their states, so that
    an optimizer of Optax will do. Chains, masks, partitions and wrappers are looked through, and stacks of matrices (`stacked=`) are taken
    leaf by leaf. Of a matched stage

        moments     go over leaf by leaf, by path, stored as in the new state; a leaf that the old stage did not see starts afresh
        clocks      go with the leaves that they count for; where all of those are fresh, the clock is too
        numbers     and schedules are those of new_tx. An injected number that both were given alike goes over from the old state

    The state of a stage has one clock for all of its leaves, and a moment is debiased rightly by its own age only. Where leaves of
    different ages meet in a stage that reads its clock (a leaf is added or unfrozen, groups are merged, a leaf moves to another group),
    the whole stage therefore begins afresh, and the report says so. To keep the moments, put the younger leaves in a group of their
    own, which has its own clock:

        new = partition({"old": adam(1e-3), "new": adam(1e-3)}, {"head/*": "new", "default": "old"})

    A clock that only a schedule reads goes on as that of the oldest leaves. One that is new, as of a rate that becomes a schedule, starts
    at the step that the old clocks show, if they agree, and else at 0; `resume_at` sets it otherwise. A mean that is half collected, as
    under `accumulate`, begins anew where a leaf is new to it. In a compiled function two stages are of different ages.

    Args:
      old_tx, old_state: the optimizer until now, and its state.
      new_tx, params: the optimizer from now on, and the parameters that its `init` takes.
      fresh: names, or shell patterns of names, of stages that start afresh whatever the old state holds: `["adam"]`, `["head.*"]`.
      mixed: what becomes of a stage in which leaves of different ages meet: "fresh", or "oldest": all moments are kept, with the clock of
        the oldest leaves, and those of the younger ones count for too little until they are as good as old. Adam's first updates of
        a leaf are then several times too large.

    >>> old, new = gx.adam(1e-3), gx.chain(gx.clip(1.0), gx.adamw(1e-3))
    >>> state, *report = gx.transfer_state(old, old.init(params), new, params)

    Returns:
      Transfer(state, carried, fresh, dropped, clocks, mixed), all but the first by names such as `adam.mu`; `print` it: it shows the age of
      every clock. Carried arrays are those of the old state: donate one of the two states only.

    Source   optax #1036; jax #3759.
    Raises   StructureError: old_state is not one of old_tx, or an array has another shape in the new state. UnknownNameError: `fresh` names
             no stage. HyperparameterError: `mixed` is something else.
    """
    check_transformation(old_tx, "transfer_state, old_tx")
    check_transformation(new_tx, "transfer_state, new_tx")
    check_arguments("transfer_state", parameters_of(transfer_state), {"mixed": mixed})
    begun, shapes = new_tx.init(params), abstract(params)
    start = leaf_by_leaf(new_tx, decode_state(begun), shapes)
    try:
        old, new = Pieces(old_tx, leaf_by_leaf(old_tx, decode_state(old_state), shapes)), Pieces(new_tx, start)
    except StructureError as e:
        raise StructureError(f"transfer_state: `old_state` is not a state of old_tx. {e}") from e
    mover = Mover(old.pieces, new.pieces, origins(old, new), params, mixed == "oldest")
    todo = iter(enumerate(_renewed(new.pieces, fresh)))

    def visit(labels: Labels, tx: Known, state: OptState) -> tuple[Known, OptState, bool]:
        j, renewed = next(todo)
        piece = new.pieces[j]
        fields = mover.begin(j) if renewed else mover.fill(j)
        if piece.layout is not None:
            clock = fields.pop("count", None) if piece.layout.boxed else None
            state = piece.layout.write(state, fields, clock)
        elif fields:
            state = state._replace(**fields)
        if tx is not None and injection_of(piece.spec) and not renewed:
            parts = parts_of(tx, state)
            state = joined(tx, resume_at(tx, state, state.count), parts)[1]
        return tx, state, True

    state = walk(visit, new_tx, start)[1]
    state = state if start is begun else encode_state(in_stacks(new_tx, state, shapes), begun)
    return Transfer(state, tuple(mover.carried), tuple(mover.fresh), mover.dropped(), tuple(mover.clocks), tuple(mover.mixed))
