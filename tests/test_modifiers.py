"""What composes with any optimizer: cautious updates, hyperball, grafting, Grokfast, the floor of update over weight, policies of decay."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import ORACLES
from test_averages import kinds, restore, save

import gradxform as gx
from gradxform.testing._case import case_for

MODIFIERS = {
    "cautious": gx.cautious,
    "hyperball": lambda tx: gx.hyperball(tx, 0.01),
    "graft, direction": lambda tx: gx.graft(gx.sgd(0.1), tx),
    "graft, magnitude": lambda tx: gx.graft(tx, gx.sgd(0.1, momentum=0.9)),
    "grokfast": lambda tx: gx.chain(gx.grokfast(), tx),
    "floor_by_param_norm": lambda tx: gx.chain(tx, gx.floor_by_param_norm()),
    "cautious decay": lambda tx: gx.chain(tx, gx.add_decayed_weights(-1e-3, policy="cautious")),
    "corrected decay": lambda tx: gx.chain(
        tx, gx.add_decayed_weights(-1e-3, policy="corrected", learning_rate=gx.linear_schedule(0.1, 0.0, 9), peak=0.1)
    ),
}


def together(tx):
    return gx.hyperball(gx.cautious(gx.chain(gx.grokfast(), tx, gx.floor_by_param_norm(0.01))), 0.01)


@pytest.mark.parametrize("name", gx.names())
def test_each_goes_around_every_optimizer(name):
    """The state is a fixed point, of bfloat16 parameters too, and the updates are laid out like the parameters."""
    case = case_for(name)
    for how, make in MODIFIERS.items():
        tx = make(case.make())
        for dtype in filter(case.takes, (jnp.float32, jnp.bfloat16)):
            p, g = case.params(dtype), case.grads(0, dtype)
            state = jax.eval_shape(tx.init, p)
            u, after = jax.eval_shape(lambda g, s, p, tx=tx: tx.update(g, s, p, **case.extra(p, g)), g, state, p)
            assert jax.tree.structure(after) == jax.tree.structure(state), how
            assert kinds(after) == kinds(state), how
            assert [(x.shape, x.dtype) for x in jax.tree.leaves(u)] == [(x.shape, x.dtype) for x in jax.tree.leaves(p)], how


@pytest.mark.parametrize("name", gx.names())
def test_several_go_around_every_optimizer(name):
    """Three updates are compiled once, and restored after two the third is the same bits."""
    case = case_for(name)
    tx, p, grads = together(case.make()), case.params(), [case.grads(i) for i in range(3)]
    step, state = jax.jit(lambda g, s, p, extra: tx.update(g, s, p, **extra)), tx.init(p)
    for g in grads[:2]:
        u, state = step(g, state, p, case.extra(p, g))
        p = gx.apply_updates(p, u)
    restored = jax.tree.map(restore, jax.tree.map(save, state), tx.init(p))
    one, other = (step(grads[2], s, p, case.extra(p, grads[2]))[0] for s in (state, restored))
    jax.tree.map(np.testing.assert_array_equal, one, other)
    assert step._cache_size() == 1
    assert all(np.isfinite(np.asarray(x)).all() for x in jax.tree.leaves(one))


@pytest.mark.fast
@pytest.mark.parametrize("how", ["cautious", "hyperball", "graft, direction"])
def test_store_and_shardings(how):
    """Moments inside are stored, and on a mesh all that is like the parameters lies as they do."""
    tx, params = MODIFIERS[how](gx.adam(0.1)), {"w": jnp.ones((16, 64))}
    name = "direction_state" if how == "graft, direction" else "base_optimizer_state"
    state = getattr(gx.store(tx, "8bit").init(params), name)
    assert sum(x.nbytes for x in jax.tree.leaves(state[0].nu)) < 2 * params["w"].size
    mesh = jax.sharding.AbstractMesh((8,), ("data",))
    place = jax.sharding.NamedSharding(mesh, jax.P("data", None))
    found = gx.state_shardings(tx, {"w": jax.ShapeDtypeStruct((16, 64), jnp.float32, sharding=place)})
    for x, sharding in zip(jax.tree.leaves(jax.eval_shape(tx.init, params)), jax.tree.leaves(found), strict=True):
        assert tuple(sharding.spec)[:1] == (("data",) if x.ndim == 2 else ())


rate = gx.linear_schedule(0.1, 0.02, 3)


@pytest.mark.fast
@pytest.mark.parametrize(
    "arguments",
    [
        {}, {"policy": "coupled"}, {"policy": "cautious"}, {"policy": "independent", "peak": 0.1},
        {"policy": "corrected", "learning_rate": rate, "peak": 0.1}, {"of": "new", "learning_rate": rate},
        {"of": "new", "policy": "cautious", "learning_rate": 3.0}, {"of": "new", "policy": "corrected", "learning_rate": rate, "peak": 0.1},
    ],
    ids=str,
)  # fmt: skip
def test_decay_follows_its_policy(x64, arguments):
    rng = np.random.RandomState(0)
    tx, step = gx.add_decayed_weights(0.2, **arguments), ORACLES["add_decayed_weights"](0.2, **arguments)
    w = rng.randn(3, 4)
    state = tx.init(jnp.asarray(w))
    for _ in range(4):
        g = rng.randn(3, 4)
        u, state = tx.update(jnp.asarray(g), state, jnp.asarray(w))
        np.testing.assert_allclose(u, step([g], [w])[0], rtol=1e-12)
        w = w - 0.1 * u


@pytest.mark.fast
def test_a_policy_is_optaxs_call_with_more_words():
    assert repr(gx.add_decayed_weights(0.1)) == "add_decayed_weights(0.1)"
    assert gx.add_decayed_weights(0.1).init({"w": jnp.ones(2)}) == gx.EmptyState()
    tx = gx.add_decayed_weights(0.1, {"w": True, "b": False}, policy="cautious")
    params = {"w": jnp.ones(2), "b": jnp.ones(2)}
    u, _ = tx.update({"w": jnp.array([1.0, -1.0]), "b": jnp.ones(2)}, tx.init(params), params)
    np.testing.assert_allclose(u["w"], [1.1, -1.0], rtol=1e-6)
    np.testing.assert_array_equal(u["b"], 1.0)


@pytest.mark.fast
@pytest.mark.parametrize("radius", ["initial", "current"])
def test_hyperball_keeps_norms_and_turns_by_the_rate(x64, radius):
    p = {"w": jnp.asarray(np.random.RandomState(0).randn(5, 3)), "zero": jnp.zeros(3), "free": jnp.ones(3), "idle": jnp.ones(2)}
    tx = gx.hyperball(gx.sgd(0.5), 0.02, radius=radius, mask={"free": False, "*": True})
    state, norms = tx.init(p), jax.tree.map(jnp.linalg.norm, p)
    for k in range(20):
        g = jax.tree.map(lambda x, k=k: jnp.asarray(np.random.RandomState(k + 1).randn(*x.shape)), p) | {"idle": jnp.zeros(2)}
        u, state = tx.update(g, state, p)
        q = gx.apply_updates(p, u)
        np.testing.assert_allclose(jnp.linalg.norm(q["w"]), norms["w"], rtol=1e-13)
        across = g["w"] - jnp.sum(g["w"] * p["w"]) / norms["w"] ** 2 * p["w"]
        angle = jnp.arccos(jnp.clip(jnp.sum(q["w"] * p["w"]) / norms["w"] ** 2, -1, 1))
        assert 0.9 * 0.02 * jnp.linalg.norm(across) / jnp.linalg.norm(g["w"]) < angle < 0.02 * 1.03
        np.testing.assert_array_equal(u["free"], -0.5 * g["free"])
        assert not np.any(u["zero"])
        assert not np.any(u["idle"])
        p = q


@pytest.mark.fast
def test_bfloat16_weights_stay_on_their_sphere():
    p = {"w": jnp.asarray(np.random.RandomState(0).randn(64, 64), jnp.bfloat16)}
    tx = gx.hyperball(gx.adam(1.0), 0.01)
    state, norm = tx.init(p), np.linalg.norm(p["w"].astype(jnp.float32))
    step = jax.jit(tx.update)
    for k in range(50):
        u, state = step({"w": jnp.asarray(np.random.RandomState(k).randn(64, 64), jnp.bfloat16)}, state, p)
        p = gx.apply_updates(p, u)
    np.testing.assert_allclose(np.linalg.norm(p["w"].astype(jnp.float32)), norm, rtol=2e-3)


@pytest.mark.fast
def test_cautious_of_a_gradient_step_is_that_step():
    """All of it goes against the gradient; of its opposite nothing does, and of half of it twice as much is left."""
    g, p = {"w": jnp.array([1.0, -2.0, 3.0, -4.0])}, {"w": jnp.ones(4)}
    updated = lambda tx: tx.update(g, tx.init(p), p)[0]["w"]
    np.testing.assert_array_equal(updated(gx.cautious(gx.sgd(0.1))), updated(gx.sgd(0.1)))
    np.testing.assert_array_equal(updated(gx.cautious(gx.sgd(-0.1))), 0)
    np.testing.assert_array_equal(updated(gx.cautious(gx.scale(-1.0))), -g["w"])
    towards = gx.stateless(lambda u, _: jax.tree.map(lambda x: jnp.array([-1.0, -1.0, -1.0, -1.0]), u))
    np.testing.assert_allclose(updated(gx.cautious(towards)), [-2.0, 0.0, -2.0, 0.0])


@pytest.mark.fast
def test_grafted_steps_have_one_size_and_the_other_direction():
    g, p = {"w": jnp.array([3.0, -4.0]), "z": jnp.zeros(2)}, {"w": jnp.ones(2), "z": jnp.ones(2)}
    tx = gx.graft(gx.sgd(0.1), gx.sign_sgd(7.0))
    u, _ = tx.update(g, tx.init(p), p)
    np.testing.assert_allclose(u["w"], 0.5 / 2**0.5 * jnp.array([-1.0, 1.0]), rtol=1e-6)
    np.testing.assert_array_equal(u["z"], 0)


@pytest.mark.fast
def test_the_floor_lifts_small_updates_only():
    p = {"w": jnp.array([3.0, 4.0]), "v": jnp.array([3.0, 4.0]), "z": jnp.ones(2)}
    g = {"w": jnp.array([1e-30, 0.0]), "v": jnp.array([6.0, 8.0]), "z": jnp.zeros(2)}
    u, _ = gx.floor_by_param_norm(0.5).update(g, gx.floor_by_param_norm(0.5).init(p), p)
    np.testing.assert_allclose(u["w"], [2.5, 0.0], rtol=1e-6)
    np.testing.assert_array_equal(u["v"], g["v"])
    np.testing.assert_array_equal(u["z"], 0)
