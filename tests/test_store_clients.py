"""Stored state in the hands of others: Orbax, Flax, NNX, Equinox, pickle."""

import inspect
import io
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_store import equal, forms, run

import gradxform as gx

P = {"kernel": jnp.linspace(-1.0, 1.0, 12).reshape(3, 4), "bias": jnp.ones(4)}
G = jax.tree.map(lambda x: 0.1 * x + 0.01, P)
TX = {
    "8bit": gx.store(gx.chain(gx.clip_by_global_norm(1.0), gx.adamw(0.01))),
    "16bit": gx.store(gx.adamw(0.01), "16bit"),
    "partition": gx.store(gx.partition({"a": gx.adam(0.01), "b": gx.lion(0.01)}, {"bias": "b", "kernel": "a"})),
}
by_kind = pytest.mark.parametrize("kind", TX)


def trained(tx, state=None, steps=2):
    return run(tx, state, steps, P, G)[1]


@by_kind
@pytest.mark.parametrize("way", ["sync", "async"])
def test_orbax(kind, way, tmp_path):
    """Saved and restored into an abstract state, the run goes on bit for bit."""
    ocp = pytest.importorskip("orbax.checkpoint")
    tx = TX[kind]
    saved = trained(tx)
    like = jax.eval_shape(tx.init, P)
    handler = ocp.StandardCheckpointHandler()
    with ocp.Checkpointer(handler) if way == "sync" else ocp.AsyncCheckpointer(handler) as checkpointer:
        checkpointer.save(tmp_path / "state", args=ocp.args.StandardSave(saved))
        if way == "async":
            checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "state", args=ocp.args.StandardRestore(like))
    assert forms(restored) == forms(saved)
    assert equal(trained(tx, restored), trained(tx, saved))


def test_orbax_writes_readable_names(tmp_path):
    ocp = pytest.importorskip("orbax.checkpoint")
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", trained(TX["8bit"]))
        checkpointer.wait_until_finished()
        found = checkpointer.metadata(tmp_path / "state")
    tree = getattr(found, "item_metadata", found)
    names = {jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(getattr(tree, "tree", tree))}
    assert any("nu" in n and "kernel" in n and "codes" in n for n in names)
    assert any("mu" in n and "bias" in n and "limit" in n for n in names)


@by_kind
def test_flax_serialization(kind):
    serialization = pytest.importorskip("flax.serialization")
    tx = TX[kind]
    saved = trained(tx)
    restored = serialization.from_bytes(tx.init(P), serialization.to_bytes(saved))
    assert jax.tree.structure(restored) == jax.tree.structure(saved)
    assert equal(trained(tx, jax.tree.map(jnp.asarray, restored)), trained(tx, saved))


@by_kind
def test_flax_train_state(kind):
    train_state = pytest.importorskip("flax.training.train_state")
    tx = TX[kind]
    state = train_state.TrainState.create(apply_fn=None, params=P, tx=tx).replace(step=jnp.int32(0))
    step = jax.jit(lambda state: state.apply_gradients(grads=G))
    for _ in range(2):
        state = step(state)
    assert step._cache_size() == 1
    assert forms(state.opt_state) == forms(tx.init(P))


def nnx_ways():
    nnx = pytest.importorskip("flax.nnx")
    return [{"graph": True}, {"graph": False}] if "graph" in inspect.signature(nnx.Optimizer).parameters else [{}]


@by_kind
@pytest.mark.parametrize("number", [0, 1])
def test_nnx_optimizer(kind, number):
    """NNX hands entries back as mappings of their fields. The numbers are those of plain dictionaries."""
    nnx, ways = pytest.importorskip("flax.nnx"), nnx_ways()
    tx, way = TX[kind], ways[number % len(ways)]
    model = nnx.Linear(3, 4, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param, **way)
    params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    state = tx.init(params)

    def loss(model):
        return jnp.sum((model(jnp.ones((2, 3))) - 1) ** 2)

    for _ in range(3):
        grads = nnx.grad(loss)(model)
        updates, state = tx.update(nnx.to_pure_dict(nnx.state(grads, nnx.Param)), state, params)
        params = gx.apply_updates(params, updates)
        optimizer.update(model, grads)
        jax.tree.map(np.testing.assert_array_equal, nnx.to_pure_dict(nnx.state(model, nnx.Param)), params)


@by_kind
def test_nnx_jit(kind):
    nnx = pytest.importorskip("flax.nnx")
    model = nnx.Linear(3, 4, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, TX[kind], wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer):
        loss, grads = nnx.value_and_grad(lambda m: jnp.sum((m(jnp.ones((2, 3))) - 1) ** 2))(model)
        optimizer.update(model, grads)
        return loss

    losses = [float(step(model, optimizer)) for _ in range(20)]
    assert losses[-1] < losses[0]


@by_kind
def test_equinox(kind):
    equinox = pytest.importorskip("equinox")
    tx = TX[kind]
    saved, file = trained(tx), io.BytesIO()
    equinox.tree_serialise_leaves(file, saved)
    file.seek(0)
    restored = equinox.tree_deserialise_leaves(file, tx.init(P))
    assert equal(restored, saved)
    arrays, rest = equinox.partition(saved, equinox.is_array)
    assert equal(equinox.combine(arrays, rest), saved)


@by_kind
def test_pickle(kind):
    tx = TX[kind]
    saved = trained(tx)
    restored = pickle.loads(pickle.dumps(jax.tree.map(np.asarray, saved)))
    assert equal(restored, saved)
    assert equal(trained(pickle.loads(pickle.dumps(tx)), jax.tree.map(jnp.asarray, restored)), trained(tx, saved))
