"""Executing stages on trees: take trees apart, check them, call an engine or a whole-tree kernel, put trees together."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._errors import LabelError, MissingArgumentError, StructureError
from gradxform._numerics import increment, real_part, round_to, widen
from gradxform.core._engine import Common, Context, Program, Shape, chosen_engine, in_groups, program_for, record_for, wide_leaf
from gradxform.core._holes import as_array, flatten, is_array, is_gap, paths
from gradxform.core._hyper import NUMBERS, Fraction, as_coefficient, evaluate, is_number
from gradxform.core._labels import resolve

if TYPE_CHECKING:
    from gradxform.core._lift import Stage

_advance = jax.jit(lambda counts: [increment(t) for t in counts])
_widen_leaf = jax.jit(wide_leaf, static_argnums=1)
_round_leaf = jax.jit(round_to, static_argnums=1)


class Trees:
    """The trees of one update, taken apart along the structure of the updates; gaps and non-arrays are skipped."""

    def __init__(self, owner: str, updates: Any):
        self.owner, self.updates = owner, updates
        self.leaves, self.treedef = flatten(updates)
        self.present = [i for i, x in enumerate(self.leaves) if is_array(x)]
        self.shapes = [getattr(x, "shape", None) for x in self.leaves]

    @functools.cached_property
    def paths(self) -> list[str]:
        return paths(self.updates)

    def take(self, what: str, tree: Any) -> list[Any]:
        """The parts of `tree` that belong to the leaves of the updates."""
        try:
            return self.treedef.flatten_up_to(tree)
        except (ValueError, TypeError, KeyError) as e:
            theirs = paths(tree)
            odd = [p for p in self.paths if p not in set(theirs)] + [p for p in theirs if p not in set(self.paths)]
            at = f" They part at {', '.join(odd[:5])}." if odd else " Their containers are of different types."
            raise StructureError(
                f"{self.owner}: {what} should have the structure of the updates, but has another.{at} "
                f"Updates: {_outline(self.updates)}; {what}: {_outline(tree)}. Pass gradients of the parameters that `init` saw."
            ) from e

    def like(self, what: str, tree: Any) -> list[Any]:
        """As `take`, and each part must be an array of the update's shape."""
        parts = self.take(what, tree)
        if [getattr(x, "shape", None) for x in parts] == self.shapes:
            return parts
        for i in self.present:
            part, g = parts[i], self.leaves[i]
            if getattr(part, "shape", ()) != getattr(g, "shape", ()) or not (hasattr(part, "dtype") or is_array(part)):
                came = "nothing" if is_gap(part) else f"shape {np.shape(part)}"
                raise StructureError(
                    f"{self.owner}: at {self.paths[i]!r} the update has shape {np.shape(g)}, but {what} has {came}. "
                    "They must agree; nothing is broadcast."
                )
        return parts

    def pick(self, parts: list[Any]) -> list[Any]:
        """The parts at the present leaves."""
        return parts if len(self.present) == len(parts) else [parts[i] for i in self.present]

    def put(self, parts: list[Any], new: Sequence[Any]) -> list[Any]:
        """The parts, with new ones at the present leaves."""
        if len(new) == len(parts):
            return list(new)
        parts = list(parts)
        for i, x in zip(self.present, new, strict=True):
            parts[i] = x
        return parts

    def together(self, parts: Sequence[Any]) -> Any:
        return self.treedef.unflatten(parts)


def _outline(tree: Any) -> str:
    return f"{jax.tree.structure(tree)}"[:300]


def _leaf_numbers(stage: Stage, trees: Trees, name: str, default: float) -> list[Any]:
    """A number for each leaf, from an argument that labels leaves."""
    owner, dtype, numbers = stage.rule.name, jnp.result_type(float), []
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


def _needed(stage: Stage, trees: Trees, params: Any, extra: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a stage reads beside its leaf: shared extra arguments by name, and as lists those that differ from leaf to leaf."""
    shared = {name: None for name in stage.rule.optional if extra.get(name) is None}
    by_leaf = {name: _leaf_numbers(stage, trees, name, rest) for name, rest in stage.rule.leaf_data.items()}
    for name in (*stage.rule.needs, *(name for name in stage.rule.optional if name not in shared)):
        if name == "params":
            if params is None:
                raise MissingArgumentError(
                    f"{stage.rule.name}: needs the parameters, but `params` is None. Call `update(updates, state, params)`."
                )
        elif extra.get(name) is None:
            raise MissingArgumentError(
                f"{stage.rule.name}: needs the extra argument `{name}`, which was not given. "
                f"Call `update(updates, state, params, {name}=...)`."
            )
        elif name in stage.rule.leaf_extras:
            by_leaf[name] = trees.like(f"`{name}`", extra[name])
        else:
            shared[name] = extra[name]
    return shared, by_leaf


def _hypers(stage: Stage, count: Any) -> dict[str, Any]:
    """The hyperparameters outside a leaf: numbers as Python floats, schedules evaluated."""
    args = {}
    for name, value in stage.args.items():
        p = stage.rule.parameters[name]
        if p.is_data and value is not None:
            fraction = p.range is not None and p.range.is_fraction
            if is_number(value):
                value = Fraction(float(value), 1.0 - float(value)) if fraction else float(value)
            else:
                value = as_coefficient(evaluate(value, count), fraction, jnp.result_type(float))
        args[name] = value
    return args


def _next_shared(stage: Stage, common: Common, count: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The shared fields after this update by their declared laws, and what else the kernel reads."""
    old, rule = common.shared, stage.rule
    if not old and rule.advance is None:
        return {}, {}
    hyper, new, seen = _hypers(stage, count), dict(old), {}
    dtype = functools.reduce(jnp.promote_types, [x.dtype for x in old.values() if is_array(x)], jnp.dtype(jnp.float32))
    c = Context(rule.name, common.t, common.named, None, dtype)
    if rule.advance is not None:
        record = record_for(stage.layout, [None] * len(stage.layout.leaf), common)
        record, seen = rule.advance(record, c, **rule.named(rule.advance, hyper))
        new = {f: getattr(record, f) for f in old}
    for field, law in rule.shared.items():
        if law.advance is not None:
            new[field] = law.advance(old[field], c, **rule.named(law.advance, hyper))
    stored = lambda x, dtype: round_to(jnp.asarray(x), dtype).astype(dtype)  # astype: never of weak type
    return {f: x if x is old[f] else stored(x, old[f].dtype) for f, x in new.items()}, seen


class Column:
    """One stage of a run on its way through the tree: what it reads at each leaf, and what it reads at all leaves alike."""

    def __init__(self, stage: Stage, trees: Trees, state: Any, record: Any, t: Any, params: Any, extra: Mapping[str, Any]):
        self.stage, self.state = stage, state
        layout = stage.layout
        self.k = k = getattr(state, layout.clock) if layout.clock else None
        self.fields = [_read_field(trees, stage, f, getattr(record, f)) for f in layout.leaf]
        named, by_leaf = _needed(stage, trees, params, extra)
        self.next: dict[str, Any] = {layout.clock: t} if layout.clock else {}
        self.extras = tuple(by_leaf)
        self.columns = [trees.pick(f) for f in (*self.fields, *by_leaf.values())]
        if layout.key:
            self.next[layout.key], sample = jax.random.split(getattr(record, layout.key))
            n = len(trees.present)
            self.columns.append(list(jax.random.split(sample, max(n, 1)))[:n])
        values = [jnp.asarray(evaluate(stage.args[p.name], k)) for p in stage.slot.traced]
        self.common = Common(values, t, {f: getattr(record, f) for f in layout.shared}, named)
        self.slots = stage.slots_by_leaf(trees.take, trees.updates) if stage.rule.leaf_args else None

    def advance(self, **total: Any) -> None:
        """Let the shared fields advance, given the sum over all leaves if the stage asks for one."""
        common = self.common._replace(named={**self.common.named, **total})
        new, seen = _next_shared(self.stage, common, self.k)
        self.next |= new
        self.common = common._replace(named={**new, **common.named, **seen})

    def finish(self, trees: Trees, new: Iterator[Sequence[Any]]) -> Any:
        """The new state, from new values of its fields at the present leaves."""
        for name, field in zip(self.stage.layout.leaf, self.fields, strict=True):
            self.next[name] = trees.together(trees.put(field, next(new)))
        return self.stage.layout.write(self.state, self.next)


def _read_field(trees: Trees, stage: Stage, field: str, tree: Any) -> list[Any]:
    what = f"the state's `{field}`"
    return trees.take(what, tree) if field in stage.rule.initial else trees.like(what, tree)


def _ticks(stages: Sequence[Stage], states: Sequence[Any]) -> list[Any]:
    """The advanced clock of each stage that has one, all in one call."""
    counts = [getattr(state, s.layout.clock) for s, state in zip(stages, states, strict=True) if s.layout.clock]
    ticks = iter(_advance(counts) if counts else ())
    return [next(ticks) if s.layout.clock else None for s in stages]


def _programs(program: Program, columns: Sequence[Column], trees: Trees) -> list[Program]:
    """The program of each present leaf; they differ only where a static argument does."""
    if not any(c.slots for c in columns):
        return [program] * len(trees.present)
    return [program_for(tuple(c.slots[i] if c.slots else c.stage.slot for c in columns)) for i in trees.present]


def run_leaves(
    program: Program, stages: Sequence[Stage], updates: Any, states: Sequence[Any], params: Any, extra: Mapping[str, Any]
) -> tuple[Any, list[Any]]:
    """Execute a run of leafwise stages on a tree."""
    trees = Trees(program.name, updates)
    records = [s.layout.read(state, s.rule.name) for s, state in zip(stages, states, strict=True)]
    parts = zip(stages, states, records, _ticks(stages, states), strict=True)
    columns = [Column(s, trees, state, record, t, params, extra) for s, state, record, t in parts]
    gs = trees.pick(trees.leaves)
    ps = [trees.pick(trees.like("`params`", params))] if program.wants_params else []
    rows = list(zip(gs, *ps, *(x for c in columns for x in c.columns), strict=True))
    numbers = jnp.asarray(np.asarray([x for s in stages for x in s.slot.pack(s.args)], jnp.result_type(float)))
    programs, name, out = _programs(program, columns, trees), chosen_engine.get() or program.default, []
    for c in columns:
        if c.stage.rule.total is None:
            c.advance()
    if stages[0].rule.measures:
        _measure(name, programs, columns, rows, numbers, trees)
    elif stages[0].rule.total is not None:
        columns[0].advance(total=program.total(gs))
    shape, tail = _tail(columns, numbers)
    if name in ("stacked", "tree"):
        out = in_groups(name, programs, shape, rows, tail)
    else:
        for one, row in zip(programs, rows, strict=True):
            try:
                out.append(one.compiled(name, shape)(*row, *tail))
            except Exception as e:
                _add_note(e, program.name, trees, len(out))
                raise
    new = iter(list(zip(*out, strict=True)) or itertools.repeat(()))
    leaves = trees.put(trees.leaves, next(new))
    return trees.together(leaves), [c.finish(trees, new) for c in columns]


def _tail(columns: Sequence[Column], numbers: Any) -> tuple[Shape, tuple[Any, ...]]:
    """What is read at all leaves alike, flat, and how it is to be read."""
    flat, structure = jax.tree.flatten([c.common for c in columns])
    return Shape(tuple(c.extras for c in columns), structure), (numbers, *flat)


def _measure(engine: str, programs: Any, columns: Sequence[Column], rows: Any, numbers: Any, trees: Trees) -> None:
    """Sum over the leaves what the first stage asks for, and advance it. Without a leaf it stays as it is."""
    (shape, tail), total = _tail(columns, numbers), None
    for i, (one, row) in enumerate(zip(programs, rows, strict=True)):
        try:
            total = one.measured(engine)(shape, total, *row, *tail)
        except Exception as e:
            _add_note(e, columns[0].stage.rule.name, trees, i)
            raise
    if rows:
        columns[0].advance(total=total)


def _add_note(e: Exception, name: str, trees: Trees, i: int) -> None:
    e.add_note(f"gradxform: in {name}, at leaf {trees.paths[trees.present[i]]!r}")


def run_tree(stage: Stage, updates: Any, state: Any, params: Any, extra: Mapping[str, Any]) -> tuple[Any, Any]:
    """Execute a whole-tree kernel."""
    rule, layout = stage.rule, stage.layout
    trees = Trees(rule.name, updates)
    record = layout.read(state, rule.name)
    named, by_leaf = _needed(stage, trees, params, extra)
    k = getattr(state, layout.clock) if layout.clock else None
    t = _advance([k])[0] if layout.clock else None
    ps = [as_array(x) if is_array(x) else x for x in trees.like("`params`", params)] if "params" in rule.needs else None
    fields = [_read_field(trees, stage, f, getattr(record, f)) for f in layout.leaf]

    g = [as_array(trees.leaves[i]) for i in trees.present]
    dtype = real_part(functools.reduce(jnp.promote_types, [widen(x.dtype) for x in g], jnp.dtype(jnp.float32)))
    up = lambda xs: [_up(xs[i]) for i in trees.present]
    old = {f: getattr(record, f) for f in layout.shared}
    key, sample = jax.random.split(getattr(record, layout.key)) if layout.key else (None, None)
    common = Common([], t, old, named)
    c = Context(rule.name, t, {**named, **{n: up(x) for n, x in by_leaf.items()}}, sample, dtype)
    u, new = rule.kernel(
        [_up(x) for x in g],
        record_for(layout, [up(f) for f in fields], common),
        None if ps is None else up(ps),
        c,
        **_hypers(stage, k),
    )
    rest: dict[str, Any] = {f: round_to(jnp.asarray(getattr(new, f)), old[f].dtype) for f in layout.shared}
    if layout.clock:
        rest[layout.clock] = t
    if layout.key:
        rest[layout.key] = key
    for name, field in zip(layout.leaf, fields, strict=True):
        for i, x in zip(trees.present, getattr(new, name), strict=True):
            field[i] = jax.tree.map(lambda n, o: _down(n, o.dtype), x, field[i])
        rest[name] = trees.together(field)
    for i, x, y in zip(trees.present, u, g, strict=True):
        trees.leaves[i] = _down(x, y.dtype)
    return trees.together(trees.leaves), layout.write(state, rest)


def _up(x: Any) -> Any:
    return jax.tree.map(lambda y: _widen_leaf(y, jnp.dtype(jnp.float32)) if is_array(y) and widen(y.dtype) != y.dtype else y, x)


def _down(x: Any, dtype: Any) -> Any:
    return x if x.dtype == dtype else _round_leaf(x, dtype)
