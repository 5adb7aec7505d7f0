"""Compressed gradients on eight devices, against NumPy: what is sent, what stays, what comes out, and how many bytes it takes."""

import math
import pickle
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from varying import varying

import gradxform as gx
from gradxform.distributed import _wire
from gradxform.testing._value_laws import public_names

N = 8
SHAPES = {"w": (4, 6), "b": (), "v": (3,)}


def mesh(shape=(N,), names=("data",)):
    return jax.make_mesh(shape, names, axis_types=(AxisType.Auto,) * len(names))


def zeros(dtype=jnp.float32):
    return {name: jnp.zeros(shape, dtype) for name, shape in SHAPES.items()}


def dyadic(steps, size=1.0, seed=0):
    """Gradients that are multiples of 1/64, so that their sums are exact: (steps, devices, *shape)."""
    rng = np.random.default_rng(seed)
    return {name: np.round(rng.normal(size=(steps, N, *s)) * size * 64).astype(np.float32) / 64 for name, s in SHAPES.items()}


def run(tx, gradients, params, axis="data", on=None):
    """All updates, and the state after them, of steps on eight devices in one loop inside `shard_map`."""
    specs = gx.per_device_specs(jax.eval_shape(tx.init, params), axis)

    def steps(gradients, params):
        def step(state, g):
            u, state = tx.update(g, state, params)
            return state, u

        mine = jax.tree.map(lambda g: g[:, 0], gradients)
        state, us = jax.lax.scan(step, tx.init(params), mine)
        return us, state

    mapped = jax.shard_map(steps, mesh=on or mesh(), in_specs=(P(None, axis), P()), out_specs=(P(), specs))
    return jax.tree.map(np.asarray, jax.jit(mapped)(gradients, params))


def two_bit(p, t=0.5):
    """MXNet's `quantize_2bit`."""
    return np.where(p >= t, t, np.where(p <= -t, -t, 0.0))


def scaled_sign(p):
    axes = tuple(range(1, p.ndim))
    return np.sign(p) * np.mean(np.abs(p), axis=axes, keepdims=True)


COMPRESSORS = {"two_bit": (gx.two_bit(0.5), two_bit), "scaled_sign": (gx.scaled_sign(), scaled_sign)}


@pytest.mark.parametrize("name", COMPRESSORS)
def test_error_feedback_is_the_algorithm_and_loses_nothing(name):
    compressor, compress = COMPRESSORS[name]
    g = dyadic(5)
    us, state = run(gx.error_feedback(compressor, "data"), g, zeros())
    for leaf in SHAPES:
        residual, sent = np.zeros_like(g[leaf][0], np.float64), np.zeros_like(g[leaf][0], np.float64)
        for k in range(5):
            p = g[leaf][k] + residual
            c = compress(p)
            residual, sent = p - c, sent + c
            np.testing.assert_allclose(us[leaf][k], c.mean(axis=0), rtol=2e-6, atol=1e-7)
        kept = state.inner_state.residual[leaf]
        np.testing.assert_allclose(kept, residual, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(sent + kept, g[leaf].sum(axis=0), rtol=1e-5, atol=1e-6)
        if name == "two_bit":  # whole multiples of the threshold: no rounding at all
            np.testing.assert_array_equal(N * us[leaf].sum(axis=0) + kept.sum(axis=0), g[leaf].sum(axis=(0, 1)))


def test_compressed_mean_has_no_memory():
    g = dyadic(2)
    us, state = run(gx.compressed_mean(gx.two_bit(0.5), "data"), g, zeros())
    assert not jax.tree.leaves(state)
    for leaf in SHAPES:
        np.testing.assert_array_equal(us[leaf], two_bit(g[leaf]).mean(axis=1))


@pytest.mark.parametrize("names", ["data", ("rows", "columns")])
def test_majority_vote(names):
    g = {name: np.sign(np.round(x)) for name, x in dyadic(3).items()}  # many zeros and ties
    on = mesh() if names == "data" else mesh((4, 2), names)
    us, _ = run(gx.majority_vote(names), g, zeros(), axis=names, on=on)
    for leaf in SHAPES:
        votes = g[leaf].sum(axis=1)
        assert (votes == 0).any() or leaf != "w"
        np.testing.assert_array_equal(us[leaf], np.sign(votes))


def test_signum_with_majority_vote_keeps_a_mean_on_each_device():
    g = dyadic(3, seed=1)
    tx = gx.chain(gx.per_device(gx.ema(0.9, debias=False), "data"), gx.majority_vote("data"), gx.scale(-0.1))
    us, (state, *_) = run(tx, g, zeros())
    for leaf in SHAPES:
        ema = np.zeros_like(g[leaf][0], np.float64)
        for k in range(3):
            ema = 0.9 * ema + 0.1 * g[leaf][k]
            np.testing.assert_allclose(us[leaf][k], -0.1 * np.sign(np.sign(ema).sum(axis=0)), rtol=1e-6)
        np.testing.assert_allclose(state.inner_state.ema[leaf], ema, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(state.inner_state.count, [3] * N)


def test_mean_over_then_adam_is_adam_of_the_mean():
    g = dyadic(3)
    us, state = run(gx.chain(gx.mean_over("data"), gx.adam(0.1)), g, zeros())
    alone = gx.adam(0.1)
    expected = alone.init(zeros())
    for k in range(3):
        u, expected = alone.update(jax.tree.map(lambda x, k=k: x[k].mean(axis=0), g), expected, zeros())
        jax.tree.map(lambda a, b, k=k: np.testing.assert_allclose(a[k], b, rtol=1e-5), us, u)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), state[1], expected)


def test_mean_over_takes_the_mean_of_narrow_gradients_in_float32():
    g = {"w": np.ones((1, N, 2), jnp.bfloat16)}
    g["w"][0, 0] = 256  # in bfloat16 256 + 1 is 256
    us, _ = run(gx.mean_over("data"), g, {"w": jnp.zeros(2, jnp.bfloat16)})
    assert us["w"].dtype == jnp.bfloat16
    assert float(us["w"][0, 0]) == float(jnp.bfloat16((256 + 7) / 8))


@pytest.mark.parametrize("tx", [gx.mean_over("data"), gx.error_feedback(gx.scaled_sign(), "data")])
def test_a_training_step_inside_shard_map(tx):
    """Each device has eight examples of its own, and a gradient of its own."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(N * 8, 3)).astype(np.float32)
    y = (x @ np.array([1.0, -2.0, 0.5]) + 3.0).astype(np.float32)
    loss = lambda p, x, y: jnp.mean((x @ p["w"] + p["b"] - y) ** 2)
    tx, params = gx.chain(tx, gx.sgd(0.05)), {"w": jnp.zeros(3), "b": jnp.zeros(())}
    specs = gx.per_device_specs(jax.eval_shape(tx.init, params), "data")
    make = jax.shard_map(tx.init, mesh=mesh(), in_specs=P(), out_specs=specs)

    def step(params, state, x, y):
        g = jax.grad(loss)(varying(params, "data"), x, y)
        u, state = tx.update(g, state, params)
        return gx.apply_updates(params, u), state

    step = jax.jit(jax.shard_map(step, mesh=mesh(), in_specs=(P(), specs, P("data"), P("data")), out_specs=(P(), specs)))
    params = jax.device_put(params, NamedSharding(mesh(), P()))
    state, alone = jax.jit(make)(params), params
    first = loss(params, x, y)
    for _ in range(60):
        params, state = step(params, state, x, y)
        alone = jax.tree.map(lambda p, g: p - 0.05 * g, alone, jax.grad(loss)(alone, x, y))
    assert step._cache_size() == 1
    if jax.tree.leaves(state):
        assert loss(params, x, y) < 0.05 * first
    else:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), params, alone)


def test_in_pmap():
    g = jax.tree.map(lambda x: x[0], dyadic(1))
    for tx in (gx.majority_vote("data"), gx.error_feedback(gx.two_bit(0.5), "data")):
        u = jax.pmap(lambda g, tx=tx: tx.update(g, tx.init(zeros()), zeros())[0], axis_name="data")(g)
        expected = run(tx, jax.tree.map(lambda x: x[None], g), zeros())[0]
        jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, np.broadcast_to(b, a.shape)), u, expected)


def ridge(x):
    """Counterexample 2 of Karimireddy et al. 2019: the sign of its gradient is always along (1, -1)."""
    return 0.5 * jnp.abs(x[0] + x[1]) + jnp.abs(x[0] - x[1])


def descend(tx, x, f, steps=300):
    def step(carry, _):
        x, state = carry
        u, state = tx.update(jax.grad(f)(x), state, x)
        return (gx.apply_updates(x, u), state), None

    return jax.jit(lambda x: jax.lax.scan(step, (x, tx.init(x)), None, steps)[0][0])(x)


def test_plain_signs_do_not_converge_where_error_feedback_does():
    x, rate = jnp.array([1.0, 1.5]), gx.scale(gx.polynomial_schedule(-0.05, -1e-4, 1, 300))
    for stuck in (gx.scale_by_sign(), gx.compressed_mean(gx.scaled_sign()), gx.majority_vote(None)):
        end = descend(gx.chain(stuck, rate), x, ridge)
        assert abs(float(end.sum()) - 2.5) < 1e-3
    for compressor in (gx.scaled_sign(), gx.two_bit(2.0)):
        end = descend(gx.chain(gx.error_feedback(compressor), rate), x, ridge, 600)
        assert float(ridge(end)) < 0.05


def test_a_skewed_vote_goes_the_wrong_way_where_error_feedback_goes_the_right_one():
    """Counterexample 1 of the same: one device in four says 4, the others -1; the mean is 1/4."""
    g = {"x": np.tile(np.array([4.0, -1, -1, -1] * 2, np.float32)[None], (40, 1))}
    params = {"x": jnp.zeros(())}
    assert run(gx.majority_vote("data"), g, params)[0]["x"].sum() == -40
    assert run(gx.mean_over("data"), g, params)[0]["x"].sum() == 40 / 4
    us, state = run(gx.error_feedback(gx.two_bit(4.0), "data"), g, params)
    assert abs(us["x"].sum() - 40 / 4) <= 4.0
    np.testing.assert_array_equal(state.inner_state.residual["x"], 0.0)  # -1 is sent as -4 every fourth time


BYTES = {"f32": 4, "f64": 8, "ui8": 1, "i8": 1, "i16": 2, "i32": 4}


def wire(tx, elements):
    """Bytes per element that each collective hands in, by operation and dtype."""
    params = {"w": jnp.zeros(elements)}
    specs = gx.per_device_specs(jax.eval_shape(tx.init, params), "data")
    update = lambda g, s: tx.update({"w": g["w"][0]}, s, params)
    mapped = jax.shard_map(update, mesh=mesh(), in_specs=(P("data"), specs), out_specs=(P(), specs))
    state = jax.eval_shape(jax.shard_map(tx.init, mesh=mesh(), in_specs=P(), out_specs=specs), params)
    text = jax.jit(mapped).lower({"w": jax.ShapeDtypeStruct((N, elements), jnp.float32)}, state).as_text()
    found = {}
    for op, rest in re.findall(r'"stablehlo\.(all_reduce|all_to_all|all_gather)"(.*?-> tensor)', text, re.DOTALL):
        shape, dtype = re.findall(r": \(tensor<((?:\d+x)*)(\w+)>\)", rest)[-1]
        found[op, dtype] = found.get((op, dtype), 0) + math.prod(map(int, shape.split("x")[:-1])) * BYTES[dtype] / elements
    return found


def test_bytes_on_the_wire():
    """What a device hands in per element; `all_gather` of a part hands it to all, so that counts eight times."""
    d = 4096
    assert wire(gx.mean_over("data"), d) == {("all_reduce", "f32"): 4}
    assert wire(gx.majority_vote("data"), d) == {("all_to_all", "ui8"): 1 / 4, ("all_gather", "ui8"): 1 / 4 / N}
    ef = wire(gx.error_feedback(gx.two_bit(0.5), "data"), d)
    assert ef == {("all_to_all", "ui8"): 1 / 4, ("all_gather", "i8"): 1 / N}
    signs = wire(gx.error_feedback(gx.scaled_sign(), "data"), d)
    assert signs == {("all_to_all", "ui8"): 1 / 4, ("all_gather", "f32"): 4 / N + 4 / d}


@pytest.mark.fast
def test_four_digits_to_a_byte():
    q = np.random.default_rng(0).integers(-1, 2, size=(3, 20)).astype(np.int8)
    packed = _wire.pack(q)
    assert packed.dtype == jnp.uint8
    assert packed.shape == (3, 5)
    np.testing.assert_array_equal(_wire.unpack(packed), q)
    assert [_wire.counting(n) for n in (127, 128, 40000)] == [jnp.int8, jnp.int16, jnp.int32]


def test_complex_parts_are_compressed_separately():
    p = {"z": jnp.array([0.75 - 0.25j, -0.5 + 2j])}
    tx = gx.error_feedback(gx.two_bit(0.5))
    u, state = tx.update(p, tx.init(p))
    np.testing.assert_array_equal(u["z"], np.array([0.5, -0.5 + 0.5j], np.complex64))
    np.testing.assert_array_equal(state.residual["z"], np.array([0.25 - 0.25j, 1.5j], np.complex64))


@pytest.mark.fast
def test_they_are_specifications():
    txs = [gx.error_feedback(gx.two_bit(0.25), "data"), gx.compressed_mean(gx.scaled_sign()), gx.mean_over("data")]
    txs += [gx.per_device(gx.trace(0.9), "data"), gx.majority_vote(("a", "b"))]
    for tx in txs:
        assert eval(repr(tx), public_names()) == tx
        assert pickle.loads(pickle.dumps(tx)) == tx
    assert gx.error_feedback(gx.two_bit(0.25), "data") != gx.error_feedback(gx.two_bit(0.5), "data")
    for make in (gx.error_feedback, lambda x: gx.compressed_mean(x).update(zeros(), ())):
        with pytest.raises(gx.StructureError, match=r"`compressor` must be one such as `two_bit\(0\.5\)`"):
            make({"type": "2bit", "threshold": 0.5})
    for wrong in (0.0, -1.0, "x", float("nan")):
        with pytest.raises(gx.HyperparameterError, match="two_bit: `threshold`"):
            gx.two_bit(wrong)


def test_hyperparameters_are_seen_per_device():
    tx = gx.chain(gx.per_device(gx.trace(0.9), "data"), gx.scale(-0.1))
    state = tx.init(zeros())
    assert gx.get_hyperparams(tx, state) == {"decay": 0.9, "step_size": -0.1}
    new, same = gx.set_hyperparams(tx, state, decay=0.5)
    assert new == gx.chain(gx.per_device(gx.trace(0.5), "data"), gx.scale(-0.1))
    jax.tree.map(np.testing.assert_array_equal, same, state)


EMPTY = {"none": (0, 3), "w": (2, 3), "one": (1,)}
ALL = {
    "mean_over": gx.mean_over("data"),
    "majority_vote": gx.majority_vote("data"),
    "compressed_mean two_bit": gx.compressed_mean(gx.two_bit(0.5), "data"),
    "compressed_mean scaled_sign": gx.compressed_mean(gx.scaled_sign(), "data"),
    "error_feedback two_bit": gx.error_feedback(gx.two_bit(0.5), "data"),
    "error_feedback scaled_sign": gx.error_feedback(gx.scaled_sign(), "data"),
    "per_device": gx.chain(gx.per_device(gx.trace(0.9), "data"), gx.mean_over("data")),
}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
def test_leaves_without_elements(name, dtype):
    rng = np.random.default_rng(0)
    g = {leaf: rng.normal(size=(2, N, *shape)).astype(dtype) for leaf, shape in EMPTY.items()}
    params = {leaf: jnp.zeros(shape, dtype) for leaf, shape in EMPTY.items()}
    us, _ = run(ALL[name], g, params)
    assert us["none"].shape == (2, 0, 3)
    others = lambda tree: {leaf: x for leaf, x in tree.items() if leaf != "none"}
    alone, _ = run(ALL[name], others(g), others(params))
    jax.tree.map(np.testing.assert_array_equal, others(us), alone)


@pytest.mark.parametrize("name", COMPRESSORS)
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
@pytest.mark.parametrize("on", ["devices", "one"])
def test_error_feedback_loses_no_rounding(name, dtype, on):
    """The updates and what is kept are the gradients, also where the mean over the devices is no number of a narrow dtype."""
    compressor = gx.two_bit(0.3) if name == "two_bit" else COMPRESSORS[name][0]
    steps = 40
    rng = np.random.default_rng(3)
    g = {"w": np.asarray(jnp.asarray(rng.normal(size=(steps, N, 5)), jnp.float32).astype(dtype))}
    params = {"w": jnp.zeros(5, dtype)}
    if on == "devices":
        us, state = run(gx.error_feedback(compressor, "data"), g, params)
        mean, kept = np.asarray(g["w"], np.float64).mean(1), np.asarray(state.inner_state.residual["w"], np.float64).mean(0)
    else:
        tx = gx.error_feedback(compressor)

        def step(state, g):
            u, state = tx.update(g, state)
            return state, u

        state, us = jax.jit(lambda g: jax.lax.scan(step, tx.init(params), g))({"w": g["w"][:, 0]})
        mean, kept = np.asarray(g["w"], np.float64)[:, 0], np.asarray(state.residual["w"], np.float64)
    assert us["w"].dtype == dtype
    np.testing.assert_allclose(np.asarray(us["w"], np.float64).sum(0) + kept, mean.sum(0), atol=2e-5)
