"""Trainers that place a state by ways of their own: from logical axes, by `tree_map_params`, from NNX's variables."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import gradxform as gx

pytestmark = pytest.mark.skipif(jax.device_count() < 8, reason="needs eight devices; tests/conftest.py fakes them on the CPU")

RULES = (("batch", "data"), ("embed", "data"), ("mlp", "model"))
X = np.random.default_rng(0).normal(size=(8, 16)).astype(np.float32)


@pytest.fixture(scope="module")
def mesh():
    return jax.make_mesh((4, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)


def specs(tree):
    """How each is split; a None at the end says nothing."""
    short = lambda spec: spec if not spec or spec[-1] is not None else short(P(*spec[:-1]))
    return [short(x.spec) for x in jax.tree.leaves(tree)]


# ---- Linen: names of axes in the parameters, rules for them in the trainer


@pytest.fixture(scope="module")
def model():
    linen = pytest.importorskip("flax.linen")
    named = lambda *axes: linen.with_logical_partitioning(linen.initializers.lecun_normal(), axes)

    class Net(linen.Module):
        @linen.compact
        def __call__(self, x):
            x = linen.Dense(32, kernel_init=named("embed", "mlp"))(x)
            return linen.Dense(8, kernel_init=named("mlp", "embed"))(jnp.tanh(x))

    return Net()


def by_rules(linen, mesh, tree):
    return linen.logical_to_mesh_sharding(linen.get_partition_spec(tree), mesh, RULES)


@pytest.mark.parametrize("tx", [gx.adamw(0.1), gx.chain(gx.clip_by_global_norm(1.0), gx.lion(0.1)), gx.accumulate(gx.adam(0.1), 2)])
def test_states_take_their_parameters_logical_axes(model, mesh, tx):
    """The whole training state is traced abstractly; its boxes say the axes, of moments too."""
    linen = pytest.importorskip("flax.linen")

    def first(key):
        params = model.init(key, X)["params"]
        return params, tx.init(params)

    abstract = jax.eval_shape(first, jax.random.key(0))
    where = by_rules(linen, mesh, abstract)
    params, state = jax.jit(first, out_shardings=where)(jax.random.key(0))
    assert specs(gx.state_shardings(tx, abstract[0], where[0])) == specs(where[1])
    plain = linen.meta.unbox(abstract[0])
    assert specs(gx.state_shardings(tx, plain, where[0])) == specs(where[1])
    made = gx.init_sharded(tx, params)
    assert jax.tree.structure(made) == jax.tree.structure(state)
    for x, y in zip(*map(jax.tree.leaves, (made, state)), strict=True):
        assert x.sharding.is_equivalent_to(y.sharding, x.ndim)
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("tx", [gx.adafactor(0.1, min_dim_size_to_factor=2), gx.store(gx.adamw(0.1), "8bit")])
def test_where_logical_axes_say_too_much_the_derived_shardings_fit(model, mesh, tx):
    """A mean over rows stands in a box that names the axes of the whole matrix."""
    linen = pytest.importorskip("flax.linen")
    params = jax.eval_shape(lambda key: model.init(key, X)["params"], jax.random.key(0))
    where = gx.state_shardings(tx, params, by_rules(linen, mesh, params))
    state = jax.eval_shape(tx.init, params)
    for x, sharding in zip(*map(jax.tree.leaves, (state, where)), strict=True):
        sharding.shard_shape(x.shape)  # an error where it does not fit
    assert any(s.spec for s in jax.tree.leaves(where))


# ---- tree_map_params: what is laid out like the parameters gets their shardings, the rest is replicated

LIKE_PARAMETERS = {
    "adamw": gx.adamw(0.1),
    "clip, sgd": gx.chain(gx.clip_by_global_norm(1.0), gx.sgd(0.1, momentum=0.9)),
    "store": gx.store(gx.adamw(0.1), "8bit"),
    "accumulate": gx.accumulate(gx.adam(0.1), 2),
    "schedule_free": gx.schedule_free_adamw(0.1),
    "inject_hyperparams": gx.inject_hyperparams(gx.adamw)(0.1),
    "master_weights": gx.master_weights(gx.adam(0.1)),
}


@pytest.mark.parametrize("name", LIKE_PARAMETERS)
def test_tree_map_params_gives_the_same(mesh, name):
    tx = LIKE_PARAMETERS[name]
    where = {"w": NamedSharding(mesh, P("data", "model")), "b": NamedSharding(mesh, P("model"))}
    params = {"w": jax.ShapeDtypeStruct((16, 8), jnp.float32), "b": jax.ShapeDtypeStruct((8,), jnp.float32)}
    state, whole = jax.eval_shape(tx.init, params), NamedSharding(mesh, P())
    theirs = gx.tree_map_params(tx, lambda _, sharding: sharding, state, where, transform_non_params=lambda _: whole)
    ours = gx.state_shardings(tx, params, where)
    assert jax.tree.structure(theirs) == jax.tree.structure(ours)
    assert jax.tree.leaves(theirs) == jax.tree.leaves(ours)
    restored = gx.tree_map_params(tx, lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), state, where)
    assert all(x.sharding == s for x, s in zip(*map(jax.tree.leaves, (restored, ours)), strict=True) if x.shape)
    on_the_host = jax.tree.map(lambda s: s.with_memory_kind("pinned_host"), ours)
    assert {s.memory_kind for s in jax.tree.leaves(on_the_host)} == {"pinned_host"}


# ---- NNX: the variables hold arrays that are placed, or know how they are to be


def test_nnx_variables(mesh):
    nnx = pytest.importorskip("flax.nnx")
    split = lambda *axes: nnx.with_partitioning(nnx.initializers.lecun_normal(), axes)

    class Net(nnx.Module):
        def __init__(self):
            rngs = nnx.Rngs(0)
            self.first = nnx.Linear(16, 32, kernel_init=split("data", "model"), rngs=rngs)
            self.second = nnx.Linear(32, 8, kernel_init=split("model", None), rngs=rngs)

    @nnx.jit
    def make():
        net = Net()
        state = nnx.state(net)
        nnx.update(net, jax.lax.with_sharding_constraint(state, nnx.get_partition_spec(state)))
        return net

    with jax.set_mesh(mesh):
        params = nnx.state(make(), nnx.Param)
        named = nnx.get_named_sharding(params, mesh)
        for tx in (gx.adamw(0.1), gx.adafactor(0.1, min_dim_size_to_factor=2)):
            ours = gx.state_shardings(tx, params)
            assert specs(gx.state_shardings(tx, params, named)) == specs(ours)
            made = gx.init_sharded(tx, params)
            assert jax.tree.structure(made) == jax.tree.structure(tx.init(params))
            assert all(x.sharding.is_equivalent_to(s, x.ndim) for x, s in zip(*map(jax.tree.leaves, (made, ours)), strict=True))
    mu = gx.state_shardings(gx.adamw(0.1), params)[0].mu
    assert specs(mu["first"]["kernel"]) == [P("data", "model")]
    assert specs(mu["second"]["kernel"]) == [P("model")]
