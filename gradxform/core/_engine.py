"""Engines: how a run of leafwise stages is called. One implementation of the mathematics, several ways to call it.

`Program.leaf` is the run for one leaf: widen, kernel, round, for each stage in turn.

    leaf      compiled once per shape and dtype, called once per leaf; the default
    stacked   leaves of one shape and dtype in one batched call; the default of kernels that multiply matrices
    tree      one compiled function for all leaves: little tracing, a long first compilation
    plain     not compiled, for debugging
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradxform._errors import MissingArgumentError, UnknownNameError
from gradxform._numerics import real_part, round_to, widen
from gradxform._types import Parameter
from gradxform.core._holes import is_array
from gradxform.core._hyper import Fraction, as_coefficient, is_number
from gradxform.core._state import Layout
from gradxform.core._transformation import frozen

CHUNK = 8  # leaves per call when summing over the tree
ENGINES = ("leaf", "stacked", "tree", "plain")
chosen_engine: contextvars.ContextVar[str | None] = contextvars.ContextVar("engine", default=None)


@contextlib.contextmanager
def engine(name: str) -> Iterator[None]:
    """Execute leafwise stages with the named engine: `with engine("tree"): ...` around tracing or an un-jitted update."""
    if name not in ENGINES:
        raise UnknownNameError(f"No engine is called {name!r}; there are {', '.join(ENGINES)}.")
    token = chosen_engine.set(name)
    try:
        yield
    finally:
        chosen_engine.reset(token)


class Context:
    """What a kernel knows beside its leaf.

    `c.t` is the 1-based number of the update being computed; `c.debias`; `c.key`, this leaf's random key; and by name every
    shared field (its next value) and extra argument that the decorator declared.
    """

    __slots__ = ("_named", "_owner", "dtype", "key", "t")

    def __init__(self, owner: str, t: Any, named: Mapping[str, Any], key: Any, dtype: Any):
        self._owner, self.t, self._named, self.key, self.dtype = owner, t, named, key, dtype

    def debias(self, x: Any, b: Any, ahead: int = 0) -> Any:
        """x / (1 - b^t): the average behind an EMA that started at zero. `ahead` counts further updates."""
        return x / (1 - b ** (self.t + ahead).astype(self.dtype))

    def __getattr__(self, name: str) -> Any:
        try:
            return self._named[name]
        except KeyError:
            raise MissingArgumentError(
                f"{self._owner}: the kernel reads `c.{name}`, which its decorator does not declare; add it to `needs=`."
            ) from None


class Slot:
    """The static part of one stage: its rule, and which hyperparameters are static, packed numbers, or traced values."""

    def __init__(self, rule: Any, layout: Layout, args: Mapping[str, Any]):
        self.rule, self.layout = rule, layout
        data = [p for p in rule.parameters.values() if p.is_data and args[p.name] is not None]
        self.numbers: list[Parameter] = [p for p in data if is_number(args[p.name])]
        self.traced: list[Parameter] = [p for p in data if not is_number(args[p.name])]
        self.static = {n: v for n, v in args.items() if n not in {p.name for p in data}}
        if layout.key:
            self.static["key"] = None  # the kernel gets this leaf's key as `c.key`
        self.static.update(dict.fromkeys(rule.leaf_data))  # and this leaf's numbers as `c.<name>`
        self.size = sum(2 if p.range and p.range.is_fraction else 1 for p in self.numbers)
        self.key = (rule, layout, frozen(self.static), tuple(p.name for p in self.traced))

    def hyper(self, numbers: Any, i: int, traced: Any, dtype: Any) -> dict[str, Any]:
        """The hyperparameters as the kernel sees them, from the packed vector, where they begin at i, and the traced values."""
        found = dict(self.static)
        for p in self.numbers:
            found[p.name] = numbers[i].astype(dtype)
            i += 1
            if p.range and p.range.is_fraction:
                found[p.name] = Fraction(found[p.name], numbers[i].astype(dtype))
                i += 1
        for p, value in zip(self.traced, traced, strict=True):
            found[p.name] = as_coefficient(value, bool(p.range and p.range.is_fraction), dtype)
        return found

    def pack(self, args: Mapping[str, Any]) -> list[float]:
        """The numbers, each fraction followed by its complement, which the host computes in double precision."""
        packed = []
        for p in self.numbers:
            packed.append(float(args[p.name]))
            if p.range and p.range.is_fraction:
                packed.append(1.0 - float(args[p.name]))
        return packed


class Leaf(NamedTuple):
    """What the run reads at one leaf; per stage, lists of state fields, extra arguments by name, and a random key."""

    g: Any
    p: Any
    states: Sequence[Sequence[Any]] = ()
    extras: Sequence[Mapping[str, Any]] = ()
    keys: Sequence[Any] = ()


class Common(NamedTuple):
    """What one stage reads at every leaf alike."""

    traced: Sequence[Any]
    t: Any
    shared: Mapping[str, Any]
    named: Mapping[str, Any]


class Program:
    """A run of leafwise stages. Equal runs share one program, and with it one compilation cache."""

    def __init__(self, slots: tuple[Slot, ...]):
        self.slots = slots
        self.name = ", ".join(s.rule.name for s in slots)
        self.wants_params = any("params" in s.rule.needs for s in slots)
        self.default = "stacked" if any(s.rule.stack for s in slots) else "leaf"
        self.starts = [sum(s.size for s in slots[:i]) for i in range(len(slots))]
        self.jitted = jax.jit(self.leaf)
        self.batched = jax.jit(self._batch)
        self.whole = jax.jit(self._whole)
        self.accumulate = jax.jit(self._accumulate)

    def leaf(self, leaf: Leaf, numbers: Any, common: Sequence[Common]) -> tuple[Any, list[list[Any]]]:
        """All stages for one leaf: the update and the new state fields. `numbers` packs the stages' constant hyperparameters."""
        g, new_states = leaf.g, []
        for i, (slot, shared) in enumerate(zip(self.slots, common, strict=True)):
            p = leaf.p if "params" in slot.rule.needs else None
            dtype = real_part(widen(g.dtype if p is None else jnp.promote_types(g.dtype, p.dtype)))
            old = [jax.tree.map(lambda x, d=dtype: wide_leaf(x, d), s) for s in leaf.states[i]]
            record = record_for(slot.layout, old, shared)
            c = Context(slot.rule.name, shared.t, {**shared.named, **leaf.extras[i]}, leaf.keys[i], dtype)
            hyper = slot.hyper(numbers, self.starts[i], shared.traced, dtype)
            with jax.named_scope(slot.rule.name):
                u, record = slot.rule.kernel(wide_leaf(g, dtype), record, None if p is None else wide_leaf(p, dtype), c, **hyper)
                g = round_to(jnp.asarray(u), g.dtype)
                new = [getattr(record, f) for f in slot.layout.leaf]
                new_states.append([jax.tree.map(_rounded, n, o) for n, o in zip(new, leaf.states[i], strict=True)])
        return g, new_states

    def _accumulate(self, total: Any, gs: Sequence[Any]) -> Any:
        for g in gs:
            total = total + self.slots[0].rule.total(wide_leaf(g, jnp.float32)).astype(total.dtype)
        return total

    def total(self, leaves: Sequence[Leaf]) -> Any:
        """The sum over all leaves that the first stage asks for, in calls of CHUNK leaves of one shape and dtype, and of one."""
        groups: dict[Any, list[Any]] = {}
        for leaf in leaves:
            groups.setdefault((leaf.g.shape, leaf.g.dtype), []).append(leaf.g)
        dtype = functools.reduce(jnp.promote_types, (real_part(d) for _, d in groups), jnp.dtype(jnp.float32))
        total = jnp.zeros((), dtype)
        for gs in groups.values():
            whole = len(gs) - len(gs) % CHUNK
            for chunk in [gs[i : i + CHUNK] for i in range(0, whole, CHUNK)] + [[g] for g in gs[whole:]]:
                total = self.accumulate(total, chunk)
        return total

    def _batch(self, leaves: Sequence[Leaf], numbers: Any, common: Sequence[Common]) -> Any:
        stacked = jax.tree.map(lambda *xs: jnp.stack(xs), *leaves)
        out = jax.vmap(self.leaf, in_axes=(0, None, None))(stacked, numbers, common)
        return [jax.tree.map(lambda x, i=i: x[i], out) for i in range(len(leaves))]

    def _whole(self, leaves: Sequence[Leaf], numbers: Any, common: Sequence[Common]) -> Any:
        return [self.leaf(leaf, numbers, common) for leaf in leaves]


def in_groups(
    programs: Sequence[Program], leaves: Sequence[Leaf], numbers: Any, common: Sequence[Common], stacked: bool
) -> list[Any]:
    """One call for all leaves of a program; if `stacked`, one batched call for those of one shape and dtype."""
    groups: dict[Any, list[int]] = {}
    for i, (program, leaf) in enumerate(zip(programs, leaves, strict=True)):
        arrays, treedef = jax.tree.flatten(leaf)
        kind = (treedef, *((x.shape, x.dtype) for x in arrays)) if stacked else ()
        groups.setdefault((program, kind), []).append(i)
    out: list[Any] = [None] * len(leaves)
    for (program, _), members in groups.items():
        call = program.batched if stacked else program.whole
        for i, result in zip(members, call([leaves[i] for i in members], numbers, common), strict=True):
            out[i] = result
    return out


_PROGRAMS: dict[Any, Program] = {}


def program_for(slots: tuple[Slot, ...]) -> Program:
    """The one program of these slots. Hyperparameters are not part of the key, so a sweep does not fill the table."""
    key = tuple(s.key for s in slots)
    if key not in _PROGRAMS:
        _PROGRAMS[key] = Program(slots)
    return _PROGRAMS[key]


def wide_leaf(x: Any, real: Any) -> Any:
    return x.astype(jnp.promote_types(x.dtype, real)) if is_array(x) else x


def _rounded(new: Any, old: Any) -> Any:
    return round_to(jnp.asarray(new), old.dtype)


def record_for(layout: Layout, leaf_fields: Sequence[Any], common: Common) -> Any:
    fields = dict(zip(layout.leaf, leaf_fields, strict=True)) | dict(common.shared)
    if layout.key:
        fields[layout.key] = None
    if layout.clock and not layout.boxed:
        fields["count"] = common.t - 1
    return layout.cls(**fields)
