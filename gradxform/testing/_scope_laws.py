"""Laws about scopes, engines, trees, masks and devices: 4, 5, 6, 10, 11, 13."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._types import Params, Tree, Updates
from gradxform.core._chain import chain, named_chain
from gradxform.core._engine import ENGINES, engine
from gradxform.core._masking import masked, partition, set_to_zero
from gradxform.core._transformation import GradientTransformation
from gradxform.testing._case import Case, Leaves
from gradxform.testing._laws import Skip, describe, differences, expect, law, same
from gradxform.tree._leafwise import MaskedNode


@law(4, "the declared scope holds", rests_on=(21, 22))
def scope(case: Case) -> Skip | None:
    if case.scope is None:
        return Skip("written by hand", to_do='say how far information flows: scope="elementwise", "per_leaf" or "per_tree"')
    if case.scope == "per_tree":
        return Skip("a per_tree kernel promises nothing")
    tx, params, grads = case.tx, case.params(), [case.grads(i) for i in range(3)]
    whole = _last_update(case, tx, grads, params)
    if not case.random:
        for name in params:
            alone = _last_update(case, tx, [{name: g[name]} for g in grads], {name: params[name]})
            same({name: whole[name]}, alone, f"the update of {name!r} in the tree, and alone")
    if case.scope == "elementwise":
        flat = lambda tree: jnp.concatenate([x.ravel() for x in jax.tree.leaves(tree)])[::-1]
        joined = _last_update(case, tx, [flat(g) for g in grads], flat(params))
        same(flat(whole), joined, "updates, joined and reversed, and updates of gradients joined and reversed")
        return None
    if case.random:
        return None
    stack = lambda trees: jax.tree.map(lambda *xs: jnp.stack(xs), *trees)
    ps, gs = [case.params(), case.grads(7)], [[case.grads(2), case.grads(3)], [case.grads(4), case.grads(5)]]
    one_by_one = stack([_last_update(case, tx, [gs[0][i], gs[1][i]], ps[i]) for i in range(2)])
    batched = jax.vmap(lambda a, b, p: _last_update(case, tx, [a, b], p))(stack(gs[0]), stack(gs[1]), stack(ps))
    same(one_by_one, batched, "updates one by one, and under vmap", rtol=1e-4)
    return None


def _last_update(case: Case, tx: GradientTransformation, grads: Sequence[Updates], params: Params) -> Updates:
    updates, state = None, tx.init(params)
    for g in grads:
        updates, state = case.update(tx, g, state, params)
    return updates


@law(5, "every engine agrees", rests_on=(21,))
def engines(case: Case) -> Skip | None:
    if case.by_hand:
        return Skip("written by hand, no engine runs it")
    results = {}
    for name in ENGINES:
        with engine(name):
            step = lambda s, g: case.update(case.tx, g, s, case.params())[::-1]
            step = step if name == "plain" else jax.jit(step)
            state = case.tx.init(case.params())
            results[name] = step(step(state, case.grads(0))[0], case.grads(1))
    for name in ENGINES[1:]:
        same(results["leaf"], results[name], f"engine 'leaf' and engine {name!r}", places=2)
    return None


NAMES = ("bias", "embedding", "kernel", "scale", "weight")
"""What leaves are often called, in alphabetical order."""


class _Pair(NamedTuple):
    first: Tree
    second: Tree


@law(6, "any tree will do, whatever the names and the order of its leaves", rests_on=(21,))
def trees(case: Case) -> None:
    tx, p, g = case.tx, case.params(), case.grads(0)
    expected, _ = case.update(tx, g, tx.init(p), p)
    first, *rest = list(p)
    renamed = {
        "a dict with other names": lambda t: {f"{NAMES[i % 5]}{i // 5 or ''}": t[k] for i, k in enumerate(p)},
        "a list in the opposite order": lambda t: [t[k] for k in reversed(list(p))],
    }
    for kind, build in {
        **({} if case.random else renamed),
        "a list": lambda t: [t[first], *[t[k] for k in rest]],
        "nested tuples": lambda t: (t[first], tuple(t[k] for k in rest)),
        "a NamedTuple with None": lambda t: _Pair(t[first], [None, *[t[k] for k in rest]]),
        "masked leaves": lambda t: {"a": t[first], "m": MaskedNode(), "z": [t[k] for k in rest]},
    }.items():
        updates, _ = case.update(tx, build(g), tx.init(build(p)), build(p))
        same(build(expected), updates, f"the update in a dict, and in {kind}")
    empty, _ = case.update(tx, {}, tx.init({}), {})
    expect(empty == {}, f"the update of an empty tree is {empty!r}.")
    if not case.by_hand:
        _gradient_holes(case, tx, p, g)


def _gradient_holes(case: Case, tx: GradientTransformation, p: Leaves, g: Leaves) -> None:
    """A missing gradient leaves its update missing and its state alone, eagerly and under jit; integers are no parameters."""
    first = next(iter(p))
    state = tx.init(p)
    holed = {**g, first: None}
    for step in (case.update, jax.jit(case.update, static_argnums=0)):
        updates, after = step(tx, holed, state, p)
        expect(updates[first] is None, f"where the gradient is None, the update is {updates[first]!r}.")
        changed = differences(describe(state), describe(after))
        expect(not changed, f"a None gradient changes the state: {'; '.join(changed)}.")
    with_int = {**p, "n": jnp.arange(3)}
    updates, _ = case.update(tx, {**g, "n": np.zeros(3, jax.dtypes.float0)}, tx.init(with_int), with_int)
    expect(updates["n"].dtype == jax.dtypes.float0, f"where the gradient is float0, the update is {updates['n']!r}.")


@law(10, "masks leave other leaves untouched and store nothing for them", rests_on=(21,))
def masks(case: Case) -> None:
    p, g = case.params(), case.grads(0)
    first = next(iter(p))
    tx = masked(case.tx, {k: k != first for k in p})
    state = tx.init(p)
    updates, after = case.update(tx, g, state, p)
    same(g[first], updates[first], "the gradient of a masked leaf, and its update", rtol=0, atol=0)
    odd = [
        jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path((state, after))[0] if first in _names(path)
    ]
    expect(not odd, f"something is stored for the masked leaf {first!r}: {', '.join(odd)}.")
    rest = {k: v for k, v in p.items() if k != first}
    alone, _ = case.update(case.tx, {k: g[k] for k in rest}, case.tx.init(rest), rest)
    same(alone, {k: updates[k] for k in rest}, "updates without the masked leaf, and with it masked")


def _names(path: Sequence[object]) -> list[Hashable]:
    return [getattr(k, "key", None) for k in path]


@law(11, "it composes: chain, named_chain, partition, scan", rests_on=(2, 21))
def composes(case: Case) -> None:
    tx, p, g = case.tx, case.params(), case.grads(0)
    expected, _ = case.update(tx, g, tx.init(p), p)
    wrapped = {
        "chain(tx)": chain(tx),
        "chain(chain(tx), chain())": chain(chain(tx), chain()),
        "named_chain(('tx', tx))": named_chain(("tx", tx)),
        "partition": partition({"a": tx, "b": set_to_zero()}, dict.fromkeys(p, "a")),
    }
    for name, other in wrapped.items():
        updates, _ = case.update(other, g, other.init(p), p)
        same(expected, updates, f"the update alone, and in {name}")

    def body(state, grads):
        updates, state = case.update(tx, grads, state, p)
        return state, updates

    gs = jax.tree.map(lambda *xs: jnp.stack(xs), case.grads(0), case.grads(1))
    _, updates = jax.lax.scan(body, tx.init(p), gs)
    same(expected, jax.tree.map(lambda x: x[0], updates), "the update alone, and in a scan")


@law(
    13,
    "on eight devices the state shards like the parameters, the second step compiles nothing, an elementwise one has no collective",
    rests_on=(2, 4, 21, 22),
)
def devices(case: Case) -> Skip | None:
    if len(jax.devices()) < 8:
        return Skip(f"only {len(jax.devices())} devices here; force eight with XLA_FLAGS=--xla_force_host_platform_device_count=8")
    mesh = jax.sharding.Mesh(np.asarray(jax.devices()[:8]), ("x",))
    shape = max(case.shapes.values(), key=len)
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*(["x"] + [None] * (len(shape) - 1))))
    rng = np.random.default_rng(0)
    host = [jnp.asarray(rng.normal(size=(16, *shape[1:])), jnp.float32) for _ in range(2)]
    params, grads = ({"w": jax.device_put(x, sharding)} for x in host)
    tx = case.tx
    state = tx.init(params)
    for path, x in jax.tree_util.tree_flatten_with_path(state)[0]:
        if x.shape == params["w"].shape:
            where = jax.tree_util.keystr(path)
            expect(x.sharding.is_equivalent_to(sharding, x.ndim), f"the state at {where} has the sharding {x.sharding}.")
    if case.by_hand:  # a pair of functions knows nothing of meshes: its counts are placed by who calls it
        everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
        state = jax.tree.map(lambda x: x if len(x.sharding.device_set) > 1 else jax.device_put(x, everywhere), state)
    step = jax.jit(lambda g, s, p: case.update(tx, g, s, p))
    updates, after = step(grads, state, params)
    step(grads, after, params)
    programs = step._cache_size()  # pyright: ignore[reportAttributeAccessIssue]  jax has no public count
    expect(programs == 1, f"on eight devices the second step compiles again: {_shardings(state)} became {_shardings(after)}.")
    expected, _ = case.update(tx, {"w": host[1]}, tx.init({"w": host[0]}), {"w": host[0]})
    same(expected, updates, "the update on one device, and on eight", rtol=1e-4)
    if case.scope == "elementwise":
        text = str(step.lower(grads, state, params).compile().as_text())
        found = sorted(set(re.findall(r"all-reduce|all-gather|reduce-scatter|collective-permute|all-to-all", text)))
        expect(not found, f"an elementwise update compiles to {', '.join(found)}.")
        for path, x in jax.tree_util.tree_flatten_with_path(after)[0]:
            if x.shape == params["w"].shape:
                where = jax.tree_util.keystr(path)
                expect(x.sharding.is_equivalent_to(sharding, x.ndim), f"after a step, the state at {where} has {x.sharding}.")
    return None


def _shardings(tree: Tree) -> list[str]:
    return [str(x.sharding) for x in jax.tree.leaves(tree)]
