"""A stage: a kernel with the values of its arguments, which is the `update` of everything that the decorators make."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._errors import LabelError
from gradxform._numerics import INT32_MAX, concretely, round_to, widen
from gradxform._parameters import Parameter
from gradxform._types import ArrayLike, Field, OptState, Params, Tree, Updates
from gradxform.core import _engine, _run, _whole
from gradxform.core._encoded import opened
from gradxform.core._evaluate import After
from gradxform.core._first import at_start, first_state
from gradxform.core._holes import dtype_of, flatten, is_array, paths
from gradxform.core._kernel import Arguments, Kernel, named
from gradxform.core._labels import resolve
from gradxform.core._parts import Part, is_transformation
from gradxform.core._roles import beginning
from gradxform.core._state import Layout, like_before
from gradxform.core._transformation import Spec, frozen
from gradxform.core._trees import numbers_may_go
from gradxform.core._views import View


class Stage(Spec):
    """One kernel with the values of its arguments."""

    kernel: Kernel
    args: dict[str, Any]

    def __init__(self, kernel: Kernel, args: Arguments):
        self.kernel, self.args = kernel, dict(args)
        self.maker = None if self.maker == kernel.name else self.maker

    def __reduce__(self) -> tuple[object, ...]:
        return (Stage, (self.kernel, self.args), {"maker": self.maker})

    @property
    def widens(self) -> bool:
        return self.kernel.widens

    @property
    def averages(self) -> bool:
        return self.kernel.averages

    def name(self) -> str:
        return self.kernel.name if self.kernel.call is None else self.kernel.call(**self.args)[0]

    def values(self) -> tuple[object, ...]:
        return tuple(self.args.values())

    def key(self) -> tuple[Any, ...]:
        return (self.kernel, frozen(self.args))

    def arguments(self) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        return self.kernel.shown(self.args) if self.kernel.call is None else ((), self.kernel.call(**self.args)[1])

    @functools.cached_property
    def layout(self) -> Layout:
        return self.kernel.layout_for(self.args)

    @property
    def members(self) -> Sequence[Any]:
        inside = (_listed(self._within(name, self.layout.fields[name], None)) for name in self.layout.inner)
        return [tx for several in inside for tx in several if tx is not None]

    @property
    def own_scope(self) -> str:
        by_leaf = self._holds_arrays or any(self.args[n] is not None for n in self.kernel.leaf_data)
        return "per_leaf" if by_leaf and self.kernel.scope == "elementwise" else self.kernel.scope

    @functools.cached_property
    def _holds_arrays(self) -> bool:
        """Whether a hyperparameter is an array of some axes, a value for each coordinate, or a schedule of such."""
        with concretely():
            at_first = self.kernel.at(jnp.zeros([], jnp.int32), self.args)
        return any(p.is_data and at_first[n] is not None and np.ndim(at_first[n]) for n, p in self.kernel.parameters.items())

    @functools.cached_property
    def slot(self) -> _engine.Slot:
        return _engine.Slot(self.kernel, self.layout, self.args)

    def slots_by_leaf(self, updates: Updates) -> list[_engine.Slot] | None:
        """The slot of each leaf, if an argument differs from leaf to leaf."""
        stages = self.by_leaf(updates)
        return None if stages is None else [stage.slot for stage in stages]

    def by_leaf(self, tree: Tree) -> list[Stage] | None:
        """The stage of each leaf, with its own values of the arguments that label leaves; None: they all have the same."""
        trees = {}
        for name, kind in self.kernel.leaf_args.items():
            value = self.args[name]
            if value is not None and not isinstance(value, kind):
                trees[name] = self._by_leaf(self.kernel.parameters[name], kind, tree)
        if not trees:
            return None
        choices = list(zip(*trees.values(), strict=True))
        own = {c: Stage(self.kernel, {**self.args, **dict(zip(trees, c, strict=True))}) for c in dict.fromkeys(choices)}
        return [own[c] for c in choices]

    def _by_leaf(self, parameter: Parameter, kind: type, updates: Updates) -> list[Any]:
        """The values of an argument that labels leaves; the default where no pattern matches."""
        rest, name, noun = parameter.default, parameter.name, getattr(kind, "__name__", kind)
        found = resolve(self.owner, self.args[name], updates, **{"default": rest} if isinstance(rest, kind) else {})
        for path, x, value in zip(paths(updates), flatten(updates)[0], found, strict=True):
            if is_array(x) and not isinstance(value, kind):
                raise LabelError(f"{self.owner}: `{name}` must be a {noun} at every leaf, but at {path!r} it is {value!r}.")
            parameter.check(f"{self.owner}, at {path!r}", value)
        return found

    @functools.cached_property
    def program(self) -> _engine.Program:
        return _engine.program_for((self.slot,))

    def stage_of(self, kernel: Kernel) -> Stage:
        """A kernel that works on this stage's own record, with those of its arguments that it names."""
        found = self._stages.get(kernel)
        if found is None:
            found = self._stages[kernel] = Stage(kernel, {n: self.args[n] for n in kernel.parameters})
            found.maker = self.maker
        return found

    @functools.cached_property
    def _stages(self) -> dict[Kernel, Stage]:
        return {}

    def __call__(self, updates: Updates, state: OptState, params: Params | None = None, **extra: Tree) -> tuple[Updates, OptState]:
        with numbers_may_go():
            if self.kernel.whole:
                return _whole.run(self, updates, state, params, extra)
            updates, (state,) = _run.run_leaves(self.program, (self,), updates, (state,), params, extra)
        return updates, state

    def init(self, params: Params) -> OptState:
        with numbers_may_go(), beginning(params):
            return first_state(self, params)

    # ---- what is inside

    def view(self, like: Tree) -> View:
        """What the transformation inside sees of a tree that is laid out like this one."""
        make = self.kernel.view
        return View() if make is None else make(like, **named(make, self.args))

    def seen(self, params: Params, parts: int) -> Sequence[Params]:
        return [self.view(params).see(params)] * parts if parts else []

    def _within(self, name: str, field: Field, record: OptState) -> Tree:
        """The transformation, or tuple or mapping of them, whose state a field holds."""
        return self.args[self.kernel.inside[name]] if field.made is None else at_start(self, field.made, s=record)

    def each(self, f: Callable[[Any], Any], name: str, field: Field) -> Tree:
        """f of each transformation whose state a field holds, in their container."""
        tx = self._within(name, field, None)
        return _like(tx, [f(one) for one in _listed(tx)])

    def parts(self, state: OptState) -> list[Part]:
        return self.parts_of(self.layout.read(state, self.owner))

    def parts_of(self, record: OptState, aside: bool = True) -> list[Part]:
        """The transformations inside with their states; without `aside` only those whose updates go out."""
        parts = []
        for name in self.layout.inner:
            field = self.layout.fields[name]
            if field.aside and not aside:
                continue
            tx, inner = self._within(name, field, record), self._state_of(name, record)
            inner = _seen_through(field.through[0], inner) if field.through else inner
            if isinstance(tx, Mapping):
                parts += [Part(str(label), one, inner[label]) for label, one in tx.items()]
            else:
                parts += [Part("", *pair) for pair in zip(_listed(tx), inner if _is_many(tx) else [inner], strict=True)]
        return parts

    def _state_of(self, name: str, record: OptState) -> OptState:
        return record if self.layout.cls is None else getattr(record, name)

    def joined(self, state: OptState, parts: Sequence[Part]) -> tuple[Spec, OptState]:
        record, args, new, left = self.layout.unbox(state), dict(self.args), {}, iter(parts)
        for name in self.layout.inner:
            field = self.layout.fields[name]
            tx, old = self._within(name, field, record), self._state_of(name, record)
            mine = [next(left) for _ in _listed(tx)]
            together = lambda xs, tx=tx: _like(tx, xs)
            if field.made is None:
                args[self.kernel.inside[name]] = together([p.tx for p in mine])
            inner = together([p.state for p in mine])
            new[name] = field.through[1](old, inner) if field.through else inner
        same = all(args[n] is self.args[n] for n in args)
        spec = self if same else Stage(self.kernel, args)
        return spec, new["inner"] if self.layout.cls is None else self.layout.write(state, new)

    # ---- what follows from the declarations

    def resumed(self, state: OptState, step: ArrayLike, only_schedules: bool) -> tuple[OptState, Tree]:
        kernel, layout, record, new = self.kernel, self.layout, self.layout.read(state, f"resume_at, {self.owner}"), {}
        given = {**self.args, "s": record, "step": step, "inner_step": step}
        if kernel.inner_steps is not None:
            given["inner_step"] = kernel.inner_steps(**named(kernel.inner_steps, given))
        reads = any(callable(x) for x in self.args.values() if not is_transformation(x))
        for name, field in layout.fields.items():
            inner_clock = field.at is not None and "inner_step" in named(field.at, given)
            if only_schedules and not ((field.kind == "clock" and reads) or inner_clock):
                continue
            given["value"] = value = None if layout.cls is None else getattr(record, name)
            if field.when is not None and value is None:
                continue
            if field.at is not None:
                new[name] = like_before(field.at(**named(field.at, given)), value)
            elif field.kind == "clock":
                new[name] = like_before(jnp.minimum(step, INT32_MAX - layout.start) + layout.start, value)
            elif field.kind == "shared" and field.advance and jnp.issubdtype(value.dtype, jnp.integer):  # type: ignore[union-attr]
                new[name] = like_before(step, value)
        boxed = layout.boxed and (reads or not only_schedules)
        return layout.write(state, new, like_before(step, state.count) if boxed else None), given["inner_step"]

    def eval_params(self, state: OptState, params: Params, after: After) -> Params:
        record = self.layout.read(state, self.owner)
        if self.kernel.whole:
            return _whole.evaluate(self, record, params, after)
        if self.kernel.evaluate is None:
            return params
        wide = lambda x: jnp.asarray(x).astype(widen(dtype_of(x))) if is_array(x) else x
        fields, ps = jax.tree.map(wide, (opened(self.layout, record), params))
        completed = self.layout.completed(state)
        k = 0 if completed is None else jnp.maximum(completed - 1, 0)
        declared = self.kernel.evaluate
        found = declared(ps, fields, after, **named(declared, self.kernel.at(k, self.args)))
        if found is ps:
            return params
        return jax.tree.map(lambda p, x: round_to(x, dtype_of(p)) if is_array(p) else p, params, found)


def _seen_through(see: Callable[..., Tree], state: OptState) -> OptState:
    """A state as it is seen from inside; of shapes, the shapes."""
    is_abstract = any(isinstance(x, jax.ShapeDtypeStruct) for x in jax.tree.leaves(state))
    return jax.eval_shape(see, state) if is_abstract else see(state)


def _is_many(tx: Tree) -> bool:
    return isinstance(tx, Mapping) or (isinstance(tx, (tuple, list)) and not is_transformation(tx))


def _listed(tx: Tree) -> list[Any]:
    """One transformation, or several, as a list."""
    if not _is_many(tx):
        return [tx]
    return list(tx.values()) if isinstance(tx, Mapping) else list(tx)


def _like(tx: Tree, new: Sequence[Any]) -> Tree:
    """New things in the container that the transformations stand in."""
    if not _is_many(tx):
        return new[0]
    return dict(zip(tx, new, strict=True)) if isinstance(tx, Mapping) else type(tx)(new)
