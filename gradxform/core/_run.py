"""Executing stages on trees: take trees apart, check them, call an engine or a whole-tree kernel, put trees together."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._errors import MissingArgumentError, StructureError
from gradxform._numerics import increment, real_part, round_to, widen
from gradxform.core._engine import Common, Context, Leaf, Program, chosen_engine, record_for, wide_leaf
from gradxform.core._holes import dtype_of, flatten, is_array, is_gap, paths
from gradxform.core._hyper import Fraction, as_coefficient, evaluate, is_number

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
                f"Updates: {_outline(self.updates)}; {what}: {_outline(tree)}. Pass gradients of the very parameters that `init` saw."
            ) from e

    def like(self, what: str, tree: Any) -> list[Any]:
        """As `take`, and each part must be an array of the update's shape."""
        parts = self.take(what, tree)
        for i in self.present:
            part, g = parts[i], self.leaves[i]
            if np.shape(part) != np.shape(g) or not hasattr(part, "dtype") and is_gap(part):
                came = "nothing" if is_gap(part) else f"shape {np.shape(part)}"
                raise StructureError(
                    f"{self.owner}: at {self.paths[i]!r} the update has shape {np.shape(g)}, but {what} has {came}. "
                    "They must agree; nothing is broadcast."
                )
        return parts

    def together(self, parts: Sequence[Any]) -> Any:
        return self.treedef.unflatten(parts)


def _outline(tree: Any) -> str:
    return f"{jax.tree.structure(tree)}"[:300]


def _asarray(x: Any) -> Any:
    return x if hasattr(x, "dtype") else jnp.asarray(x, dtype_of(x))


def _needed(stage: Stage, trees: Trees, params: Any, extra: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The extra arguments that a stage declares: shared ones by name, and per-leaf ones as lists."""
    shared, by_leaf = {}, {}
    for name in stage.rule.needs:
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


def _next_shared(stage: Stage, record: Any, count: Any, t: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The shared fields before and after this update, by their declared laws."""
    old = {f: getattr(record, f) for f in stage.layout.shared}
    if not old:
        return {}, {}
    hyper, new = _hypers(stage, count), dict(old)
    c = Context(stage.rule.name, t, {}, None, jnp.result_type(float))
    for field, value in old.items():
        law = stage.rule.shared.get(field)
        if law is not None and law.advance is not None:
            value = jnp.asarray(law.advance(value, c, **stage.rule.named(law.advance, hyper)))
            new[field] = round_to(value, old[field].dtype)
    return old, new


def run_leaves(
    program: Program, stages: Sequence[Stage], updates: Any, states: Sequence[Any], params: Any, extra: Mapping[str, Any]
) -> tuple[Any, list[Any]]:
    """Execute a run of leafwise stages on a tree."""
    owner = ", ".join(s.rule.name for s in stages)
    trees = Trees(owner, updates)
    records = [s.layout.read(state, s.rule.name) for s, state in zip(stages, states, strict=True)]
    clocks = [state.count if s.layout.clock else None for s, state in zip(stages, states, strict=True)]
    advanced = iter(_advance([k for k in clocks if k is not None])) if any(k is not None for k in clocks) else iter(())
    ticks = [None if k is None else next(advanced) for k in clocks]

    fields, extras, keys, common, next_fields = [], [], [], [], []

    wants_params = any("params" in s.rule.needs for s in stages)
    for s, slot, record, k, t in zip(stages, program.slots, records, clocks, ticks, strict=True):
        named, by_leaf = _needed(s, trees, params, extra)
        fields.append([_read_field(trees, s, f, getattr(record, f)) for f in s.layout.leaf])
        old, new = _next_shared(s, record, k, t)
        rest = dict(new)
        if s.layout.clock:
            rest["count"] = t
        keys.append(None)
        if s.layout.key:
            rest[s.layout.key], sample = jax.random.split(getattr(record, s.layout.key))
            keys[-1] = jax.random.split(sample, max(len(trees.present), 1))
        extras.append(by_leaf)
        numbers = np.asarray(slot.pack(s.args), jnp.result_type(float))
        values = [jnp.asarray(evaluate(s.args[p.name], k)) for p in slot.traced]
        common.append(Common(jnp.asarray(numbers), values, t, old, {**new, **named}))
        next_fields.append(rest)
    ps = trees.like("`params`", params) if wants_params else None

    leaves = []
    for j, i in enumerate(trees.present):
        leaves.append(
            Leaf(
                _asarray(trees.leaves[i]),
                None if ps is None else _asarray(ps[i]),
                [[f[i] for f in fs] for fs in fields],
                [{n: _asarray(x[i]) for n, x in e.items()} for e in extras],
                [None if k is None else k[j] for k in keys],
            )
        )
    if stages[0].rule.total is not None:
        common[0] = common[0]._replace(named={**common[0].named, "total": program.total(leaves)})
    name = chosen_engine.get() or program.default
    out: list[Any] = []
    if name == "stacked":
        out = program.in_groups(leaves, common)
    elif name == "tree":
        out = program.whole(leaves, common)
    else:
        call = program.leaf if name == "plain" else program.jitted
        for leaf in leaves:
            try:
                out.append(call(leaf, common))
            except Exception as e:
                e.add_note(f"gradxform: in {owner}, at leaf {trees.paths[trees.present[len(out)]]!r}")
                raise

    for i, (u, new_states) in zip(trees.present, out, strict=True):
        trees.leaves[i] = u
        for fs, new in zip(fields, new_states, strict=True):
            for f, x in zip(fs, new, strict=True):
                f[i] = x
    new_states = []
    for s, state, fs, rest in zip(stages, states, fields, next_fields, strict=True):
        rest.update({n: trees.together(f) for n, f in zip(s.layout.leaf, fs, strict=True)})
        new_states.append(s.layout.write(state, rest))
    return trees.together(trees.leaves), new_states


def _read_field(trees: Trees, stage: Stage, field: str, tree: Any) -> list[Any]:
    what = f"the state's `{field}`"
    return list(trees.take(what, tree) if field in stage.rule.initial else trees.like(what, tree))


def run_tree(stage: Stage, updates: Any, state: Any, params: Any, extra: Mapping[str, Any]) -> tuple[Any, Any]:
    """Execute a whole-tree kernel."""
    rule, layout = stage.rule, stage.layout
    trees = Trees(rule.name, updates)
    record = layout.read(state, rule.name)
    named, by_leaf = _needed(stage, trees, params, extra)
    k = state.count if layout.clock else None
    t = _advance([k])[0] if layout.clock else None
    ps = [_asarray(x) if is_array(x) else x for x in trees.like("`params`", params)] if "params" in rule.needs else None
    fields = [_read_field(trees, stage, f, getattr(record, f)) for f in layout.leaf]

    g = [_asarray(trees.leaves[i]) for i in trees.present]
    dtype = real_part(functools.reduce(jnp.promote_types, [widen(x.dtype) for x in g], jnp.dtype(jnp.float32)))
    up = lambda xs: [_up(xs[i]) for i in trees.present]  # noqa: E731
    old = {f: getattr(record, f) for f in layout.shared}
    key, sample = jax.random.split(getattr(record, layout.key)) if layout.key else (None, None)
    common = Common(None, [], t, old, named)
    c = Context(rule.name, t, {**named, **{n: up(x) for n, x in by_leaf.items()}}, sample, dtype)
    u, new = rule.kernel(
        [_up(x) for x in g],
        record_for(layout, [up(f) for f in fields], common),
        None if ps is None else up(ps),
        c,
        **_hypers(stage, k),
    )
    rest = {f: round_to(jnp.asarray(getattr(new, f)), old[f].dtype) for f in layout.shared}
    if layout.clock:
        rest["count"] = t
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
