"""Measurements: `snapshot`, `monitor`, `measure_with_ema`. The layout of their state is the same from `init` on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import optax

import gradxform as gx
from gradxform.testing import examine
from gradxform.testing._value_laws import public_names

PARAMS = {"w": jnp.asarray([[0.5, -1.0, 2.0], [1.5, 0.0, -0.5]]), "b": jnp.zeros(2)}
GRADS = jax.tree.map(lambda p: 0.5 * p + 1, PARAMS)
is_large = lambda o: lambda u: o.tree.norm(u) > 3.0


def make(o):
    return o.chain(
        o.sgd(0.5, 0.9),
        o.monitor(
            {
                "norm": o.tree.norm,
                "large": o.measure_with_ema(is_large(o), 0.9),
                "mean": o.measure_with_ema(o.tree.norm, 0.8, False),
            }
        ),
        o.snapshot("all", lambda u: u),
        o.scale(0.1),
    )


def layout(state):
    return jax.tree.structure(state), [(jnp.shape(x), jnp.result_type(x), x.weak_type) for x in jax.tree.leaves(state)]


def plain(state):
    return [np.asarray(x) for x in jax.tree.leaves(state)]


def run(tx, state, n, dtype=jnp.float32):
    grads = jax.tree.map(lambda g: g.astype(dtype), GRADS)
    updates = None
    for _ in range(n):
        updates, state = tx.update(grads, state, PARAMS)
    return updates, state


def test_the_state_is_a_fixed_point_and_can_be_scanned():
    """Optax's `monitor` begins with an empty dictionary, which `lax.scan` refuses."""
    tx = make(gx)
    state = tx.init(PARAMS)
    step = lambda s, _: tx.update(GRADS, s, PARAMS)[::-1]
    after, _ = jax.lax.scan(step, state, None, length=3)
    assert layout(after) == layout(state)
    jax.tree.map(np.testing.assert_allclose, after, run(tx, state, 3)[1])
    assert layout(run(tx, state, 1, jnp.bfloat16)[1]) == layout(state)


def test_states_go_both_ways():
    ours, theirs = make(gx), make(optax)
    expected = run(theirs, theirs.init(PARAMS), 4)[1]
    half = run(theirs, theirs.init(PARAMS), 2)[1]
    assert str(jax.tree.structure(run(ours, ours.init(PARAMS), 2)[1])) == str(jax.tree.structure(half))
    for start in (run(ours, half, 2)[1], run(ours, ours.init(PARAMS), 4)[1], run(ours, run(ours, theirs.init(PARAMS), 1)[1], 3)[1]):
        for a, b in zip(plain(start), plain(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5)
    ours_half = jax.tree.unflatten(jax.tree.structure(half), jax.tree.leaves(run(ours, ours.init(PARAMS), 2)[1]))
    for a, b in zip(plain(run(theirs, ours_half, 2)[1]), plain(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_reading_and_passing_on():
    tx = make(gx)
    updates, state = run(tx, tx.init(PARAMS), 2)
    jax.tree.map(lambda u, kept: np.testing.assert_allclose(u, 0.1 * kept, rtol=1e-6), updates, gx.tree.get(state, "all"))
    np.testing.assert_allclose(gx.tree.get(state, "norm"), 10 * gx.tree.norm(updates), rtol=1e-6)
    np.testing.assert_allclose(gx.tree.get(state, "large"), 0.1 / 0.19, rtol=1e-5)


def test_a_measure_may_use_extra_arguments():
    """Its shape is not known before the first update."""

    def update(g, s, p=None, *, value, **extra):
        return value * jnp.ones(2), s + 1

    tx = gx.chain(gx.monitor({"v": gx.GradientTransformationExtraArgs(lambda p: jnp.zeros(()), update), "n": gx.tree.norm}))
    state = tx.init(PARAMS)
    assert set(state[0].measurements) == {"n"}
    _, state = jax.jit(tx.update)(GRADS, state, PARAMS, value=3.0, unknown=0)
    np.testing.assert_array_equal(gx.tree.get(state, "v"), [3.0, 3.0])
    assert layout(jax.jit(tx.update)(GRADS, state, PARAMS, value=3.0)[1]) == layout(state)


def test_holes_structs_donation_and_map_params():
    params = {**PARAMS, "n": jnp.arange(2), "none": None}
    grads = {**GRADS, "n": np.zeros(2, jax.dtypes.float0), "none": None}
    tx = make(gx)
    assert layout(tx.init(jax.eval_shape(lambda: PARAMS))) == layout(tx.init(PARAMS))
    state = tx.init(params)
    _, after = jax.jit(tx.update, donate_argnums=1)(grads, state, params)
    assert gx.tree.get(after, "all")["n"] is None
    shifted = gx.tree_map_params(tx, lambda x: x + 1, tx.init(PARAMS))
    assert (gx.tree.get(shifted, "all")["w"] == 1).all()
    assert gx.tree.get(shifted, "norm") == 0


def test_mistakes():
    tx = gx.snapshot("first", lambda u: u["w"])
    with pytest.raises(gx.StructureError, match=r"snapshot: the measurement 'first' has shape \(3,\), but it had \(2, 3\) before"):
        tx.update({"w": jnp.ones(3)}, tx.init(PARAMS))
    with pytest.raises(gx.StructureError, match="monitor, measure 'x': expected a GradientTransformation"):
        gx.monitor({"x": 3})
    with pytest.raises(gx.HyperparameterError, match="decay"):
        gx.measure_with_ema(gx.tree.norm, 1.5)


def test_laws_of_monitor():
    tx = gx.monitor({"norm": gx.tree.norm, "ema": gx.measure_with_ema(gx.tree.norm, 0.9)})
    report = examine(tx, laws=[2, 3, 6, 9, 12, 13, 16])
    assert report.ok, report
    assert eval(repr(tx), public_names()) == tx
