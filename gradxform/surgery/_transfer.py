"""`transfer_state`: the state of one optimizer carried over to another that is almost the same."""

from __future__ import annotations

import fnmatch
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from gradxform._errors import StructureError
from gradxform._numerics import round_to
from gradxform._types import Array, OptState, Params, Tree, Updates
from gradxform.core import GradientTransformation
from gradxform.core._parts import Known, Labels, inner_fields, joined, parts_of, walk
from gradxform.core._stage import Stage
from gradxform.core._state import Layout
from gradxform.core._transformation import Spec, check_transformation, frozen
from gradxform.schedules._inject import injection_of
from gradxform.surgery._resume import resume_at

Lanes = list[list[int]]
"""The ways of a gradient through pieces, which are told by their positions."""


class Transfer(NamedTuple):
    """The new state; which of its fields were carried over, which started afresh; which fields of the old state have no place in it."""

    state: OptState
    carried: tuple[str, ...]
    fresh: tuple[str, ...]
    dropped: tuple[str, ...]

    def __str__(self) -> str:
        rows = zip(self._fields[1:], self[1:], strict=True)
        return "\n".join(f"{title:8} {', '.join(names) or '-'}" for title, names in rows)


class Piece(NamedTuple):
    """A transformation without its parts, and what its state holds beside theirs."""

    labels: Labels
    spec: Callable[..., tuple[Updates, OptState]] | None
    record: str
    fields: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.spec.name() if isinstance(self.spec, Spec) else self.record

    @property
    def path(self) -> str:
        return ".".join((*self.labels, self.name.removeprefix("scale_by_")))

    @property
    def layout(self) -> Layout | None:
        """What the fields are, where it is known."""
        return self.spec.layout if isinstance(self.spec, Stage) else None

    def completed(self) -> Array | None:
        """The updates that its clock shows, if it has one."""
        if self.layout is None:
            return self.fields.get("count")
        return self.fields[self.layout.clock] - self.layout.start if self.layout.clock else None

    def likeness(self, other: Piece) -> int:
        """How much the two are the same; 0 if not at all."""
        names = self.name == other.name
        if not (self.fields and other.fields and (names or self.record == other.record)):
            return 0
        return 100 + 10 * names + (self.spec == other.spec)


def _piece(labels: Labels, tx: Known, state: OptState) -> Piece:
    spec, record = getattr(tx, "update", None), state
    fields: dict[str, Tree] = {}
    if isinstance(spec, Stage):
        record = spec.layout.unbox(state)
        own = [f for f in spec.layout.fields if f not in spec.layout.inner]
        fields = {"count": state.count} if spec.layout.boxed else {}
    else:
        own = [f for f in getattr(record, "_fields", ()) if f not in (*inner_fields(record), "inner_states")]
    fields |= {f: getattr(record, f) for f in own}
    return Piece(labels, spec, type(record).__name__, {f: x for f, x in fields.items() if jax.tree.leaves(x)})


def _lanes(tx: Known, state: OptState, pieces: list[Piece], labels: Labels = ()) -> Lanes:
    """Adds all pieces, outer ones first, and returns the ways of a gradient through them: one for each label of a partition."""
    here = len(pieces)
    pieces.append(_piece(labels, tx, state))
    parts = [_lanes(p.tx, p.state, pieces, (*labels, p.label) if p.label else labels) for p in parts_of(tx, state)]
    if hasattr(state, "inner_states"):
        return [[here, *lane] for part in parts for lane in part]
    return [[here, *itertools.chain(*lanes)] for lanes in itertools.product(*parts)]


def _aligned(old: Sequence[Piece], new: Sequence[Piece]) -> list[tuple[int, int]]:
    """The longest common subsequence by likeness, as pairs of positions."""
    best = np.zeros((len(old) + 1, len(new) + 1), int)
    for i, j in itertools.product(reversed(range(len(old))), reversed(range(len(new)))):
        like = old[i].likeness(new[j])
        best[i, j] = max(best[i + 1, j], best[i, j + 1], like and like + best[i + 1, j + 1])
    pairs, i, j = [], 0, 0
    while i < len(old) and j < len(new):
        like = old[i].likeness(new[j])
        if like and best[i, j] == like + best[i + 1, j + 1]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif best[i, j] == best[i + 1, j]:
            i += 1
        else:
            j += 1
    return pairs


def _origins(old: list[Piece], old_lanes: Lanes, new: list[Piece], new_lanes: Lanes) -> list[list[int]]:
    """For each new piece the old ones that it continues, the one under the same labels first."""
    found: list[list[int]] = [[] for _ in new]
    for a, b in itertools.product(old_lanes, new_lanes):
        for i, j in _aligned([old[k] for k in a], [new[k] for k in b]):
            if a[i] not in found[b[j]]:
                found[b[j]].append(a[i])
    return [sorted(origins, key=lambda i, n=n: old[i].labels != n.labels) for n, origins in zip(new, found, strict=True)]


def _by_path(tree: Tree) -> dict[str, Any]:
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="/"): x for path, x in leaves}


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

    def __init__(self, old: list[Piece], step: Array | None):
        self.old, self.step = old, step
        self.carried: list[str] = []
        self.fresh: list[str] = []
        self.used: set[tuple[int, str]] = set()

    def fill(self, piece: Piece, origins: Sequence[int]) -> dict[str, Any]:
        """The fields of a piece, with the old values where there are any."""
        fields = {f: self._fill(piece, f, origins) for f in piece.fields}
        layout = piece.layout
        moments, clock = ([f for f in layout.leaf if f in fields], layout.clock) if layout else ([], None)
        if moments and not any(done for f in moments for done in fields[f][1].values()):
            return self._account(piece, {f: (piece.fields[f], dict.fromkeys(done, False)) for f, (_, done) in fields.items()})
        if clock and not moments and not all(fields[clock][1].values()) and self.step is not None:
            fields[clock] = (jnp.full_like(piece.fields[clock], self.step + layout.start), {"": True})  # type: ignore[union-attr]
        return self._account(piece, fields)

    def _fill(self, piece: Piece, field: str, origins: Sequence[int]) -> tuple[Any, dict[str, bool]]:
        """A field, and which of its leaves were carried over."""
        sources = {i: _by_path(self.old[i].fields[field]) for i in origins if field in self.old[i].fields}
        new, done = _by_path(piece.fields[field]), {}
        for path, leaf in new.items():
            i = next((i for i, leaves in sources.items() if path in leaves and self._goes(piece, field, path, i)), None)
            done[path] = i is not None
            if i is not None:
                new[path] = _carried(f"{piece.path}.{field}", path, sources[i][path], leaf)
                self.used.add((i, field))
        return jax.tree.structure(piece.fields[field]).unflatten(new.values()), done

    def _goes(self, piece: Piece, field: str, path: str, i: int) -> bool:
        """Whether a value may go over: an injected hyperparameter only where both optimizers were given the same."""
        new, old = injection_of(piece.spec), injection_of(self.old[i].spec)
        return field != "hyperparams" or new is None or old is None or frozen(new.args.get(path)) == frozen(old.args.get(path))

    def _account(self, piece: Piece, fields: Mapping[str, tuple[Any, dict[str, bool]]]) -> dict[str, Any]:
        for field, (_, done) in fields.items():
            name = f"{piece.path}.{field}"
            if any(done.values()):
                self.carried.append(name)
            rest = [path for path, was in done.items() if not was]
            if rest:
                self.fresh.append(f"{name} at {', '.join(rest)}" if any(done.values()) else name)
        return {f: x for f, (x, _) in fields.items()}

    def dropped(self) -> tuple[str, ...]:
        return tuple(f"{p.path}.{f}" for i, p in enumerate(self.old) for f in p.fields if (i, f) not in self.used)


def _clock_of(pieces: Sequence[Piece]) -> Array | None:
    """The step that all clocks show, if they agree."""
    counts = [c for c in (p.completed() for p in pieces) if c is not None]
    if not counts or any(isinstance(c, jax.core.Tracer) for c in counts) or len({int(c) for c in counts}) > 1:
        return None
    return counts[0]


def transfer_state(
    old_tx: GradientTransformation,
    old_state: OptState,
    new_tx: GradientTransformation,
    params: Params,
    *,
    fresh: Sequence[str] = (),
) -> Transfer:
    """Go on with another optimizer: one with a stage, a mask, a schedule or a wrapper more or less, or other hyperparameters.

        old = chain(clip(1.0), adam(1e-3));  new = masked(adamw(cosine_decay_schedule(1e-3, 10_000)), mask)
        state, *report = transfer_state(old, state, new, params)

    Stages are matched by name and order, as the longest common subsequence; where names differ, by the class of their states, so that
    an optimizer of Optax will do. Chains, masks, partitions and wrappers are looked through. Of a matched stage

        moments     go over leaf by leaf, by path, in the dtype of the new state; a leaf that the old stage did not see starts afresh
        clocks      go over with the moments; where all moments are fresh, the clock is too
        numbers     and schedules are those of new_tx. An injected number that both were given alike goes over from the old state

    A clock without moments that is new, as of a rate that becomes a schedule, starts at the step that the old clocks show, if they
    agree, and else at 0; `resume_at` sets it otherwise.

    Args:
      old_tx, old_state: the optimizer until now, and its state.
      new_tx, params: the optimizer from now on, and the parameters that its `init` takes.
      fresh: names, or shell patterns of names, of stages that start afresh whatever the old state holds: `["adam"]`, `["head.*"]`.

    Returns:
      Transfer(state, carried, fresh, dropped), the last three names such as `adam.mu`; `print` it. Carried arrays are those of the old
      state: donate one of the two states only.

    Source   optax #1036; jax #3759.
    Raises   StructureError: an array has another shape in the new state.
    """
    check_transformation(old_tx, "transfer_state, old_tx")
    check_transformation(new_tx, "transfer_state, new_tx")
    old: list[Piece] = []
    new: list[Piece] = []
    start = new_tx.init(params)
    origins = _origins(old, _lanes(old_tx, old_state, old), new, _lanes(new_tx, start, new))
    mover, todo = Mover(old, _clock_of(old)), iter(zip(new, origins, strict=True))

    def visit(labels: Labels, tx: Known, state: OptState) -> tuple[Known, OptState, bool]:
        piece, sources = next(todo)
        renewed = any(fnmatch.fnmatchcase(piece.path, pattern) for pattern in fresh)
        fields = mover.fill(piece, () if renewed else sources)
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
    return Transfer(state, tuple(mover.carried), tuple(mover.fresh), mover.dropped())
