"""The lift: from a kernel for one array to a transformation of trees.

    kernel(g, s, p, c, <hyperparameters>) -> (u, s')

`g` the incoming update, `s` the state at this leaf, `p` the parameter, `c` the context (`Context`). The decorator says how far
information may flow, which tests check and engines rely on:

    @elementwise   one leaf; commutes with reshape, split, concatenate, permute
    @per_leaf      one leaf; leaf i ignores leaf j
    @per_tree      the list of present leaves
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Concatenate, ParamSpec

import jax
import jax.numpy as jnp

from gradxform._numerics import real_part, round_to, widen
from gradxform._types import Parameter, check_arguments, parameters_of
from gradxform.core import _engine, _run
from gradxform.core._clocks import at_step
from gradxform.core._evaluate import After
from gradxform.core._holes import dtype_of, flatten, fresh, is_array, is_gap, on_the_mesh_of
from gradxform.core._hyper import evaluate, is_schedule
from gradxform.core._state import EmptyState, Layout, ScaleByScheduleState, layout_of
from gradxform.core._transformation import (
    GradientTransformationExtraArgs,
    Spec,
    frozen,
    transformation,
)

P = ParamSpec("P")
Kernel = Callable[Concatenate[Any, Any, Any, Any, P], Any]


@dataclasses.dataclass(frozen=True, eq=False)
class SharedLaw:
    """How a shared field other than the clock starts and advances, once per update.

    Attributes:
      start: (named hyperparameters) -> first value. If it names `params` too, it gets the list of them, float32 or wider.
      advance: (value, c, named hyperparameters) -> next value; None: it stays. The kernel reads the old value as `s.field` and
        the next as `c.field`.
      like_params: store it in the narrowest real dtype of the parameters, float32 or wider, instead of JAX's default.
    """

    start: Callable[..., Any]
    advance: Callable[..., Any] | None = None
    like_params: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Rule:
    """A lifted kernel: everything about it but the values of its hyperparameters. `elementwise` explains the fields."""

    name: str
    kernel: Callable[..., Any]
    scope: str
    state: type
    counted: type | None
    counted_if: str | None
    initial: Mapping[str, Callable[..., Any]]
    shared: Mapping[str, SharedLaw]
    storage: Mapping[str, str]
    needs: tuple[str, ...]
    optional: tuple[str, ...]
    leaf_extras: tuple[str, ...]
    leaf_args: Mapping[str, type]
    leaf_data: Mapping[str, float]
    stack: bool
    total: Callable[..., Any] | None
    advance: Callable[..., Any] | None
    evaluate: Callable[..., Any] | None
    public: list[Any] = dataclasses.field(default_factory=list)

    def __reduce__(self):
        return (_rule_of, (self.public[0],))

    @property
    def leafwise(self) -> bool:
        """Whether the kernel is written for one leaf."""
        return self.scope != "per_tree" or self.total is not None

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The declared hyperparameters."""
        return parameters_of(self.kernel, skip=4)

    @functools.cached_property
    def measures(self) -> bool:
        """Whether `total` looks at more than the incoming update."""
        return self.total is not None and len(inspect.signature(self.total).parameters) > 1

    def named(self, fn: Callable[..., Any], args: Mapping[str, Any]) -> dict[str, Any]:
        """The hyperparameters that `fn` names."""
        return {n: args[n] for n in inspect.signature(fn).parameters if n in args}

    def at(self, k: Any, fn: Callable[..., Any], args: Mapping[str, Any]) -> dict[str, Any]:
        """The same, schedules evaluated after k completed updates; when a state begins k is 0."""
        return {n: evaluate(v, k) if self.parameters[n].is_data else v for n, v in self.named(fn, args).items()}


def _rule_of(make: Any) -> Rule:
    return make.rule


class Stage(Spec):
    """One rule with the values of its hyperparameters: the `update` of a lifted transformation."""

    def __init__(self, rule: Rule, args: Mapping[str, Any]):
        self.rule, self.args = rule, dict(args)

    def __reduce__(self):
        return (Stage, (self.rule, self.args))

    def name(self) -> str:
        return self.rule.name

    def key(self) -> Any:
        return (self.rule, frozen(self.args))

    def arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        shown = {}
        for p in self.rule.parameters.values():
            value = self.args[p.name]
            plain = value is None or (isinstance(value, (bool, int, float)) and not value)
            if p.required or not (plain or not p.is_data) or not _same(value, p.default):
                shown[p.name] = value
        if len(self.rule.parameters) == 1 and not next(iter(self.rule.parameters.values())).keyword_only:
            return tuple(shown.values()), {}
        return (), shown

    @functools.cached_property
    def layout(self) -> Layout:
        rule = self.rule
        scheduled = any(is_schedule(self.args[p.name]) for p in rule.parameters.values() if p.is_data)
        if not (scheduled or (rule.counted_if and _is_used(self.args[rule.counted_if]))):
            return layout_of(rule.state)
        if layout_of(rule.state).clock:
            return layout_of(rule.state)
        return layout_of(rule.counted) if rule.counted else layout_of(rule.state, boxed=True)

    @functools.cached_property
    def slot(self) -> _engine.Slot:
        return _engine.Slot(self.rule, self.layout, self.args)

    def slots_by_leaf(self, take: Callable[[str, Any], list[Any]], updates: Any) -> list[_engine.Slot] | None:
        """The slot of each leaf, if an argument differs from leaf to leaf."""
        trees = {}
        for name, kind in self.rule.leaf_args.items():
            value = self.args[name]
            if value is not None and not isinstance(value, kind):
                trees[name] = take(f"`{name}`", value(updates) if callable(value) else value)
        if not trees:
            return None
        choices = zip(*trees.values(), strict=True)
        return [_engine.Slot(self.rule, self.layout, {**self.args, **dict(zip(trees, c, strict=True))}) for c in choices]

    @functools.cached_property
    def program(self) -> _engine.Program:
        return _engine.program_for((self.slot,))

    def init(self, params: Any) -> Any:
        leaves, treedef = flatten(params)
        layout, fields = self.layout, {}
        for name in layout.leaf:
            fields[name] = treedef.unflatten([self._initial(name, p) for p in leaves])
        for name in layout.shared:
            fields[name] = self._start(self.rule.shared[name], [p for p in leaves if is_array(p)])
        if layout.key:
            fields[layout.key] = as_key(self.args["key"])
        if layout.clock:
            fields[layout.clock] = jnp.zeros([], jnp.int32)
        return on_the_mesh_of(params, layout.make(fields))

    def _start(self, law: SharedLaw, params: list[Any]) -> Any:
        given = self.rule.at(0, law.start, self.args)
        if "params" in inspect.signature(law.start).parameters:
            given["params"] = [fresh(p, widen(dtype_of(p))) for p in params]
        value = law.start(**given)
        if not (law.like_params and params):
            return jnp.array(value, jnp.result_type(value))
        return jnp.array(value, min((real_part(widen(dtype_of(p))) for p in params), key=lambda d: d.itemsize))

    def _initial(self, field: str, p: Any) -> Any:
        if is_gap(p):
            return p
        if not is_array(p):
            return jnp.zeros_like(p) if hasattr(p, "shape") else None
        dtype = dtype_of(p) if field in self.layout.copies else widen(dtype_of(p))
        if field in self.rule.storage and self.args[self.rule.storage[field]] is not None:
            dtype = jnp.dtype(self.args[self.rule.storage[field]])
        if field in self.layout.real:
            dtype = real_part(dtype)
        if field in self.layout.copies:
            return fresh(p, dtype)
        if field not in self.rule.initial:
            return jnp.zeros_like(p, dtype=dtype)
        make = self.rule.initial[field]
        given = self.rule.at(0, make, self.args)
        if "p" in inspect.signature(make).parameters:
            given["p"] = fresh(p, widen(dtype_of(p)))
        value = make(jnp.zeros_like(p, dtype=dtype), **given)
        return jax.tree.map(lambda x: x.astype(dtype) if is_array(x) else x, value)

    def __call__(self, updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        if not self.rule.leafwise:
            return _run.run_tree(self, updates, state, params, extra)
        updates, (state,) = _run.run_leaves(self.program, (self,), updates, (state,), params, extra)
        return updates, state

    def resumed(self, state: Any, step: Any, only_schedules: bool) -> tuple[Any, Any]:
        clock, rule, record = self.layout.clock, self.rule, self.layout.unbox(state)
        if only_schedules and not (clock and any(is_schedule(self.args[p.name]) for p in rule.parameters.values() if p.is_data)):
            return state, step
        counting = [
            f for f in self.layout.shared if rule.shared[f].advance and jnp.issubdtype(getattr(record, f).dtype, jnp.integer)
        ]
        found = ([clock] if clock else []) + [f for f in counting if f in state._fields]
        return (at_step(state, **dict.fromkeys(found, step)) if found else state), step

    def eval_params(self, state: Any, params: Any, after: After) -> Any:
        declared = self.rule.evaluate
        if declared is None:
            return params
        wide = lambda x: jnp.asarray(x).astype(widen(dtype_of(x))) if is_array(x) else x
        record, ps = jax.tree.map(wide, (self.layout.read(state, self.rule.name), params))
        k = jnp.maximum(getattr(state, self.layout.clock) - 1, 0) if self.layout.clock else 0
        found = declared(ps, record, after, **self.rule.at(k, declared, self.args))
        if found is ps:
            return params
        return jax.tree.map(lambda p, x: round_to(x, dtype_of(p)) if is_array(p) else p, params, found)


def _is_used(value: Any) -> bool:
    """Whether a flag is set, or a number is not plainly 0; a traced number is not."""
    return bool(value) if value is None or isinstance(value, (bool, int, float)) else True


def _same(a: Any, b: Any) -> bool:
    return a is b or (type(a) is type(b) and bool(frozen(a) == frozen(b)))


def as_key(key: Any) -> jax.Array:
    """A random key from a key or an integer seed; always a fresh buffer, so that a state can be donated."""
    return jax.random.key(key) if isinstance(key, int) else jax.random.wrap_key_data(jnp.array(jax.random.key_data(key)))


class Lift:
    """A decorator that lifts a kernel, `elementwise`, `per_leaf` or `per_tree`.

    A `per_tree` kernel gets lists (of the present leaves) for `g`, `p` and the per-leaf fields of `s`, returns a list, and sets the
    shared fields of its state itself. With `total=f`, all it needs of the other leaves are sums: then it is written for one leaf,
    `c.total` is the sum of f over the leaves, `advance=` says what becomes of the shared fields, and it runs in the same call per
    leaf as the stages after it.

    Args:
      state: NamedTuple of the state, its fields annotated `Updates`, `RealUpdates`, `ParamsCopy`, `Shared`, `Clock` or
        `Key`; a `count` is the clock as well.
      counted: the state class when a hyperparameter is a schedule and `state` has no `count`.
      counted_if: a flag, or a number other than 0, that asks for `counted` as well.
      initial: per field, (zeros like the leaf, named hyperparameters) -> first value; without one it is zeros. Where it also names
        `p`, it gets a wide copy of the parameter (zeros where that is abstract).
      shared: per shared field, how it starts and advances.
      storage: per field, the hyperparameter that names its dtype; without one it is the leaf's, float32 or wider.
      needs: `"params"` and the extra arguments that the kernel reads (`c.value`, ...).
      optional: extra arguments that the kernel can do without; there it reads None.
      leaf_extras: those of `needs` and `optional` that are trees like the parameters.
      leaf_args: static arguments that may differ from leaf to leaf, with the type of one value: the caller gives one value for all
        leaves, a tree of them, or a function of the updates that returns one.
      leaf_data: arguments that label each leaf with a number (a pattern, predicate, tree or prefix, as in `_labels`), and the number
        of leaves that have no label. It enters the compiled function as data; the kernel reads it as `c.<name>`.
      total: (g at one leaf) -> scalar, or (g, s, p, c, named hyperparameters) -> tree of scalars, for a `per_tree` kernel.
      advance: (s, c, named hyperparameters) -> s with the next values of its shared fields, and a dictionary of what else the kernel
        reads as `c.<name>`; for fields that advance together, or by `c.total`. `s` has no per-leaf fields there.
      evaluate: (params, state, after, named hyperparameters) -> the parameters to evaluate with, all of them wide trees; `after` is
        explained in `gradxform.core._evaluate`. Without it, and where it returns `params` itself, they are the stored ones.
      stack: run all leaves of one shape and dtype as one batch; it pays where a `per_leaf` kernel multiplies matrices.

    Returns:
      A decorator; the decorated name becomes a function of the hyperparameters that returns a `GradientTransformation`. A kernel
      with a leading underscore shows the name of its public function, without it.
    """

    def __init__(self, scope: str):
        self.scope = scope

    def __call__(
        self,
        state: type = EmptyState,
        *,
        counted: type | None = None,
        counted_if: str | None = None,
        initial: Mapping[str, Callable[..., Any]] | None = None,
        shared: Mapping[str, SharedLaw] | None = None,
        storage: Mapping[str, str] | None = None,
        needs: tuple[str, ...] = (),
        optional: tuple[str, ...] = (),
        leaf_extras: tuple[str, ...] = (),
        leaf_args: Mapping[str, type] | None = None,
        leaf_data: Mapping[str, float] | None = None,
        stack: bool = False,
        total: Callable[..., Any] | None = None,
        advance: Callable[..., Any] | None = None,
        evaluate: Callable[..., Any] | None = None,
    ) -> Callable[[Kernel[P]], Callable[P, GradientTransformationExtraArgs]]:
        if counted is None and state is EmptyState:
            counted = ScaleByScheduleState

        def decorate(kernel: Kernel[P]) -> Callable[P, GradientTransformationExtraArgs]:
            rule = Rule(
                kernel.__name__.lstrip("_"), kernel, self.scope, state, counted, counted_if, initial or {}, shared or {},
                storage or {}, needs, optional, leaf_extras, leaf_args or {}, leaf_data or {}, stack, total, advance, evaluate,
            )  # fmt: skip
            return _public(rule)

        return decorate


elementwise = Lift("elementwise")
per_leaf = Lift("per_leaf")
per_tree = Lift("per_tree")


def _public(rule: Rule) -> Callable[..., GradientTransformationExtraArgs]:
    """The function of the hyperparameters that takes the kernel's name, signature and docstring."""
    arguments = list(inspect.signature(rule.kernel).parameters.values())[4:]
    signature = inspect.Signature(arguments, return_annotation=GradientTransformationExtraArgs)

    def make(*args: Any, **kwargs: Any) -> GradientTransformationExtraArgs:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        check_arguments(rule.name, rule.parameters, bound.arguments)
        return transformation(Stage(rule, bound.arguments))

    for attribute in ("__name__", "__qualname__", "__module__", "__doc__"):
        setattr(make, attribute, getattr(rule.kernel, attribute))
    make.__signature__ = signature
    make.rule, make.scope = rule, rule.scope  # type: ignore[attr-defined]
    rule.public.append(make)
    return make
