"""Executing a kernel of whole trees: a wrapper, with transformations inside, or a function that no leafwise kernel can be.

    kernel(g, s, p, c, <arguments>) -> (u, s')

`g`, `p` are trees, `s` the state's record, `c` a `TreeContext`. An argument that is a transformation stands there as one whose `update` has
the extra arguments and goes through the wrapper's view: `inner.update(g, s.inner_state, p)`, `inner.init(p)`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._errors import StructureError
from gradxform._messages import OF_A_STATE
from gradxform._numerics import mixing, promote, real_part, round_to, widen
from gradxform._types import Array, ArrayLike, OptState, Params, Tree, Updates
from gradxform.core._encoded import any_encoded, at_entries, closed, opened
from gradxform.core._engine import Context, wide_leaf
from gradxform.core._evaluate import After, evaluated
from gradxform.core._explicit import as_split, found_by_xla, place_beside
from gradxform.core._first import as_declared
from gradxform.core._holes import as_array, dtype_of, is_array
from gradxform.core._hyper import as_number
from gradxform.core._kernel import Lifted, missing, named
from gradxform.core._paced import paced
from gradxform.core._placement import on_device, placed
from gradxform.core._returned import Undeclared, returned
from gradxform.core._run import check_fit, hypers
from gradxform.core._traced import Traced, compiled_leaf, is_constant
from gradxform.core._transformation import GradientTransformation, extra_args_for
from gradxform.core._trees import Trees, advance
from gradxform.core._views import Split, View

if TYPE_CHECKING:
    from gradxform.core._stage import Stage
    from gradxform.core._state import Layout

Extras = Mapping[str, Any]


class Bound:
    """A transformation inside another, for one update of that: with its extra arguments, through its view."""

    tx: GradientTransformation
    owner: str
    view: View
    extra: Extras

    def __init__(self, tx: GradientTransformation, owner: str, view: View, extra: Extras):
        self.tx, self.owner, self.view, self.extra = tx, owner, view, extra

    def init(self, params: Params) -> OptState:
        return self.tx.init(self.view.see(params))

    def update(self, updates: Updates, state: OptState, params: Params = None, **more: Tree) -> tuple[Updates, OptState]:
        extra = extra_args_for(self.tx.update, {**self.extra, **more})
        if self.view.is_plain:
            return self.tx.update(updates, state, params, **extra)
        seen, ps = self.view.see(updates), None if params is None else self._see_params(params, updates)
        u, state = self.tx.update(seen, state, ps, **self.view.extra(extra, updates, params))
        Trees(self.owner, seen).take("the inner transformation's updates", u)
        return self.view.put(updates, u), state

    def _see_params(self, params: Params, updates: Updates) -> Params:
        try:
            return self.view.see(params)
        except (ValueError, TypeError, KeyError):
            Trees(self.owner, updates).take("`params`", params)
            raise


class TreeContext(Context):
    """What a kernel of whole trees knows beside them: `c.t`, the extra arguments that it declares, and how to work leaf by leaf.

    Attributes:
      stage: the transformation that is executed.
      state: its whole state.
      trees: the updates, taken apart.
      extra: all extra arguments.
    """

    __slots__ = ("_view", "extra", "stage", "state", "trees")
    stage: Stage
    state: OptState
    trees: Trees
    extra: Extras

    def __init__(self, stage: Stage, state: OptState, t: Array | None, needed: Extras, trees: Trees, extra: Extras):
        super().__init__(stage.owner, t, needed, None, jnp.dtype(jnp.float32))
        self.stage, self.state, self.trees, self.extra = stage, state, trees, extra
        self._view = stage.view(trees.updates)

    def number(self, name: str, x: ArrayLike) -> ArrayLike:
        """A hyperparameter that acts on all leaves together, so that it must be one number."""
        return as_number(self._owner, name, jnp.asarray(x)) if np.ndim(x) else x

    def bind(self, tx: GradientTransformation) -> Bound:
        """A transformation that is not an argument, as one that is."""
        return Bound(tx, self._owner, self._view, self.extra)

    def map(self, f: Callable[..., Any], *trees: Tree, like: tuple[Tree, ...] = (), **shared: Tree) -> Tree:
        """f at each leaf that the first tree has: one tree, or one for each of `like`.

        f is given the leaves, float32 or wider, and what is shared by all, by keyword. Its result is rounded as the first tree is, or the
        i-th result as the i-th of `like`; where the first tree has no leaf, that tree's own stays. So one leaf is wide at a time. The
        library's own functions are compiled once.
        """
        first = self.trees if trees[0] is self.trees.updates else Trees(self._owner, trees[0])
        columns = [first.pick(first.leaves), *(first.pick(first.like("a tree beside them", x)) for x in trees[1:])]
        targets = [first.take("a tree beside them", x) for x in like or trees[:1]]
        dtypes = [tuple(map(dtype_of, row)) for row in zip(*map(first.pick, targets), strict=True)]
        call = _compiled(f)
        rows = zip(dtypes, zip(*columns, strict=True), strict=True)
        out = [call(to, tuple(map(as_array, xs)), shared) for to, xs in rows]
        for i, target in enumerate(targets):
            _check_shapes(first, [row[i] for row in out], first.pick(target))
        results = [first.together(first.put(target, [row[i] for row in out])) for i, target in enumerate(targets)]
        return tuple(results) if like else results[0]

    def across(self, f: Callable[..., Array], *args: Tree, like: Callable[[], Array]) -> Array:
        """f(*args), which looks across a leaf; on a mesh with explicit axes its result is split as `like()` is."""
        return found_by_xla(f, args, like)

    def lift(self, made: Lifted[...], g: Updates, s: OptState, p: Params = None, **extra: Tree) -> tuple[Updates, OptState]:
        """A leafwise kernel on this very record, with those of this stage's arguments that it names."""
        stage = self.stage.stage_of(made.kernel)
        if not stage.layout.boxed:
            return stage(g, s, p, **extra)
        u, state = stage(g, self.state._replace(inner_state=s), p, **extra)  # its clock stands around the record
        return u, state.inner_state


def _check_shapes(trees: Trees, made: Sequence[Array], had: Sequence[Tree]) -> None:
    """Raise where what was made for a present leaf has not the shape of what was there."""
    for i, x, y in zip(trees.present, made, had, strict=True):
        if np.shape(x) != np.shape(y):
            raise StructureError(
                f"{trees.owner}: at {trees.paths[i]!r} there is shape {np.shape(y)}, which must be kept, but {np.shape(x)} was made."
            )


def _at(f: Callable[..., Any], dtypes: tuple[np.dtype, ...], xs: tuple[Array, ...], shared: Mapping[str, Any]) -> tuple[Array, ...]:
    """f of leaves, float32 or wider, its results rounded to these dtypes."""
    wide = [wide_leaf(x, jnp.dtype(jnp.float32)) for x in xs]
    with mixing(wide, shared):
        out = f(*wide, **shared)
    return tuple(round_to(jnp.asarray(y), d) for y, d in zip(out if isinstance(out, tuple) else (out,), dtypes, strict=False))


_constant = jax.jit(_at, static_argnums=(0, 1))


def _compiled(f: Callable[..., Any]) -> Callable[..., tuple[Array, ...]]:
    """(dtypes of the results, leaves, shared) -> results."""
    if is_constant(f):
        return functools.partial(_constant, f)
    at = functools.cache(lambda dtypes: Traced(functools.partial(_at, f, dtypes), compiled_leaf))
    return lambda dtypes, xs, shared: at(dtypes)(xs, shared)


def run(stage: Stage, updates: Updates, state: OptState, params: Params, extra: Extras) -> tuple[Updates, OptState]:
    """Execute a kernel of whole trees."""
    kernel, layout = stage.kernel, stage.layout
    state = layout.own(state)
    record = layout.read(state, stage.owner)
    trees = Trees(stage.owner, updates)
    trees.settle(params, *(getattr(record, f) for f in layout.like_params))
    split = _split_as(trees, [getattr(record, f) for f in layout.like_params])
    came = trees.updates
    if not split.is_plain:
        extra = split.extra(extra, came, params)
        trees, params = Trees(stage.owner, split.see(came)), None if params is None else split.see(params)
    clock = getattr(state, layout.clock) if layout.clock else None
    t = None if clock is None else advance([clock])[0]
    k = layout.completed(state)
    number = t - layout.start if t is not None and layout.start else t
    c = TreeContext(stage, state, number, needed(stage, params, extra), trees, extra)
    args = dict(stage.args) if k is None else kernel.at(k, stage.args)
    arrays = {n: x for n, x in args.items() if kernel.parameters[n].is_data and x is not None and np.ndim(x)}
    if arrays and kernel.scope != "per_tree":
        check_fit(trees, stage.owner, arrays)
    args |= {name: c.bind(args[name]) for name in kernel.transformations if args[name] is not None}
    own = {name: getattr(record, name) for name in layout.leaf}
    together = lambda own, rest: rest._replace(**own) if own else rest
    u, fields = paced(lambda *parts: _computed(together(*parts), params, c, args), own, record)
    u = split.put(came, u)
    return (u, fields) if layout.cls is None else (u, layout.write(state, fields, t))


def _computed(record: OptState, params: Params, c: TreeContext, args: Mapping[str, Any]) -> tuple[Updates, Any]:
    """The updates, and the fields that the kernel has changed, as they are stored; of a state that is no record all of it."""
    kernel, layout = c.stage.kernel, c.stage.layout
    near, entries = fetched(layout, record, far=True), c.trees.entries
    seen = opened(layout, near, entries) if layout.like_params else near
    u, new = returned(kernel, kernel.function(c.trees.updates, seen, params, c, **args))
    if layout.cls is None:
        return u, new
    if seen is not near:
        new = closed(layout, new, near, leaf_as_before, entries)
    fields: dict[str, Any] = {}
    for name, field in layout.fields.items():
        before, after, was = getattr(record, name), getattr(new, name), getattr(near, name)
        if field.kind != "clock" and after is not was:
            fields[name] = after if field.kind in ("inner", "key") else placed(as_split(as_before(after, before), before), before)
    return u, fields


def _split_as(trees: Trees, fields: Sequence[Tree]) -> View:
    """Sees what is laid out like the updates split as these fields are, if that is otherwise than they are."""
    kept = [parts for field in fields if field is not None and (parts := trees.entries(field)[0])]
    places = [place_beside(g, entries) for g, *entries in zip(trees.leaves, *kept, strict=True)]
    return Split(tuple(places)) if any(places) else View()


def fetched(layout: Layout, record: OptState, *, far: bool = False) -> OptState:
    """A record with what it keeps for each leaf on the device. The states inside fetch their own, as with `far` a kernel some fields."""
    stays = lambda name: far and layout.fields[name].far and not any_encoded(at_entries(getattr(record, name))[0])
    near = {name: on_device(getattr(record, name)) for name in layout.leaf if not stays(name)}
    return record._replace(**near) if near else record


def needed(stage: Stage, params: Params, extra: Extras) -> dict[str, Any]:
    """The extra arguments that a kernel declares, by name; those that are optional and absent are None."""
    found = {}
    for name, argument in stage.kernel.needs.items():
        value = params if name == "params" else extra.get(name)
        if value is None and not argument.optional:
            raise missing(stage.owner, name)
        if name != "params":
            found[name] = value
    return found


def as_before(new: Tree, old: Tree) -> Tree:
    """A new field, or state, in the dtypes that it had. One of another structure is taken as it is."""
    if new is old:
        return old
    xs, treedef = jax.tree.flatten(new)
    ys, before = jax.tree.flatten(old)
    return treedef.unflatten([leaf_as_before(x, y) for x, y in zip(xs, ys, strict=True)]) if treedef == before else new


def leaf_as_before(new: Tree, old: Tree) -> Tree:
    """A leaf in the dtype that it had, or its own where that was for whole numbers only, never of weak type; weak ones set none."""
    if getattr(old, "weak_type", not hasattr(old, "dtype")):
        return new
    if getattr(new, "dtype", None) == old.dtype and not getattr(new, "weak_type", False):
        return new
    dtype = jnp.result_type(old)
    if jnp.issubdtype(dtype, jnp.integer) and jnp.issubdtype(jnp.result_type(new), jnp.inexact):
        dtype = jnp.result_type(new)
    return round_to(jnp.asarray(new), dtype).astype(dtype)  # astype: never of weak type


def evaluate(stage: Stage, record: OptState, params: Params, after: After) -> Params:
    """The parameters to evaluate with: as declared, or as what is inside has them."""

    def inside(params: Params, after: After = after) -> Params:
        for _, tx, state in stage.parts_of(record, aside=False):
            view = stage.view(params)
            seen = view.see(params)
            found = seen if tx is None else evaluated(tx, state, seen, view.after(after, params))
            params = params if found is seen else view.put(params, found)
        return params

    declared = stage.kernel.evaluate
    if declared is None:
        return inside(params)
    return declared(
        params,
        opened(stage.layout, fetched(stage.layout, record)),
        **named(declared, {**stage.args, "after": after, "inside": inside}),
    )


def of_lists(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel of lists (of the present leaves, float32 or wider) as one of trees."""

    @functools.wraps(kernel)
    def of_trees(g: Updates, s: OptState, p: Params, c: TreeContext, **arguments: Tree) -> tuple[Updates, OptState]:
        stage, trees, layout = c.stage, c.trees, c.stage.layout
        take = lambda what, tree: [_up(x) for x in trees.pick(trees.like(what, tree))]
        entries = lambda f: as_declared(stage, f, trees.take(f"the state's `{f}`", getattr(s, f), OF_A_STATE), trees)
        fields: dict[str, Any] = {f: entries(f) for f in layout.leaf}
        gs = [as_array(x) for x in trees.pick(trees.leaves)]
        extras = {
            n: take(f"`{n}`", c.extra[n]) if x.per_leaf else getattr(c, n) for n, x in stage.kernel.needs.items() if n != "params"
        }
        key, sample = jax.random.split(getattr(s, layout.key)) if layout.key else (None, None)
        dtype = real_part(promote(jnp.float32, *(widen(x.dtype) for x in gs)))
        record = s._replace(**{f: [_up(x) for x in trees.pick(xs)] for f, xs in fields.items()}) if fields else s
        ps = take("`params`", p) if "params" in stage.kernel.needs else Undeclared(stage.kernel.name)
        inside = Context(stage.kernel.name, c.t, extras, sample, dtype)
        wide = [_up(x) for x in gs]
        with mixing(wide, record, ps if isinstance(ps, list) else None):
            out = kernel(wide, record, ps, inside, **hypers(stage, layout.completed(c.state)))
        u, new = returned(stage.kernel, out)
        for f, xs in fields.items():
            rows = zip(getattr(new, f), trees.pick(xs), strict=True)
            fields[f] = trees.together(trees.put(xs, [jax.tree.map(lambda n, o: _down(n, o.dtype), *row) for row in rows]))
        if layout.key:
            fields[layout.key] = key
        new = new._replace(**fields) if fields else new
        _check_shapes(trees, u, gs)
        return trees.together(trees.put(trees.leaves, [_down(x, y.dtype) for x, y in zip(u, gs, strict=True)])), new

    return of_trees


_widen_leaf = jax.jit(wide_leaf, static_argnums=1)
_round_leaf = jax.jit(round_to, static_argnums=1)


def _up(x: Tree) -> Tree:
    wide = lambda y: _widen_leaf(on_device(y), jnp.dtype(jnp.float32)) if is_array(y) and widen(y.dtype) != y.dtype else y
    return jax.tree.map(lambda y: wide(as_array(y)), x)


def _down(x: Array, dtype: np.dtype) -> Array:
    return x if x.dtype == dtype else _round_leaf(x, dtype)
