"""Engines: how a run of leafwise stages is called. One implementation of the mathematics, several ways to call it.

`Program.leaf` is the run for one leaf: widen, kernel, round, for each stage in turn.

    leaf      compiled once per shape and dtype, called once per leaf; the default
    stacked   leaves of one shape and dtype in one batched call; the default of kernels that multiply matrices
    tree      one compiled function for all leaves: little tracing, a long first compilation
    spread    whole matrices dealt out over devices (`_spread`), where an argument asks for it
    dealt     matrices dealt out with all of their state (`_dealt`), where an argument asks for it
    plain     not compiled, for debugging

Where a kernel, or a function among its arguments, is the user's, `compiled` means: traced in this update, compiled if its trace is new.
"""

from __future__ import annotations

import contextlib
import functools
import operator
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import jax
import jax.numpy as jnp

from gradxform._errors import MissingArgumentError, UnknownNameError
from gradxform._numerics import mixing, promote, real_part, round_to, widen
from gradxform._parameters import Parameter
from gradxform._types import Array, DType, OptState, Tree, TreeDef
from gradxform.core._encoded import any_encoded, as_stored, decoded
from gradxform.core._explicit import found_by_xla
from gradxform.core._holes import as_array, is_array
from gradxform.core._hyper import Fraction, as_coefficient, at_rank, is_number
from gradxform.core._kernel import Arguments, Kernel, named
from gradxform.core._placement import each_in_turn, in_turn, is_on_host, on_device, placed
from gradxform.core._refresh import plan_of
from gradxform.core._returned import Undeclared, returned, shaped
from gradxform.core._state import Layout
from gradxform.core._traced import Traced, compiled_leaf, is_constant
from gradxform.core._transformation import frozen
from gradxform.core._travel import Whole, at_once, spread_of
from gradxform.tree._leafwise import alike

if TYPE_CHECKING:
    from gradxform.core._blocked import Told

CHUNK = 8  # leaves per call when summing over the tree
ENGINES = ("leaf", "stacked", "tree", "plain")
chosen_engine = jax.make_user_context(default_value=None)  # a part of what `jit` knows a trace by


@contextlib.contextmanager
def engine(name: str) -> Iterator[None]:
    """Execute leafwise stages with the named engine: `with engine("tree"): ...` around an update, or the call of a jitted step.

    A jitted function is traced again where another engine is chosen around its call.

    Args:
      name: "leaf", "stacked", "tree" or "plain".

    >>> with gx.kernels.engine("plain"):  # step through a kernel with a debugger
    ...     updates, state = gx.adam(1e-3).update(grads, gx.adam(1e-3).init(params), params)
    """
    if name not in ENGINES:
        raise UnknownNameError(f"No engine is called {name!r}; there are {', '.join(ENGINES)}.")
    with chosen_engine(name):
        yield


class Context:
    """What a kernel knows beside its leaf.

    `c.t` is the 1-based number of the update being computed; `c.debias`; `c.key`, this leaf's random key; and by name every shared field
    (its next value) and extra argument that the decorator declared.

    `c.whole(f, x, *args)` is f(x, *args) of whole matrices, the last two axes of x, or of a tuple whose first is like the result. Axes
    before them are a batch, of which f may be called for one; args are alike for all of it. With `spread` other devices compute it.

    `c.refresh(f, old, *args)` is f(old, *args) where a refresh is due, and `old` elsewhere or where the new one is not finite. `at=` is
    the number of the update by which it is due, `c.t` without one; `instead=(condition, f)` is another function where a condition holds
    that is alike for all leaves, due or not. It is there for kernels that say what they see (`sees=`).
    """

    __slots__ = ("_named", "_owner", "dtype", "key", "refresh", "t", "whole")
    t: Array | None
    key: Array | None
    dtype: DType
    whole: Whole
    refresh: Callable[..., Any]

    def __init__(
        self, owner: str, t: Array | None, named: Mapping[str, Any], key: Array | None, dtype: DType, told: Told | None = None
    ):
        self._owner, self.t, self._named, self.key, self.dtype = owner, t, named, key, dtype
        self.whole = at_once if told is None else told.whole
        self.refresh = self._no_refresh if told is None else functools.partial(told.refresh, t)  # type: ignore[arg-type]

    def _no_refresh(self, *_: Tree, **__: Tree) -> NoReturn:
        raise MissingArgumentError(
            f'{self._owner}: the kernel calls `c.refresh`, so its decorator says what it sees: `sees="matrix"` or `sees="tensor"`.'
        )

    def debias(self, x: Array, b: Any, ahead: int = 0) -> Array:
        """x / (1 - b^t): the average behind an EMA that started at zero; that which has never left it, for b = 1, as it is.

        `ahead` counts further updates.
        """
        if self.t is None:
            raise MissingArgumentError(
                f"{self._owner}: the kernel calls `c.debias`, which asks for the number of the update, and nothing counts it; declare a "
                "clock in its state: `count: Clock`."
            )
        rest = 1 - b ** (self.t + ahead).astype(self.dtype)
        return x / jnp.where(rest > 0, rest, 1)

    def __getattr__(self, name: str) -> Tree:
        try:
            return self._named[name]
        except KeyError:
            raise MissingArgumentError(
                f"{self._owner}: the kernel reads `c.{name}`, which its decorator does not declare; add it to `needs=`."
            ) from None


class Slot:
    """The static part of one stage: its kernel, and which hyperparameters are static, packed numbers, or traced values."""

    def __init__(self, kernel: Kernel, layout: Layout, args: Arguments):
        self.kernel, self.layout = kernel, layout
        data = [p for p in kernel.parameters.values() if p.is_data and args[p.name] is not None]
        self.numbers: list[Parameter] = [p for p in data if is_number(args[p.name])]
        self.traced: list[Parameter] = [p for p in data if not is_number(args[p.name])]
        self.static = {n: v for n, v in args.items() if n not in {p.name for p in data}}
        if layout.key:
            self.static["key"] = None  # the kernel gets this leaf's key as `c.key`
        self.static.update(dict.fromkeys(kernel.leaf_data))  # and this leaf's numbers as `c.<name>`
        self.static.update(dict.fromkeys(kernel.cutting))  # and sees what it is cut into
        self.static.update({n: None for n, p in kernel.parameters.items() if p.engine == "first"})  # and how its state began
        self.size = sum(2 if p.range and p.range.is_fraction else 1 for p in self.numbers)
        self.key = (kernel, layout, frozen(self.static), tuple(p.name for p in self.traced))
        said = {p.engine: args[p.name] for p in kernel.parameters.values() if p.engine}
        self.spread = spread_of(kernel.name, said)
        self.plan = plan_of(kernel.name, said)
        self.is_constant = is_constant(kernel.function) and all(map(is_constant, self.static.values()))

    def hyper(self, numbers: Array, i: int, traced: Sequence[Array], dtype: DType, rank: int) -> dict[str, Any]:
        """The hyperparameters as the kernel sees them at a leaf of that rank, from the packed vector, where they begin at i, and the
        traced values.
        """
        found = dict(self.static)
        for p in self.numbers:
            found[p.name] = numbers[i].astype(dtype)
            i += 1
            if p.range and p.range.is_fraction:
                found[p.name] = Fraction(found[p.name], numbers[i].astype(dtype))
                i += 1
        for p, value in zip(self.traced, traced, strict=True):
            found[p.name] = as_coefficient(at_rank(value, rank), bool(p.range and p.range.is_fraction), dtype)
        return found

    def pack(self, args: Arguments) -> list[float]:
        """The numbers, each fraction followed by its complement, which the host computes in double precision."""
        packed = []
        for p in self.numbers:
            packed.append(float(args[p.name]))
            if p.range and p.range.is_fraction:
                packed.append(1.0 - float(args[p.name]))
        return packed


class Common(NamedTuple):
    """What one stage reads at every leaf alike."""

    traced: Sequence[Array]
    t: Array | None
    shared: Mapping[str, Any]
    named: Mapping[str, Any]

    def at_rank(self, rank: int, needs: Collection[str]) -> Common:
        """With shared fields that are arrays, a number for each coordinate, as they are at a leaf of that rank; extra arguments stay."""
        expanded = lambda xs: {n: at_rank(x, rank) if n not in needs and is_array(x) else x for n, x in xs.items()}
        return self._replace(shared=expanded(self.shared), named=expanded(self.named))


class Shape(NamedTuple):
    """How the flat arguments of `Program.leaf` are to be read: names of the per-leaf extras of each stage, structure of the rest."""

    extras: tuple[tuple[str, ...], ...]
    common: TreeDef


Row = tuple[Any, ...]
"""What a run reads at one leaf: g, p if wanted, and for each stage its state fields, its extras, its random key if it has one."""


Reading = tuple[list[Any], dict[str, Any], Array | None]
"""What one stage reads at one leaf: its state fields, its extras by name, its random key."""


class Program:
    """A run of leafwise stages. Equal runs of our own share one program, and with it one compilation cache.

    Arguments are flat, which makes a compiled call a third cheaper than nested ones.
    """

    def __init__(self, slots: tuple[Slot, ...]):
        self.slots = slots
        self.wants_params = any("params" in s.kernel.needs for s in slots)
        self.spread = slots[0].spread
        asked = self.spread and ("dealt" if self.spread.with_state else "spread")
        self.default = asked or ("stacked" if any(s.kernel.stack for s in slots) else "leaf")
        self.starts = [sum(s.size for s in slots[:i]) for i in range(len(slots))]
        self.is_constant = all(s.is_constant for s in slots)
        self.looks_across = any(s.kernel.scope == "per_leaf" for s in slots)
        self._compiled: dict[Any, Callable[..., Any]] = {}

    def compiled(self, engine: str, shape: Shape) -> Callable[..., Any]:
        """A function of (*row, *tail), or of (rows, tail), that calls `leaf` as the engine says."""
        leaf = functools.partial(self._across if self.looks_across else self.leaf, shape)
        if engine == "plain":
            return leaf
        whole, stacked = functools.partial(_one_by_one, leaf), functools.partial(self._batched, shape)
        return self.made(engine, shape, {"leaf": leaf, "tree": whole, "stacked": stacked}[engine])

    def made(self, what: Hashable, shape: Shape | None, f: Callable[..., Any]) -> Callable[..., Any]:
        """f, compiled: kept by name where nothing in it can change, else for one update."""
        if not self.is_constant:
            return Traced(f, compiled_leaf)
        found = self._compiled.get((what, shape))
        return self._compiled.setdefault((what, shape), jax.jit(f)) if found is None else found

    def leaf(self, shape: Shape, *args: Tree, told: Told | None = None) -> Row:
        """All stages for one leaf: (*row, numbers, *common) -> (u, *new state fields).

        `numbers` packs the stages' constant hyperparameters; `common` is flat; `told` answers what the kernels ask.
        """
        g, p, read, numbers, common = self._unpack(shape, args)
        new_fields = []
        for i, (slot, (fields, *_)) in enumerate(zip(self.slots, read, strict=True)):
            seen, hyper = self._seen(i, g, p, read[i], numbers, common[i], told)
            with jax.named_scope(slot.kernel.name), mixing(g, p, read[i], common[i]):
                try:
                    u, record = returned(slot.kernel, slot.kernel.function(*seen, **hyper))
                except TypeError as e:
                    if Undeclared.__name__ in str(e):  # JAX's functions ask it nothing, but say what it is
                        seen[2].refuse()
                    raise
                g = round_to(jnp.asarray(shaped(slot.kernel, "the update", u, g)), g.dtype)
                new = []
                for f, was in zip(slot.layout.leaf, fields, strict=True):
                    x, old = getattr(record, f), getattr(seen[1], f)
                    new.append(was if x is old and is_on_host(was) else shaped(slot.kernel, f"the state's `{f}`", x, old))
                new_fields += as_stored(slot.layout, new, fields)
        return (g, *new_fields)

    def common(self, shape: Shape, tail: Row) -> Sequence[Common]:
        """What each stage reads at every leaf alike."""
        return shape.common.unflatten(tail[1:])

    def _across(self, shape: Shape, *args: Tree) -> Row:
        """`leaf`, where axes of the mesh may be explicit."""
        return found_by_xla(functools.partial(self.leaf, shape), args, lambda: (args[0], *self.fields(shape, args)))

    def fields(self, shape: Shape, args: Sequence[Tree]) -> list[Tree]:
        """The state fields of all stages at one leaf."""
        return [x for fields, *_ in self._unpack(shape, args)[2] for x in fields]

    def measure(self, shape: Shape, total: Tree, *args: Tree) -> Tree:
        """What the first stage asks for of one leaf, added to `total` (None at the first leaf)."""
        g, p, read, numbers, common = self._unpack(shape, args)
        kernel = self.slots[0].kernel
        seen, hyper = self._seen(0, g, p, read[0], numbers, common[0])
        with jax.named_scope(kernel.name), mixing(g, p, read[0], common[0]):
            found = kernel.total(*seen, **named(kernel.total, hyper))  # type: ignore[misc]
        return found if total is None else jax.tree.map(lambda x, y: operator.add(*alike(x, y)), total, found)

    def measured(self, engine: str, shape: Shape) -> Callable[..., Tree]:
        """`measure`, compiled unless the engine is `plain`."""
        measure = functools.partial(self.measure, shape)
        return measure if engine == "plain" else self.made("measure", shape, measure)

    def _unpack(self, shape: Shape, args: Sequence[Any]) -> tuple[Array, Array | None, list[Reading], Array, Sequence[Common]]:
        left = iter(args)
        g = on_device(jnp.asarray(next(left)))
        p = on_device(jnp.asarray(next(left))) if self.wants_params else None
        read = [_read(left, slot, names) for slot, names in zip(self.slots, shape.extras, strict=True)]
        return g, p, read, next(left), shape.common.unflatten(left)

    def _seen(
        self,
        i: int,
        g: Array,
        p: Array | None,
        read: Reading,
        numbers: Array,
        common: Common,
        told: Told | None = None,
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What the kernel of the i-th stage is called with: g, s, p, c, all of them wide, and its hyperparameters."""
        slot, (fields, extras, key) = self.slots[i], on_device(read)
        p = p if "params" in slot.kernel.needs else None
        dtype = real_part(widen(g.dtype if p is None else promote(g.dtype, p.dtype)))
        if any_encoded(fields):
            fields = decoded(fields, slot.layout.leaf, slot.layout.partners)
        old = [jax.tree.map(lambda x: wide_leaf(x, dtype), f) for f in fields]
        extras = jax.tree.map(lambda x: wide_leaf(x, dtype), extras)
        if slot.kernel.scope == "elementwise" and (common.shared or common.named):
            common = common.at_rank(g.ndim, slot.kernel.needs)
        named = {n: wide_leaf(x, jnp.float32) if n in slot.layout.shared else x for n, x in common.named.items()}
        c = Context(slot.kernel.name, common.t, {**named, **extras}, key, dtype, told)
        wide_p = Undeclared(slot.kernel.name) if p is None else wide_leaf(p, dtype)
        hyper = slot.hyper(numbers, self.starts[i], common.traced, dtype, g.ndim)
        return (wide_leaf(g, dtype), record_for(slot.layout, old, common), wide_p, c), hyper

    def _batched(self, shape: Shape, rows: Sequence[Row], tail: Row) -> list[Row]:
        """`leaf` of rows of one kind, all in one."""
        like = lambda: [(row[0], *self.fields(shape, (*row, *tail))) for row in rows]
        return found_by_xla(functools.partial(self._stacked, shape), (rows, tail), like)

    def _stacked(self, shape: Shape, rows: Sequence[Row], tail: Row) -> list[Row]:
        stacked = jax.tree.map(lambda *xs: jnp.stack(xs), *map(on_device, rows))
        out = jax.vmap(lambda row: self.leaf(shape, *row, *tail))(stacked)
        parts = [jax.tree.map(lambda x, i=i: x[i], out) for i in range(len(rows))]
        return [(u, *placed(new, self.fields(shape, (*row, *tail)))) for (u, *new), row in zip(parts, rows, strict=True)]

    def _accumulate(self, total: Array, gs: Sequence[Array]) -> Array:
        measure: Any = self.slots[0].kernel.total
        for g in gs:
            total = total + measure(wide_leaf(g, jnp.float32)).astype(total.dtype)
        return total

    def total(self, gs: Sequence[Any]) -> Array:
        """The sum over all leaves that the first stage asks for, in calls of CHUNK leaves of one shape and dtype, and of one."""
        groups: dict[Any, list[Any]] = {}
        for g in map(as_array, gs):
            groups.setdefault((g.shape, g.dtype), []).append(g)
        dtype = promote(jnp.float32, *(real_part(d) for _, d in groups))
        total, accumulate = jnp.zeros((), dtype), self.made("accumulate", None, self._accumulate)
        for some in groups.values():
            whole = len(some) - len(some) % CHUNK
            for chunk in [some[i : i + CHUNK] for i in range(0, whole, CHUNK)] + [[g] for g in some[whole:]]:
                total = accumulate(total, chunk)
        return total


def _read(left: Iterator[Any], slot: Slot, names: Sequence[str]) -> Reading:
    """The state fields, extras and key of one stage from the flat arguments."""
    fields = [next(left) for _ in slot.layout.leaf]
    return fields, {name: next(left) for name in names}, next(left) if slot.layout.key else None


def _one_by_one(leaf: Callable[..., Row], rows: Sequence[Row], tail: Row) -> list[Row]:
    return each_in_turn(lambda row: leaf(*row, *tail), rows)


def in_groups(engine: str, programs: Sequence[Program], shape: Shape, rows: Sequence[Row], tail: Row) -> list[Row]:
    """One call for all leaves of a program; on the engine `stacked`, one batched call for those of one shape and dtype."""
    groups: dict[Any, list[int]] = {}
    for i, (program, row) in enumerate(zip(programs, rows, strict=True)):
        arrays, treedef = jax.tree.flatten(row)
        kind = (treedef, *((jnp.shape(x), jnp.result_type(x)) for x in arrays)) if engine == "stacked" else ()
        groups.setdefault((program, kind), []).append(i)
    out: list[Any] = [None] * len(rows)
    together = [[rows[i] for i in members] for members in groups.values()]
    made: list[Any] = []
    for (program, _), some in zip(groups, in_turn(together, made), strict=True):
        made.append(program.compiled(engine, shape)(some, tail))
    for members, results in zip(groups.values(), made, strict=True):
        for i, result in zip(members, results, strict=True):
            out[i] = result
    return out


_PROGRAMS: dict[Any, Program] = {}


def program_for(slots: tuple[Slot, ...]) -> Program:
    """The one program of these slots; where one has a function of the user's in it, a program that dies with who asked for it.

    Hyperparameters are not part of the key, so a sweep does not fill the table.
    """
    if not all(s.is_constant for s in slots):
        return Program(slots)
    key = tuple(s.key for s in slots)
    found = _PROGRAMS.get(key)
    return _PROGRAMS.setdefault(key, Program(slots)) if found is None else found


def wide_leaf(x: Tree, real: DType) -> Tree:
    return x.astype(promote(x.dtype, real)) if is_array(x) else x


def record_for(layout: Layout, leaf_fields: Sequence[Any], common: Common) -> OptState:
    shared = {n: wide_leaf(x, jnp.float32) for n, x in common.shared.items()}
    fields = dict.fromkeys(layout.fields) | dict(zip(layout.leaf, leaf_fields, strict=True)) | shared
    if layout.clock and not layout.boxed:
        ahead = 1 - layout.start
        fields[layout.clock] = common.t - ahead if ahead and common.t is not None else common.t
    return layout.cls(**fields)
