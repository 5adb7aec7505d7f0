"""`store`: an optimizer whose state is kept in fewer bits."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from gradxform._errors import HyperparameterError, LabelError, StructureError
from gradxform._messages import brief
from gradxform._numerics import concretely, round_to
from gradxform._types import ArrayLike, Field, Inner, MaskOrFn, OptState, Params, Tree
from gradxform.core import GradientTransformation, GradientTransformationExtraArgs, wrapper
from gradxform.core._encoded import is_encoded
from gradxform.core._first import Beginning, by_type, storing
from gradxform.core._holes import dtype_of, flatten, is_array, is_gap, paths
from gradxform.core._labels import resolve, suggest
from gradxform.core._parts import Known, Labels, inner_fields, walk
from gradxform.core._stage import Stage
from gradxform.core._transformation import Spec, check_transformation
from gradxform.core._trees import numbers_may_go
from gradxform.precision._codec import STORAGES, Storage
from gradxform.precision._counter import counter_bits, folded, uint32
from gradxform.precision._part import split, whole
from gradxform.precision._storage import Given, facts_of, storage_named, storage_of
from gradxform.tree._params import is_stand_in

SEEDS = 1024  # made at a time


class Plan:
    """How the fields of one state begin: asked by the stages that make it (`gradxform.core._first.storing`)."""

    def __init__(
        self,
        tx: GradientTransformation,
        storage: Given,
        where: MaskOrFn,
        seed: ArrayLike,
        params: Params,
        state: OptState = None,
        axis_name: Hashable | None = None,
    ):
        self.tx, self.storage, self.where, self.params, self.state = tx, storage, where, params, state
        self.axis_name = axis_name
        self.known: dict[str, None] = {}
        self.stored: dict[str, None] = {}
        self._seeds: Iterator[ArrayLike] = _seeds(seed)

    def __call__(self, stage: Stage, name: str, params: Params) -> Beginning | None:
        field = stage.layout.fields[name]
        self.known[name] = None
        storage = None if self.is_plain else self._storage(stage, name)
        if storage is None:
            return None
        self.stored[name] = None
        chosen, zero = self._chosen(params), field.first is None and field.dtype != "p"
        begin = by_type(lambda x: self.begin(storage, x, zero))
        return lambda i, p, x: x if not chosen[i] or jnp.iscomplexobj(p) else begin(x)

    @functools.cached_property
    def is_plain(self) -> bool:
        """Whether it is part of a state that holds plain arrays, as one that was restored from elsewhere does."""
        return self.state is not None and not any(map(is_encoded, jax.tree.leaves(self.state, is_leaf=is_encoded)))

    def _storage(self, stage: Stage, name: str) -> Storage | None:
        given, field = self.storage, stage.layout.fields[name]
        asked = isinstance(given, Mapping)
        if asked and name not in given:
            return None
        if field.axes is not None:
            if asked:
                raise StructureError(
                    f"store: {stage.name()} keeps `{name}` with other axes than the parameter's, so that its codes cannot lie as it does."
                )
            return None
        facts = facts_of(stage, name, asked)
        if not (asked or facts.mean):
            return None
        dtype = stage.args.get(field.stored) if field.stored else None
        if dtype is not None and jnp.finfo(dtype).bits < 32:
            raise StructureError(
                f"store: {stage.name()} keeps `{name}` as its `{field.stored}` says, in {jnp.dtype(dtype).name}. "
                f"Leave `{field.stored}` out, or `{name}` here."
            )
        return storage_of(given[name] if isinstance(given, Mapping) else given, facts)

    def begin(self, storage: Storage, x: Tree, zero: bool) -> Tree:
        """An array as it is to be stored; as it is where that cannot be, or where it is narrow itself."""
        if is_gap(x) or not is_array(x) or not jnp.issubdtype(dtype_of(x), jnp.floating) or jnp.finfo(dtype_of(x)).bits < 32:
            return x
        start = storage.zeros(x, next(self._seeds))
        if start is None or zero:
            return x if start is None else split(start, self.axis_name)
        return split(start, self.axis_name).encode(x) if is_encoded(start) else round_to(x, start.dtype)

    def _chosen(self, params: Params) -> Sequence[bool]:
        """Which leaves of what a stage sees are to be stored."""
        names, where = paths(params), self.where
        if where is None or is_stand_in(params):
            return [True] * len(names)
        found = resolve("store", where, params) if any(name not in self._labels for name in names) else map(self._labels.get, names)
        labels = [False if is_gap(p) else label for p, label in zip(flatten(params)[0], found, strict=True)]
        for name, label in zip(names, labels, strict=True):
            if not isinstance(label, (bool, np.bool_)):
                raise LabelError(f"store: `where` must be True or False at every leaf, but at {name!r} it is {label!r}.")
        return [bool(label) for label in labels]

    @functools.cached_property
    def _labels(self) -> Mapping[str, Any]:
        """By path, for the parameters that `store` sees."""
        if is_stand_in(self.params) or self.params is None:
            return {}
        return dict(zip(paths(self.params), resolve("store", self.where, self.params), strict=True))

    def check(self) -> None:
        """Raise where there is no field of a name that was asked for, or nothing to store."""
        given = self.storage
        if isinstance(given, Mapping):
            for name in given:
                if name not in self.known:
                    raise StructureError(
                        f"store: no state of {self.tx!r:.200} has a field {name!r} with something for each leaf. "
                        f"There are {', '.join(self.known) or 'none'}.{suggest(name, list(self.known))}"
                    )
        elif not self.stored:
            raise StructureError(
                f"store: {self.tx!r:.200} keeps no running mean, in which rounding errors fade. There are "
                f"{', '.join(self.known) or 'no fields like the parameters'}. To store a sum, a maximum or a copy all the same, ask "
                "for it by name: store(tx, {name: 'bfloat16'})."
            )


def _seeds(seed: ArrayLike) -> Iterator[ArrayLike]:
    """A different seed for every array."""
    for start in range(0, 2**32, SEEDS):
        if isinstance(seed, jax.core.Tracer):
            yield from counter_bits((SEEDS,), folded(uint32(seed), start))
        else:
            with concretely():
                made = counter_bits((SEEDS,), folded(uint32(int(np.asarray(seed))), start))
            yield from np.asarray(made)


@contextlib.contextmanager
def _planned(plan: Plan) -> Iterator[None]:
    """Let the states that are made meanwhile begin as planned."""
    if storing.get() is not None:
        raise _stored_twice(plan.tx)
    token = storing.set(plan)
    try:
        yield
    finally:
        storing.reset(token)


def _first(params: Params, tx: GradientTransformation, storage: Given, where: MaskOrFn, seed: ArrayLike) -> OptState:
    plan = Plan(tx, storage, where, seed, params)
    with numbers_may_go():
        with _planned(plan):
            state = tx.init(params)
        state = _begun(plan, state)
        plan.check()
        return state


@wrapper(Annotated[Inner, Field(first=_first)], scope="per_leaf")
def _store(
    g, s, p, c, tx: GradientTransformation, storage: Given, where: MaskOrFn = None, seed: ArrayLike = 0,
    axis_name: Hashable | None = None,
):  # fmt: skip
    """The update of the transformation inside. What a state holds says how it is stored, so only `init` differs."""
    inside, entries = c.stage.args["tx"], []
    state = _at_others(inside, split(s, axis_name), lambda f, x: _decoded(x, entries))
    with _planned(Plan(inside, storage, where, seed, p, s, axis_name)):
        u, new = tx.update(g, state, p)
    left = iter(entries)
    return u, whole(_at_others(inside, new, lambda f, x: _encoded(x, left)), axis_name)


# ---- transformations of other libraries, which know nothing of entries: what they hold is decoded before and encoded after them


def _begun(plan: Plan, state: OptState) -> OptState:
    given = plan.storage if isinstance(plan.storage, Mapping) else {}

    def at(field: str, tree: Tree) -> Tree:
        plan.known[field] = None
        if field not in given:
            return tree
        plan.stored[field] = None
        storage = _alone(field, storage_named(given[field]) if isinstance(given[field], str) else given[field])
        return jax.tree.map(lambda x: plan.begin(storage, x, False), tree, is_leaf=is_gap)

    return _at_others(plan.tx, state, at)


def _alone(field: str, storage: object) -> Storage:
    """A storage for a field of which nothing is known."""
    if not isinstance(storage, Storage) or getattr(getattr(storage, "codec", storage), "partner", False):
        raise StructureError(
            f"store: of `{field}`, in the state of a transformation of another library, nothing is known but its name. Store it by a codec "
            "that needs no more: 'bfloat16', or where it has no negative numbers 'float8'."
        )
    return storage


def _inside(tx: GradientTransformation) -> Iterator[GradientTransformation]:
    """A transformation and all that is in it."""
    yield tx
    for one in tx.update.members if isinstance(tx.update, Spec) else ():
        yield from _inside(one)


def _at_others(tx: GradientTransformation, state: OptState, f: Callable[[str, Tree], Tree]) -> OptState:
    """f(name, tree) of each field of the states of transformations of other libraries."""
    if all(isinstance(one.update, Spec) for one in _inside(tx)):
        return state

    def visit(labels: Labels, tx: Known, state: OptState) -> tuple[Known, OptState, bool]:
        fields = () if isinstance(getattr(tx, "update", None), Spec) else getattr(state, "_fields", ())
        new = {name: f(name, getattr(state, name)) for name in fields if name not in (*inner_fields(state), "inner_states")}
        return tx, state._replace(**new) if new else state, True

    return walk(visit, tx, state)[1]


def _decoded(tree: Tree, entries: list[Tree]) -> Tree:
    found, treedef = jax.tree.flatten(tree, is_leaf=is_encoded)
    entries.append((found, treedef))
    return treedef.unflatten([x.decode() if is_encoded(x) else x for x in found])


def _encoded(tree: Tree, left: Iterator[Any]) -> Tree:
    old, treedef = next(left)
    if not any(map(is_encoded, old)):
        return tree
    new = treedef.flatten_up_to(tree)
    return treedef.unflatten([o.encode(n) if is_encoded(o) else n for n, o in zip(new, old, strict=True)])


def _stored_twice(tx: GradientTransformation) -> StructureError:
    return StructureError(
        f"store: {tx!r:.200} is stored already, or is inside something that is. Store each part of an optimizer once: by the names of its "
        "fields, `store(tx, {'mu': 'bfloat16', 'nu': 'float8'})`, or each member of a chain or a partition by itself."
    )


def store(
    tx: GradientTransformation,
    storage: Given = "8bit",
    where: MaskOrFn = None,
    seed: ArrayLike = 0,
    *,
    axis_name: Hashable | None = None,
) -> GradientTransformationExtraArgs:
    """Keep an optimizer's state in fewer bits: the same optimizer, the same classes of states, other entries in their fields.

        tx = store(adamw(1e-3))                                     2 bytes per parameter in place of 8
        tx = store(adamw(1e-3), "16bit")                            4
        tx = store(adamw(1e-3), {"mu": "bfloat16", "nu": "float8"}) 3
        tx = store(adamw(1e-3), where=by_ndim(2))                   matrices only

    In an update each leaf is decoded, updated in float32 or wider, and encoded again, in the one call that is made for it: no more than
    one leaf is wide at a time, and a compiled step moves the fewer bytes. Only `init` differs; how an array is stored stands in the
    state, so that a state which holds plain arrays, from a checkpoint of Optax for example, runs as such (`encode_state` converts it).

    Storages, all of them element by element, without blocks and scales:

        "bfloat16"          2 bytes, rounded at random, so that a mean that moves by less than 1/512 a step does move on average
        "float8"            1 byte, for fields without negative numbers, from 1.4e-17 to 192, rounded at random, a positive one never to 0
        "int8"              1 byte, for a running mean of g beside one of |g|^2, relative to the root of that
        "8bit"              float8 for running means without negative numbers, int8 for those with a partner, bfloat16 for others
        "16bit"             bfloat16 for all running means
        "bfloat16:nearest"  2 bytes, for means with a decay of at most 1 - 1/32
        "float32"           as it is

    A name or a codec is for all running means; sums (AdaGrad's), running maxima (AdaMax's), copies of parameters, and arrays of
    other axes than the parameter's stay wide. A dictionary is for the fields that it names, whatever they hold.

    Args:
      tx: the optimizer; a chain, a mask, a partition, a wrapper. Fields of transformations of another library go by name, and by codecs
        that need no other field; these are decoded as a whole before the update and encoded after it.
      storage: a name, a codec (`gradxform.precision.Codec`) or one with its settings (`float8(low=-48)`, `int8(limit=8.7)`); or a
        dictionary of such by names of fields.
      where: leaves to store so: patterns, `by_ndim(2)`, a tree or a function, as in `masked`.
      seed: a whole number, from which every array gets its own bits to round with; it may be traced, as under `vmap` over seeds.
      axis_name: for updates inside `shard_map` or `pmap`, where each device sees its own part only: the axis, or a tuple of axes, over
        which every leaf is split, so that the parts are rounded by bits of their own. Leaves that are whole on every device want a
        `store` without it, beside this one in a `partition`.

    >>> tx = gx.store(gx.adamw(1e-3), where=gx.by_ndim(2))
    >>> updates, state = tx.update(grads, tx.init(params), params)

    State    that of tx, with entries such as Float8(codes, seed, low) in place of arrays. Memory: of adamw 2.00 x params in bytes for
             float32's 8.00 with "8bit". Scalar and complex leaves stay wide. No derivative
             goes through codes of 8 bits: what is learned through several updates sees such a state as constant.
    Units    those of tx.
    Shapes   any; codes have the shape of the leaf, and are laid out over devices as it is.
    Sharded  inside `shard_map` parts of one shape are rounded by the same bits; with `axis_name` each by its own, those that it has in the
             whole where that is split along its first axis.
    Masks    `where`: as in `masked`.
    Source   the rounding: Gupta et al. 2015, arXiv:1502.02551. States of 8 bits: Dettmers et al. 2022, arXiv:2110.02861, which has blocks
             with a scale each.
    Differs  Optax has `mu_dtype`, which rounds to nearest. The bits are those of a counter (`counter_bits`): the same on every device and
             under every sharding.
    Raises   StructureError: a field that does not suit its codec, or is stored already; nothing to store; no field of that name.
             UnknownNameError: no storage of that name. HyperparameterError: decays with which a storage does not work. LabelError: `where`
             does not fit the parameters.
    """
    check_transformation(tx, "store")
    if any(isinstance(one.update, Stage) and one.update.kernel is _store.kernel for one in _inside(tx)):
        raise _stored_twice(tx)
    for given in storage.values() if isinstance(storage, Mapping) else [storage]:
        if isinstance(given, str):
            storage_named(given)
    if not isinstance(seed, jax.Array) and not isinstance(seed, (int, np.integer)):
        raise HyperparameterError(f"store: `seed` must be a whole number, but got {brief(seed)}.")
    given = {field: _by_name(x) for field, x in storage.items()} if isinstance(storage, Mapping) else _by_name(storage)
    return _store(tx, given, where, seed, axis_name)


def _by_name(storage: Any) -> Any:
    """A codec by the name that it is known by, under which it prints and compares; anything else as it is."""
    return next((name for name, x in STORAGES.items() if x is storage), storage)
