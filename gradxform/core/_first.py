"""The first state of a stage, field by field as the state class declares it."""

from __future__ import annotations

import contextlib
import contextvars
import functools
from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from gradxform._errors import StructureError
from gradxform._numerics import mixing, promote, real_part, widen
from gradxform._types import Array, ArrayLike, Axes, DType, Field, OptState, Params, Shape, Tree
from gradxform.core._blocks import Blocks, Piece, roles_in, views_of
from gradxform.core._holes import dtype_of, flatten, fresh, is_array, is_gap, is_key, on_the_mesh_of, paths
from gradxform.core._hyper import as_number, at_rank, fits, misfit
from gradxform.core._kernel import named, names_of
from gradxform.core._roles import warn_of_turned
from gradxform.tree._params import is_stand_in

if TYPE_CHECKING:
    from gradxform.core._stage import Stage
    from gradxform.core._trees import Trees


Beginning = Callable[[int, Tree, Tree], Tree]
"""(position of a leaf, the leaf, the first entry as an array) -> the entry as it is to be stored."""
storing: contextvars.ContextVar[Callable[[Stage, str, Params], Beginning | None] | None] = contextvars.ContextVar(
    "storing", default=None
)
"""How the fields of the states that are made begin, while `store` makes one: (stage, name of the field, parameters) -> `Beginning`."""

types_alone: contextvars.ContextVar[bool] = contextvars.ContextVar("types_alone", default=False)
"""Whether of the states that are made only shapes, dtypes and shardings are asked for."""


def by_type(f: Callable[..., Tree]) -> Callable[..., Tree]:
    """f(array, ...); where types alone are asked for, once for all arrays of one type."""
    if not types_alone.get():
        return f
    made: dict[Hashable, Tree] = {}

    def of(x: Tree, *args: Tree) -> Tree:
        if not isinstance(x, jax.core.Tracer):
            return f(x, *args)
        kind = jax.typeof(x)
        if kind not in made:
            made[kind] = f(x, *args)
        return made[kind]

    return of


def first_state(stage: Stage, params: Params) -> OptState:
    """The state before the first update, on the devices of the parameters."""
    leaves, treedef = flatten(params)
    layout, fields, plan = stage.layout, {}, storing.get()
    views = entry_views(stage, params)
    if stage.kernel.sees:
        with contextlib.suppress(StructureError):  # roles that do not fit, which `update` refuses
            warn_of_turned(stage.owner, roles_in(stage, params, assumed=True), params)
    kinds = list(zip(views, stage.by_leaf(params) or [stage] * len(leaves), strict=True))
    for name, field in layout.fields.items():
        if field.when is not None and not at_start(stage, field.when):
            fields[name] = None
        elif field.kind == "leaf":
            begin = None if plan is None else plan(stage, name, params)
            firsts = {(v, id(s)): by_type(functools.partial(_of_leaf, s, field, params, v)) for v, s in kinds}
            entries = ((i, p, firsts[v, id(s)](p, i)) for i, (p, (v, s)) in enumerate(zip(leaves, kinds, strict=True)))
            fields[name] = treedef.unflatten([x if begin is None else begin(i, p, x) for i, p, x in entries])
        elif field.kind == "shared":
            fields[name] = _of_all(stage, field, params, leaves)
        elif field.kind == "key":
            fields[name] = None if stage.args["key"] is None else at_start(stage, field.first if callable(field.first) else as_key)
        elif field.kind == "inner":
            fields[name] = _of_inside(stage, name, field, params)
    clock = jnp.full([], layout.start, jnp.int32) if layout.clock else None
    return on_the_mesh_of(params, layout.make(fields, clock))


def at_start(stage: Stage, fn: Callable[..., Tree], **given: Tree) -> Tree:
    """What a declared function makes of what it names: of what is given, and of the arguments, schedules at 0."""
    return fn(**{**stage.kernel.at(0, named(fn, stage.args)), **named(fn, given)})


def _with_arrays(stage: Stage, fn: Callable[..., Tree], as_seen: Callable[[str, Array], Array], **given: Tree) -> Tree:
    """As `at_start`, with hyperparameters that are arrays of some axes as `as_seen` makes them of their name and value."""
    args, data = stage.kernel.at(0, named(fn, stage.args)), stage.kernel.parameters
    arrays = {n: as_seen(n, jnp.asarray(x)) for n, x in args.items() if data[n].is_data and np.ndim(x)}
    return fn(**{**args, **arrays, **named(fn, given)})


def _of_all(stage: Stage, field: Field, params: Params, leaves: list[Tree]) -> Tree:
    present, given, first = [p for p in leaves if is_array(p)], {}, field.first
    assert callable(first)
    if "params" in names_of(first):
        given["params"] = params if stage.kernel.whole else [fresh(p, widen(dtype_of(p))) for p in present]
    with mixing(given):
        value, dtype = _with_arrays(stage, first, lambda _, x: at_rank(x, 0) if fits(x.shape, ()) else x, **given), None
    if stage.kernel.scope != "elementwise" and any(map(np.ndim, jax.tree.leaves(value))):
        _with_arrays(stage, first, functools.partial(as_number, stage.owner), **given)
    if field.dtype == "params" and present:
        dtype = min((real_part(widen(dtype_of(p))) for p in present), key=lambda d: d.itemsize)
    made = lambda x: as_key(x) if is_key(x) else _spelled_as_one_of(present, jnp.array(x, dtype or jnp.result_type(x)))
    return jax.tree.map(made, value)


def entry_views(stage: Stage, params: Params) -> list[Blocks | None]:
    """How each leaf is cut, where a field has an entry for each part. Elsewhere it need not be one that the kernel can take."""
    fields = [stage.layout.fields[name] for name in stage.layout.leaf]
    cut = any(field.axes is not None or callable(field.first) for field in fields)
    return views_of(stage, params) if cut else [None] * len(flatten(params)[0])


def _of_leaf(stage: Stage, field: Field, params: Params, view: Blocks | None, p: Tree, i: int) -> Tree:
    """A field's first entry at the i-th leaf."""
    if is_gap(p):
        return p
    if view is not None and is_array(p) and (field.axes is not None or callable(field.first)):
        pieces = zip(view.pieces, view.take(jnp.zeros_like(p, dtype=_dtype_at(stage, field, p))), strict=True)
        return view.entry([_of_piece(stage, field, piece, zero) for piece, zero in pieces])
    if callable(field.first) and "leaf" in names_of(field.first):
        return at_start(stage, field.first, leaf=p)
    if not is_array(p):
        return (fresh(p) if field.dtype == "p" else jnp.zeros_like(p)) if hasattr(p, "shape") else None
    dtype, first = _dtype_at(stage, field, p), field.first
    if first is None and field.dtype == "p":
        return fresh(p, dtype)
    zero = jnp.zeros_like(p, dtype=dtype)
    if not callable(first):
        axes = axes_of(stage, field, zero.shape)
        return zero if axes is None else jax.tree.map(lambda a: _along(zero, a), axes, is_leaf=lambda a: isinstance(a, Axes))
    given = {"zero": zero, "p": fresh(p, widen(dtype_of(p)))} if "p" in names_of(first) else {"zero": zero}

    def at_leaf(name: str, x: Array) -> Array:
        if not fits(x.shape, zero.shape):
            raise misfit(stage.owner, name, x.shape, zero.shape, paths(params)[i])
        return at_rank(x, zero.ndim)

    return jax.tree.map(lambda x: x.astype(dtype) if is_array(x) else x, _with_arrays(stage, first, at_leaf, **given))


def _of_piece(stage: Stage, field: Field, piece: Piece, zero: Array) -> Tree:
    """A field's first entry at the arrays of one piece of a leaf."""
    n, laid, axes = len(piece.batch), None, _axes(stage, field, piece.shape)
    if axes is not None:
        shifted = lambda a: _along(zero, Axes(*range(n), *(None if i is None else i + n for i in a)))
        laid = jax.tree.map(shifted, axes, is_leaf=lambda a: isinstance(a, Axes))
    if not callable(field.first):
        return laid
    first = functools.partial(at_start, stage, field.first)
    one = lambda zero: jax.tree.map(lambda x: x.astype(zero.dtype), first(zero=zero))
    for _ in range(n):
        one = jax.vmap(one)
    value = one(zero)
    return value if laid is None else jax.tree.map(lambda x, like: _spelled_as(like, x + like), value, laid)


def _dtype_at(stage: Stage, field: Field, p: ArrayLike) -> DType:
    dtype = dtype_of(p) if field.dtype == "p" else widen(dtype_of(p))
    if field.stored and stage.args.get(field.stored) is not None:
        stored = jnp.dtype(stage.args[field.stored])
        imaginary = jnp.issubdtype(dtype, jnp.complexfloating) and not jnp.issubdtype(stored, jnp.complexfloating)
        dtype = promote(stored, jnp.complex64) if imaginary and stage.kernel.whole else stored
    return real_part(dtype) if field.dtype == "real" else dtype


def axes_of(stage: Stage, field: Field, shape: Shape, view: Blocks | None = None) -> Tree:
    """The axes of a field's entry at a leaf of that shape, which is cut as `view` says; None: those of the leaf."""
    if view is None or field.axes is None:
        return _axes(stage, field, shape)
    mapped = lambda piece: lambda a: view.axes(piece, a)
    is_axes = lambda a: isinstance(a, Axes)
    return view.entry([jax.tree.map(mapped(piece), _axes(stage, field, piece.shape), is_leaf=is_axes) for piece in view.pieces])


def _axes(stage: Stage, field: Field, shape: Shape) -> Tree:
    return at_start(stage, field.axes, shape=shape) if callable(field.axes) else field.axes


def as_declared(stage: Stage, name: str, parts: list[Tree], trees: Trees) -> list[Tree]:
    """A field's entries at the leaves in the containers that it declares. Flax's NNX hands lists and records back as mappings."""
    field = stage.layout.fields[name]
    if field.axes is None or not any(isinstance(x, Mapping) for x in parts):
        return parts
    shapes = [np.shape(g) if is_array(g) else None for g in trees.leaves]
    rows = zip(parts, shapes, views_of(stage, trees.updates), stage.by_leaf(trees.updates) or [stage] * len(parts), strict=True)
    return [x if n is None else _contained(x, axes_of(own, field, n, view)) for x, n, view, own in rows]


def _contained(entry: Tree, axes: Tree) -> Tree:
    found, names = dict(zip(paths(entry), flatten(entry)[0], strict=True)), paths(axes)
    return flatten(axes)[1].unflatten(map(found.get, names)) if set(names) == set(found) else entry


def _along(zero: Array, axes: Axes) -> Array:
    """Zeros with these axes, laid out over devices as what is computed from the leaf will be."""
    if not isinstance(zero, jax.core.Tracer) and not zero.committed:
        return jnp.zeros([1 if i is None else zero.shape[i] for i in axes], zero.dtype)
    kept = [i for i in axes if i is not None]
    once = list(dict.fromkeys(kept))
    x = zero.sum([i for i in range(zero.ndim) if i not in once]).transpose([sorted(once).index(i) for i in once])
    again = [i for i, axis in enumerate(axes) if axis is None or axis in axes[:i]]
    x = jnp.expand_dims(x, again)
    if len(kept) > len(once):
        x = jnp.broadcast_to(x, [1 if axis is None else zero.shape[axis] for axis in axes])
    return _spelled_as(zero, x)


def _spelled_as_one_of(leaves: list[Tree], x: Array) -> Array:
    alike = next((leaf for leaf in leaves if x.ndim and np.ndim(leaf) == x.ndim and hasattr(leaf, "sharding")), None)
    return x if alike is None else _spelled_as(alike, x)


def _spelled_as(like: Array, x: Array) -> Array:
    """x with its sharding written as long as that of `like`: one that says P("x") for P("x", None) has programs compiled again."""
    whole, own = (None if isinstance(a, jax.core.Tracer) else a.sharding for a in (like, x))
    if not (isinstance(whole, jax.sharding.NamedSharding) and isinstance(own, jax.sharding.NamedSharding)):
        return x
    if len(whole.spec) < like.ndim or len(own.spec) in (0, x.ndim):
        return x
    spec = jax.sharding.PartitionSpec(*own.spec, *(None,) * (x.ndim - len(own.spec)))
    return jax.device_put(x, jax.sharding.NamedSharding(own.mesh, spec, memory_kind=own.memory_kind))


def _of_inside(stage: Stage, name: str, field: Field, params: Params) -> OptState:
    if callable(field.first):
        return at_start(stage, field.first, params=params)
    seen = params if is_stand_in(params) else stage.view(params).see(params)
    state = stage.each(lambda tx: tx.init(seen), name, field)
    return field.through[1](None, state) if field.through else state


def as_key(key: ArrayLike) -> Array:
    """A random key from a key, typed or not, or a seed: a whole number. Always a fresh buffer, so that a state can be donated."""
    if is_key(key):
        return jax.random.wrap_key_data(jnp.array(jax.random.key_data(key)), impl=jax.random.key_impl(key))
    return jax.random.wrap_key_data(jnp.array(key)) if jnp.ndim(key) else jax.random.key(key)
