"""Executing a run of leafwise stages on a tree: take trees apart, call an engine, put trees together."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._errors import LabelError, StructureError
from gradxform._messages import OF_A_STATE
from gradxform._numerics import mixing, promote, round_to
from gradxform._types import Array, ArrayLike, OptState, Params, Tree, Updates
from gradxform.core._blocked import in_blocks
from gradxform.core._engine import (
    Common,
    Context,
    Program,
    Row,
    Shape,
    chosen_engine,
    in_groups,
    program_for,
    record_for,
    wide_leaf,
)
from gradxform.core._explicit import at_all, place_beside, place_of
from gradxform.core._first import as_declared
from gradxform.core._holes import is_array
from gradxform.core._hyper import NUMBERS, Fraction, as_coefficient, as_number, at_rank, evaluate, fits, is_number, misfit
from gradxform.core._kernel import missing, named, names_of
from gradxform.core._labels import resolve
from gradxform.core._placement import apart, in_turn, waits
from gradxform.core._transformation import owner_of
from gradxform.core._trees import Trees, advance

if TYPE_CHECKING:
    from gradxform.core._stage import Stage

Extras = Mapping[str, Any]


def _leaf_numbers(stage: Stage, trees: Trees, name: str, default: float) -> list[Any]:
    """A number for each leaf, from an argument that labels leaves."""
    owner, dtype, numbers = stage.owner, jnp.result_type(float), []
    labels = resolve(owner, stage.args[name], trees.updates, default)
    for path, leaf, x in zip(trees.paths, trees.leaves, labels, strict=True):
        if not is_array(leaf):
            numbers.append(None)
        elif isinstance(x, (*NUMBERS, bool, np.bool_, type(None))):
            numbers.append(np.asarray(default if x is None else x, dtype))
        elif getattr(x, "shape", None) == ():
            numbers.append(jnp.asarray(x, dtype))
        else:
            raise LabelError(f"{owner}: `{name}` must be a number at every leaf, but at {path!r} it is {x!r}.")
    return numbers


def _needed(stage: Stage, trees: Trees, params: Params, extra: Extras) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """What a stage reads beside its leaf: shared extra arguments by name, and as lists those that differ from leaf to leaf."""
    kernel, shared = stage.kernel, {}
    by_leaf = {name: _leaf_numbers(stage, trees, name, mark.rest) for name, mark in kernel.leaf_data.items()}
    for name, argument in kernel.needs.items():
        value = params if name == "params" else extra.get(name)
        if value is None and not argument.optional:
            raise missing(stage.owner, name)
        if argument.labels and value is not None:
            by_leaf[name] = resolve(stage.owner, value, trees.updates, None)
        elif argument.per_leaf and value is not None:
            by_leaf[name] = trees.like(f"`{name}`", value)
        elif name != "params":
            shared[name] = value
    return shared, by_leaf


def hypers(stage: Stage, count: Array | None, of_all: Collection[str] = ()) -> dict[str, Any]:
    """The hyperparameters outside a leaf: numbers as Python floats, schedules evaluated.

    Or only those that `of_all` names, the arguments of the laws of shared fields, of which an array of one element is a number.
    """
    args = {}
    for name, value in stage.args.items():
        if of_all and name not in of_all:
            continue
        p = stage.kernel.parameters[name]
        if p.is_data and value is not None:
            fraction = p.range is not None and p.range.is_fraction
            if is_number(value):
                value = Fraction(float(value), 1.0 - float(value)) if fraction else float(value)
            else:
                x = jnp.asarray(evaluate(value, count, stage.owner, name))
                x = at_rank(x, 0) if of_all and fits(x.shape, ()) else x
                value = as_coefficient(x, fraction, jnp.result_type(float))
        args[name] = value
    return args


def _next_shared(stage: Stage, common: Common, count: Array | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The shared fields after this update by their declared laws, and what else the kernel reads."""
    old, kernel, layout = common.shared, stage.kernel, stage.layout
    if not old and kernel.advance is None:
        return {}, {}
    laws = {f: layout.fields[f].advance for f in layout.shared}
    used = {name for f in (kernel.advance, *laws.values()) if f is not None for name in names_of(f)}
    hyper, new, seen = hypers(stage, count, used) if used else {}, dict(old), {}
    dtype = promote(jnp.float32, *(x.dtype for x in old.values() if is_array(x)))
    c = Context(kernel.name, common.t, common.named, None, dtype)
    with mixing(old, common.named, [getattr(x, "value", x) for x in hyper.values()]):
        if kernel.advance is not None:
            record = record_for(layout, [None] * len(layout.leaf), common)
            record, seen = kernel.advance(record, c, **named(kernel.advance, hyper))
            new = {f: getattr(record, f) for f in old}
        for name, law in laws.items():
            if law is not None and old[name] is not None:
                new[name] = law(wide_leaf(old[name], jnp.float32), c, **named(law, hyper))
    if kernel.scope != "elementwise":
        _check_numbers(stage, hyper, [*seen.values(), *(x for f, x in new.items() if np.shape(x) != np.shape(old[f]))])
    return {f: x if x is old[f] else _stored(stage, f, x, old[f]) for f, x in new.items()}, seen


def _check_numbers(stage: Stage, hyper: Mapping[str, Any], made: Sequence[ArrayLike]) -> None:
    """Raise if a hyperparameter that is an array has made one of what is a number for all leaves."""
    if any(map(np.ndim, made)):
        for name, x in hyper.items():
            if stage.kernel.parameters[name].is_data and x is not None:
                as_number(stage.owner, name, jnp.asarray(getattr(x, "value", x)))


def _stored(stage: Stage, field: str, new: ArrayLike, old: Array) -> Array:
    """The next value of a shared field, in the dtype and the shape that it began with."""
    x = round_to(jnp.asarray(new), old.dtype).astype(old.dtype)  # astype: never of weak type
    if x.shape == old.shape:
        return x
    if not fits(x.shape, old.shape):
        raise StructureError(
            f"{stage.owner}: the state's `{field}`, one for all leaves, must keep the shape {old.shape}, but it becomes {x.shape}."
        )
    return jnp.broadcast_to(at_rank(x, old.ndim), old.shape)


class Column:
    """One stage of a run on its way through the tree: what it reads at each leaf, and what it reads at all leaves alike."""

    def __init__(
        self, stage: Stage, trees: Trees, state: OptState, record: OptState, tick: Array | None, params: Params, extra: Extras
    ):
        self.stage, self.state = stage, state
        layout = stage.layout
        self.k = k = layout.completed(state)
        self.fields = [_read_field(trees, stage, f, getattr(record, f)) for f in layout.leaf]
        shared, by_leaf = _needed(stage, trees, params, extra)
        self.next: dict[str, Any] = {}
        self.tick = tick
        t = tick - layout.start if tick is not None and layout.start else tick
        self.extras = tuple(by_leaf)
        self.columns = [trees.pick(f) for f in (*self.fields, *by_leaf.values())]
        if layout.key:
            self.next[layout.key], sample = jax.random.split(getattr(record, layout.key))
            n = len(trees.present)
            self.columns.append(list(jax.random.split(sample, max(n, 1)))[:n])
        values = [jnp.asarray(evaluate(stage.args[p.name], k, stage.owner, p.name)) for p in stage.slot.traced]
        if any(x.ndim for x in values):
            check_fit(trees, stage.owner, {p.name: x for p, x in zip(stage.slot.traced, values, strict=True)})
        self.common = Common(values, t, {f: getattr(record, f) for f in layout.shared}, shared)
        self.slots = stage.slots_by_leaf(trees.updates) if stage.kernel.leaf_args else None

    def advance(self, **total: Tree) -> None:
        """Let the shared fields advance, given the sum over all leaves if the stage asks for one."""
        common = self.common._replace(named={**self.common.named, **total})
        new, seen = _next_shared(self.stage, common, self.k)
        self.next |= new
        self.common = common._replace(named={**new, **common.named, **seen})

    def finish(self, trees: Trees, new: Iterator[Sequence[Any]]) -> OptState:
        """The new state, from new values of its fields at the present leaves."""
        for name, field in zip(self.stage.layout.leaf, self.fields, strict=True):
            self.next[name] = trees.together(trees.put(field, next(new)))
        return self.stage.layout.write(self.state, self.next, self.tick)


def check_fit(trees: Trees, owner: str, values: Mapping[str, ArrayLike]) -> None:
    """Raise unless every value fits every present leaf."""
    for name, x in values.items():
        for i in trees.present:
            shape = np.shape(trees.leaves[i])
            if not fits(np.shape(x), shape):
                raise misfit(owner, name, np.shape(x), shape, trees.paths[i])


def _read_field(trees: Trees, stage: Stage, field: str, tree: Tree) -> list[Any]:
    what = f"the state's `{field}`"
    if stage.layout.fields[field].axes is None:
        return trees.like(what, tree, OF_A_STATE)
    return as_declared(stage, field, trees.take(what, tree, OF_A_STATE), trees)


def _ticks(stages: Sequence[Stage], states: Sequence[OptState]) -> list[Array | None]:
    """The advanced clock of each stage that has one, all in one call."""
    counts = [getattr(state, s.layout.clock) for s, state in zip(stages, states, strict=True) if s.layout.clock]
    ticks = iter(advance(counts) if counts else ())
    return [next(ticks) if s.layout.clock else None for s in stages]


def _programs(program: Program, columns: Sequence[Column], trees: Trees) -> list[Program]:
    """The program of each present leaf; they differ only where a static argument does."""
    if not any(c.slots for c in columns):
        return [program] * len(trees.present)
    found: dict[Any, Program] = {}
    programs = []
    for i in trees.present:
        slots = tuple(c.slots[i] if c.slots else c.stage.slot for c in columns)
        key = tuple(s.key for s in slots)
        if key not in found:
            found[key] = program_for(slots)
        programs.append(found[key])
    return programs


def run_leaves(
    program: Program, stages: Sequence[Stage], updates: Updates, states: Sequence[OptState], params: Params, extra: Extras
) -> tuple[Updates, list[OptState]]:
    """Execute a run of leafwise stages on a tree."""
    trees = Trees(owner_of(stages), updates)
    states = [s.layout.own(state) for s, state in zip(stages, states, strict=True)]
    records = [s.layout.read(state, s.owner) for s, state in zip(stages, states, strict=True)]
    trees.settle(params, *(getattr(record, f) for s, record in zip(stages, records, strict=True) for f in s.layout.like_params))
    parts = zip(stages, states, records, _ticks(stages, states), strict=True)
    columns = [Column(s, trees, state, record, t, params, extra) for s, state, record, t in parts]
    gs = trees.pick(trees.leaves)
    ps = [trees.pick(trees.like("`params`", params))] if program.wants_params else []
    rows = list(zip(gs, *ps, *(x for c in columns for x in c.columns), strict=True))
    name = chosen_engine.value or program.default
    places = [place_beside(g, entries) for g, *entries in zip(gs, *_kept(columns, trees), strict=True)]
    if moves := name != "dealt" and any(places):  # else they are where the state is, or nothing says where, or they travel
        rows = at_all(places, rows, gs)
    numbers = jnp.asarray(np.asarray([x for s in stages for x in s.slot.pack(s.args)], jnp.result_type(float)))
    programs, out, first = _programs(program, columns, trees), [], None
    for c in columns:
        if c.stage.kernel.total is None:
            c.advance()
    if stages[0].kernel.measures:
        first = _measure(name, programs, columns, rows, numbers, trees)
    elif stages[0].kernel.total is not None:
        columns[0].advance(total=program.total([g for g, *_ in rows]))
    shape, tail = _tail(columns, numbers)
    if stages[0].kernel.sees:
        out = in_blocks(stages[0], name, programs, shape, rows, tail, trees)
    elif name in ("stacked", "tree"):
        out = in_groups(name, programs, shape, rows, tail)
    else:
        calls = {one: one.compiled(name, shape) for one in dict.fromkeys(programs)}
        for one, row in zip(programs, in_turn(rows, out, first), strict=True):
            try:
                out.append(calls[one](*row, *tail))
            except Exception as e:
                trees.note(e, len(out))
                raise
    new = iter(list(zip(*out, strict=True)) or itertools.repeat(()))
    us = next(new)
    leaves = trees.put(trees.leaves, at_all([place_of(g) for g in gs], us, gs) if moves else us)
    return trees.together(leaves), [c.finish(trees, new) for c in columns]


def _kept(columns: Sequence[Column], trees: Trees) -> list[list[Tree]]:
    """The fields of all stages that are laid out like the updates, of a stage that has none all, at the present leaves."""
    fields = ((c.stage.layout, name, f) for c in columns for name, f in zip(c.stage.layout.leaf, c.fields, strict=True))
    return [trees.pick(f) for layout, name, f in fields if name in (layout.like_params or layout.leaf)]


def _tail(columns: Sequence[Column], numbers: Array) -> tuple[Shape, tuple[Any, ...]]:
    """What is read at all leaves alike, flat, and how it is to be read."""
    flat, structure = jax.tree.flatten([c.common for c in columns])
    return Shape(tuple(c.extras for c in columns), structure), (numbers, *flat)


def _measure(
    engine: str, programs: Sequence[Program], columns: Sequence[Column], rows: Sequence[Row], numbers: Array, trees: Trees
) -> Tree:
    """Sum over the leaves what the first stage asks for, advance it, and return the sum. Without a leaf it stays as it is."""
    (shape, tail), total = _tail(columns, numbers), None
    calls = {one: one.measured(engine, shape) for one in dict.fromkeys(programs)}
    for i, (one, row) in enumerate(zip(programs, rows, strict=True)):
        try:
            add = functools.partial(calls[one], total, *row, *tail)
            total = apart(add, total) if waits(row) else add()
        except Exception as e:
            trees.note(e, i)
            raise
    if rows:
        columns[0].advance(total=total)
    return total
