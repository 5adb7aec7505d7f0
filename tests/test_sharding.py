"""One device, eight devices: the same numbers, the same shardings, and no communication that the mathematics does not ask for."""

import functools
import re
from typing import Any, NamedTuple

import hosts
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

import gradxform
from tests.processes import launch

pytestmark = [
    pytest.mark.skipif(jax.device_count() < 8, reason="needs eight devices; tests/conftest.py fakes them on the CPU"),
]

COLLECTIVE = re.compile(r"= (.*?) (all-reduce|all-gather|reduce-scatter|collective-permute|all-to-all)(?:-start)?\(")
SHAPES = {"b": (8,), "s": (), "w": (16, 8)}
SPECS = {"b": PartitionSpec("d"), "s": PartitionSpec(), "w": PartitionSpec("d", None)}


class Case(NamedTuple):
    """An optimizer, and how far rounding may carry two runs apart."""

    name: str
    tx: Any
    atol: float = 1e-6


CASES = [
    Case("adam", gradxform.adam(0.1)),
    # Newton-Schulz multiplies a rounding difference by up to 3.44^5, and each step is 0.1 of its result.
    Case("muon", gradxform.muon(0.1), 5e-5),
    Case("clip, adamw", gradxform.chain(gradxform.clip_by_global_norm(0.5), gradxform.adamw(0.1))),
    Case("lamb", gradxform.lamb(0.1)),
]
ELEMENTWISE = {"adamw": gradxform.adamw(0.1), "sgd": gradxform.sgd(0.1, 0.9, nesterov=True), "lion": gradxform.lion(0.1)}
by_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
by_elementwise = pytest.mark.parametrize("tx", ELEMENTWISE.values(), ids=ELEMENTWISE)
by_axis_type = pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=lambda a: a.name)


def mesh_of(axis_type):
    return jax.make_mesh((8,), ("d",), axis_types=(axis_type,))


def draw(seed):
    """A parameter tree, and one gradient tree per device."""
    r = np.random.default_rng(seed)
    params = {k: jnp.asarray(r.standard_normal(shape), jnp.float32) for k, shape in SHAPES.items()}
    return params, {k: jnp.asarray(r.standard_normal((8, *shape)), jnp.float32) for k, shape in SHAPES.items()}


def put(mesh, specs, tree):
    return {k: jax.device_put(x, NamedSharding(mesh, specs[k])) for k, x in tree.items()}


def mean(grads):
    return jax.tree.map(lambda g: g.mean(0), grads)


def stepper(tx):
    def step(params, state, grads):
        updates, state = tx.update(grads, state, params)
        return gradxform.apply_updates(params, updates), state

    return step


def two_steps(step, params, state, grads):
    for _ in range(2):
        params, state = step(params, state, grads)
    return params, state


@functools.cache
def on_one_device(tx):
    """Two steps along the mean of the gradients."""
    params, grads = draw(0)
    return two_steps(jax.jit(stepper(tx)), params, tx.init(params), mean(grads))


def assert_close(ours, expected, atol):
    assert jax.tree.structure(ours) == jax.tree.structure(expected)
    for (path, x), y in zip(jax.tree_util.tree_leaves_with_path(ours), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=1e-5, atol=atol, err_msg=jax.tree_util.keystr(path))


def same_sharding(x, y):
    return x.sharding.is_equivalent_to(y.sharding, x.ndim)


def assert_sharded_like(state, params):
    """Each part of the state with the shape of a parameter is sharded like it; no two parameters have one shape."""
    by_shape = {p.shape: p for p in params.values() if p.ndim}
    found = [(x, by_shape[x.shape]) for x in jax.tree.leaves(state) if x.shape in by_shape]
    assert {x.shape for x, _ in found} == set(by_shape), "the state has nothing for some parameter"
    assert all(same_sharding(x, p) for x, p in found)


def collectives(tx, mesh, specs=SPECS):
    """(shapes of the results, kind) of each collective operation in the compiled step."""
    params, grads = draw(1)
    params, grads = put(mesh, specs, params), put(mesh, specs, mean(grads))
    compiled = jax.jit(stepper(tx)).lower(params, tx.init(params), grads).compile()
    return COLLECTIVE.findall(compiled.as_text())


@by_axis_type
@by_case
def test_sharded_parameters(case, axis_type):
    mesh = mesh_of(axis_type)
    params, grads = draw(0)
    params, grads = put(mesh, SPECS, params), put(mesh, SPECS, mean(grads))

    state = case.tx.init(params)
    assert_sharded_like(state, params)
    step = jax.jit(stepper(case.tx))
    first = step(params, state, grads)
    second = step(*first, grads)
    assert_sharded_like(first[1], params)
    assert_sharded_like({"state": second[1], "params": second[0]}, params)
    assert all(map(same_sharding, jax.tree.leaves(first), jax.tree.leaves(second)))
    assert all(x.sharding.is_fully_replicated for x in jax.tree.leaves(first[1]) if not x.ndim)
    assert_close(second, on_one_device(case.tx), case.atol)


@pytest.mark.fast
@by_case
def test_data_parallel_shard_map(case):
    """Replicated parameters, the mean of each device's gradients; `check_vma` proves that the new state is replicated."""
    step, everywhere = stepper(case.tx), PartitionSpec()
    specs = {"in_specs": (everywhere, everywhere, PartitionSpec("d")), "out_specs": everywhere}

    @functools.partial(jax.shard_map, mesh=mesh_of(AxisType.Auto), **specs)
    def parallel_step(params, state, grads):
        return step(params, state, jax.lax.pmean(mean(grads), "d"))

    params, grads = draw(0)
    new = two_steps(jax.jit(parallel_step), params, case.tx.init(params), grads)
    assert_close(new, on_one_device(case.tx), case.atol)


@pytest.mark.fast
@by_elementwise
def test_each_device_updates_its_shard_in_shard_map(tx):
    """An elementwise step needs no other device: shards in, shards out."""
    params, grads = draw(0)
    state = tx.init(params)
    by_shape = {shape: SPECS[k] for k, shape in SHAPES.items()}
    specs = jax.tree.map(lambda x: by_shape[x.shape], (params, state))
    sharded_step = jax.shard_map(stepper(tx), mesh=mesh_of(AxisType.Auto), in_specs=(*specs, SPECS), out_specs=specs)
    new = two_steps(jax.jit(sharded_step), params, state, mean(grads))
    assert_close(new, on_one_device(tx), 1e-6)


@pytest.mark.fast
def test_pmap():
    tx = gradxform.adam(0.1)
    step = stepper(tx)
    params, grads = draw(0)
    spread = lambda tree: jax.tree.map(lambda x: jnp.stack([x] * 8), tree)
    parallel_step = jax.pmap(lambda p, s, g: step(p, s, jax.lax.pmean(g, "d")), axis_name="d")
    new = two_steps(parallel_step, spread(params), spread(tx.init(params)), grads)
    for device in (0, 7):
        assert_close(jax.tree.map(lambda x, i=device: x[i], new), on_one_device(tx), 1e-6)


@pytest.mark.fast
@by_axis_type
@by_elementwise
def test_elementwise_steps_do_not_communicate(tx, axis_type):
    assert collectives(tx, mesh_of(axis_type)) == []


@pytest.mark.fast
@by_axis_type
def test_the_global_norm_communicates_scalars_only(axis_type):
    found = collectives(gradxform.chain(gradxform.clip_by_global_norm(0.5), gradxform.adamw(0.1)), mesh_of(axis_type))
    assert 1 <= len(found) <= len(SHAPES)
    for shapes, kind in found:
        assert kind == "all-reduce"
        assert set(re.findall(r"\[(.*?)\]", shapes)) == {""}, f"{shapes} is more than scalars"


STAGES = {  # of a pipeline: the parameters of each are on devices of its own
    "schedule": gradxform.sgd(gradxform.cosine_decay_schedule(0.1, 10)),
    "adafactor": gradxform.adafactor(0.1),
    "injected": gradxform.inject_hyperparams(gradxform.sgd)(0.1),
    "clock": gradxform.adam(gradxform.cosine_decay_schedule(0.1, 10)),
    "wrapper": gradxform.accumulate(gradxform.adam(0.1), 2),
    "condition": gradxform.conditionally_transform(gradxform.sgd(0.1), lambda step: step > 0),
    "key": gradxform.add_noise(0.1, 0.5, key=0),
    "groups": gradxform.partition({"a": gradxform.adam(0.1), "b": gradxform.sgd(lambda k: 0.1)}, lambda p: dict.fromkeys(p, "a")),
    "a group on each": gradxform.partition(
        {"b": gradxform.adam(0.1), "w": gradxform.lion(0.1), "s": gradxform.sgd(lambda k: 0.1)},
        gradxform.by_leaf(lambda path, leaf: path),
    ),
}


@pytest.mark.parametrize("name", STAGES)
def test_parameters_on_two_sets_of_devices(name):
    """Shared values stay where each stage may read them: un-jitted updates give the bits that they give on one device."""
    tx, devices = STAGES[name], np.array(jax.devices())
    places = {"b": devices[:2], "s": devices[2:3], "w": devices[4:]}
    meshes = {k: NamedSharding(Mesh(some, ("d",)), PartitionSpec()) for k, some in places.items()}
    params, grads = draw(0)
    grads = mean(grads)
    spread = lambda tree: {k: jax.device_put(x, meshes[k]) for k, x in tree.items()}
    expected, (ps, gs) = tx.init(params), map(spread, (params, grads))
    state = tx.init(ps)
    for _ in range(3):
        u, state = tx.update(gs, state, ps)
        v, expected = tx.update(grads, expected, params)
        assert {k: x.sharding for k, x in u.items()} == meshes
        jax.tree.map(np.testing.assert_array_equal, u, v)


@pytest.mark.fast
def test_a_count_may_be_read_where_any_stage_is():
    sets = [NamedSharding(Mesh([device], ("d",)), PartitionSpec()) for device in jax.devices()[:2]]
    params = {str(i): jax.device_put(jnp.ones(4), place) for i, place in enumerate(sets)}
    count = gradxform.adam(0.1).init(params)[0].count
    for x in params.values():
        assert jax.jit(lambda g, c: g * c.astype(g.dtype))(x, count).sharding == x.sharding


@pytest.mark.fast
def test_one_committed_leaf_elsewhere_is_another_set():
    here, there = jax.devices()[:2]
    params = {
        "a": jax.device_put(jnp.ones(2), NamedSharding(Mesh([here], ("d",)), PartitionSpec())),
        "b": jax.device_put(jnp.ones(2), there),
    }
    tx = gradxform.sgd(lambda k: 0.1)
    updates, _ = tx.update(params, tx.init(params), params)
    assert updates["b"].sharding == params["b"].sharding


def test_random_keys_on_two_hosts(tmp_path):
    """Two processes share a mesh: each has the keys in its state, and the updates, of one process alone."""
    launch.run(hosts.__file__, tmp_path)
    lines = [(tmp_path / str(rank)).read_text().splitlines() for rank in range(2)]
    assert lines == [list(hosts.report({"w": jnp.asarray(hosts.W)}))] * 2
