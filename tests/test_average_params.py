"""`average_params`: the mean by its weights, PyTorch's and Keras's averages, wherever it stands and however narrow the parameters are."""

import functools
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checkpoints import through_a_checkpoint
from golden.problem import AVERAGES, KEPT, STEPS, problem, shapes_for
from oracles._average_params import average

import gradxform as gx
from gradxform import dialects

HERE = pathlib.Path(__file__).parent / "golden"
A, B = np.diag([1.0, 3.0, 10.0]) + 0.1, np.asarray([1.0, -2.0, 0.5])
START = {"w": np.asarray([0.3, -1.0, 2.0]), "b": np.asarray(0.7)}


def gradients(p, k):
    """Of a quadratic, with noise, in float64."""
    rng = np.random.default_rng(k)
    return {"w": A @ p["w"] - B + rng.normal(size=3), "b": 2 * p["b"] + rng.normal()}


def walk(tx, steps, start=START, dtype=None, state=None, first=0):
    """Yields params, state and what to evaluate with, before the first update and after each."""
    params = {k: jnp.asarray(v, dtype) for k, v in start.items()}
    state = tx.init(params) if state is None else state
    step = jax.jit(tx.update)
    yield params, state, gx.eval_params(tx, state, params)
    for k in range(first, first + steps):
        g = gradients({n: np.asarray(p, np.float64) for n, p in params.items()}, k)
        u, state = step({n: jnp.asarray(x, params[n].dtype) for n, x in g.items()}, state, params)
        params = gx.apply_updates(params, u)
        yield params, state, gx.eval_params(tx, state, params)


def close(found, expected, rtol=1e-9):
    for name, x in found.items():
        np.testing.assert_allclose(np.asarray(x, np.float64), expected[name], rtol=rtol, atol=rtol)


def falling(k):
    """A decay that depends on the number of updates behind the parameters."""
    return 0.9 - 0.02 * (k.astype(float) if hasattr(k, "astype") else k)


MODES = {
    "debiased": {"decay": 0.9},
    "not debiased": {"decay": 0.9, "debias": False},
    "warm-up": {"decay": 0.6, "warmup": True},
    "warm-up, not debiased": {"decay": 0.6, "warmup": True, "debias": False},
    "scheduled": {"decay": falling},
    "scheduled, not debiased, of every second": {"decay": falling, "debias": False, "every": 2},
    "mean": {"decay": None},
    "tail": {"decay": None, "start": 5},
    "tail of every third": {"decay": None, "start": 4, "every": 3, "debias": False},
    "exponential tail": {"decay": 0.7, "start": 6, "every": 2},
    "nothing yet": {"decay": 0.9, "start": 100},
    "1 - decay is small": {"decay": 0.9999},
}


@pytest.mark.fast
@pytest.mark.parametrize("mode", MODES)
def test_the_average_is_the_sum_of_weighted_parameters(x64, mode):
    path = []
    for params, _, found in walk(gx.average_params(gx.adam(0.1), **MODES[mode]), 16):
        path.append({n: np.asarray(p) for n, p in params.items()})
        close(found, {n: average([p[n] for p in path], **MODES[mode]) for n in START})


@pytest.mark.fast
@pytest.mark.parametrize("how", [{}, {"debias": False}, {"warmup": True}], ids=str)
def test_each_coordinate_has_its_own_decay(x64, how):
    decays, path = np.asarray([0.5, 0.9, 0.99]), []
    tx = gx.masked(gx.average_params(gx.sgd(0.05), jnp.asarray(decays), **how), {"w": True, "b": False})
    for params, state, found in walk(tx, 12):
        path.append(np.asarray(params["w"]))
        for i, decay in enumerate(decays):
            np.testing.assert_allclose(found["w"][i], average([w[i] for w in path], decay, **how), rtol=1e-9)
        assert state.inner_state.weight_sum.shape == (3,)


@functools.cache
def golden():
    with np.load(HERE / "averages.npz") as file:
        return dict(file)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("system", "setting", "arguments"), AVERAGES, ids=["-".join(s[:2]) for s in AVERAGES])
def test_it_is_the_average_of_pytorch_and_of_keras(system, setting, arguments, dtype):
    """Golden values of `golden/make_averages.py`; before its first average PyTorch's is the first parameters, ours the present ones."""
    with jax.enable_x64(dtype == "float64"):
        tx = gx.average_params(getattr(dialects, system).adam(0.02), **arguments)
        first, gradient = problem(dtype, shapes_for("adam"))
        params = {k: jnp.asarray(v) for k, v in first.items()}
        state, step, kept = tx.init(params), jax.jit(tx.update), []
        for i in range(STEPS):
            u, state = step(gradient(i, params), state, params)
            params = gx.apply_updates(params, u)
            kept += [gx.eval_params(tx, state, params)] if i in KEPT else []
        averaged = [i for i, k in enumerate(KEPT) if k + 1 >= arguments.get("start", 0) + arguments.get("every", 1)]
        assert len(averaged) >= 2
        for leaf in params:
            theirs = golden()[f"{system}/{setting}/{dtype}/{leaf}"]
            for i in averaged:
                tolerance = (2e-6 if dtype == "float32" else 1e-12) * max(1, np.max(np.abs(theirs)))
                np.testing.assert_allclose(kept[i][leaf], theirs[i], rtol=0, atol=tolerance)


def moved_by_hand(tx):
    """Each update is doubled by what comes behind."""
    return gx.chain(tx, gx.scale(2.0))


AROUND = {
    "alone": lambda tx: tx,
    "in a chain": lambda tx: gx.chain(gx.clip(10.0), tx),
    "before what changes the updates": moved_by_hand,
    "before what is not linear": lambda tx: gx.chain(tx, gx.clip(0.05)),
    "named": lambda tx: gx.named_chain(("clip", gx.clip(10.0)), ("train", tx)),
    "masked": lambda tx: gx.masked(tx, {"w": True, "b": True}),
    "partition": lambda tx: gx.partition({"a": tx, "b": tx}, {"w": "a", "b": "b"}),
    "flatten": lambda tx: gx.flatten(tx),
    "if finite": lambda tx: gx.apply_if_finite(tx, 2),
    "injected": lambda tx: gx.chain(gx.inject_hyperparams(gx.clip)(10.0), tx),
    "split": lambda tx: gx.split_real_and_imaginary(tx),
    "mechanize": lambda tx: gx.chain(gx.mechanize(gx.sgd(1.0), s_init=0.1), tx),
}


@pytest.mark.parametrize("around", AROUND)
def test_it_averages_the_parameters_that_training_went_through(x64, around):
    tx, path = AROUND[around](gx.average_params(gx.sgd(0.05), 0.8)), []
    for params, _, found in walk(tx, 12):
        path.append({n: np.asarray(p) for n, p in params.items()})
        close(found, {n: average([p[n] for p in path], 0.8) for n in START})


@pytest.mark.parametrize("kind", ["masked", "partition", "freeze"])
def test_leaves_that_are_left_out_are_evaluated_as_they_are(x64, kind):
    inside = gx.average_params(gx.sgd(0.05), 0.8)
    tx = {
        "masked": gx.chain(gx.masked(inside, {"w": True, "b": False}), gx.masked(gx.sgd(0.1), {"w": False, "b": True})),
        "partition": gx.partition({"average": inside, "plain": gx.sgd(0.1)}, {"w": "average", "b": "plain"}),
        "freeze": gx.average_params(gx.chain(gx.sgd(0.05), gx.freeze({"w": False, "b": True})), 0.8),
    }[kind]
    path = []
    for params, _, found in walk(tx, 12):
        path.append(np.asarray(params["w"]))
        close(found, {"w": average(path, 0.8), "b": np.asarray(params["b"])}, 1e-12 if kind != "freeze" else 1e-9)
    state = tx.init({k: jnp.asarray(v) for k, v in START.items()})
    is_ours = lambda x: isinstance(x, gx.AverageParamsState)
    averages = [s.average for s in jax.tree.leaves(state, is_leaf=is_ours) if is_ours(s)]
    assert len(averages) == 1
    assert (len(jax.tree.leaves(averages[0])) == 1) == (kind != "freeze")


@pytest.mark.parametrize("every", [1, 3])
def test_under_accumulation_it_averages_once_per_update(x64, every):
    inside, path = gx.average_params(gx.sgd(0.05), 0.8), []
    tx = gx.accumulate(inside, every)
    for i, (params, _, found) in enumerate(walk(tx, 12 * every)):
        path += [np.asarray(params["w"])] if i % every == 0 else []
        close({"w": found["w"]}, {"w": average(path, 0.8)})


def test_what_it_does_within_a_round_of_sam(x64):
    """Around the descent alone, the points up the slope are not averaged."""
    tx, path = gx.sam(gx.average_params(gx.sgd(0.05), 0.8), gx.sgd(0.01)), []
    for i, (params, state, found) in enumerate(walk(tx, 24)):
        if i % 2 == 0:
            path.append(np.asarray(params["w"]))
            close({"w": found["w"]}, {"w": average(path, 0.8)})
        assert int(state.opt_state.count) == i // 2


def test_before_the_first_average_it_evaluates_as_the_optimizer_does(x64):
    inside = gx.sgd(0.05, 0.9, nesterov=True)
    tx = gx.average_params(inside, 0.8, start=3)
    seen = list(walk(tx, 4))
    for params, state, found in seen[:4]:
        expected = gx.eval_params(inside, state.base_optimizer_state, params)
        close(found, {n: np.asarray(x) for n, x in expected.items()})
    assert np.max(np.abs(seen[3][2]["w"] - seen[3][0]["w"])) > 1e-3
    close(seen[4][2], {n: np.asarray(x) for n, x in seen[4][0].items()})


@pytest.mark.fast
def test_of_bfloat16_parameters_it_does_not_stall():
    """A thousandth of the way is less than half a unit in the last place of bfloat16, by which PyTorch's average stands still."""
    tx = gx.average_params(gx.identity(), 0.999, debias=False)
    params = {"w": jnp.zeros(4, jnp.bfloat16)}
    state, step = tx.init(params), jax.jit(tx.update)
    _, state = step({"w": jnp.ones(4, jnp.bfloat16)}, state, params)
    params = {"w": jnp.ones(4, jnp.bfloat16)}
    _, state = step({"w": jnp.zeros(4, jnp.bfloat16)}, state, params)  # the first in the average is 1
    params = {"w": jnp.full(4, 2, jnp.bfloat16)}
    for _ in range(1000):
        _, state = step({"w": jnp.zeros(4, jnp.bfloat16)}, state, params)
    assert state.average["w"].dtype == jnp.float32
    np.testing.assert_allclose(state.average["w"], 2 - 0.999**1000, rtol=1e-5)
    found = gx.eval_params(tx, state, params)["w"]
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(found.astype(jnp.float32), 2 - 0.999**1001, rtol=2**-8)


def test_bfloat16_parameters_are_averaged_as_they_are_stored():
    path = []
    for params, _, found in walk(gx.average_params(gx.adam(0.05), 0.8), 12, dtype=jnp.bfloat16):
        path.append({n: np.asarray(p, np.float64) for n, p in params.items()})
        close(found, {n: average([p[n] for p in path], 0.8) for n in START}, rtol=2**-8)


def test_of_master_weights_it_averages_the_wide_copy():
    tx, path = gx.master_weights(gx.average_params(gx.sgd(0.05), 0.8)), []
    for _, state, found in walk(tx, 12, dtype=jnp.bfloat16):
        path.append({n: np.asarray(x, np.float64) for n, x in state.master.items()})
        expected = {n: average([p[n] for p in path], 0.8) for n in START}
        assert all(x.dtype == jnp.bfloat16 for x in found.values())
        close(found, expected, rtol=2**-8)
    inner = gx.eval_params(gx.average_params(gx.sgd(0.05), 0.8), state.inner_state, state.master)
    close(inner, expected, rtol=1e-6)


@pytest.mark.fast
def test_complex_whole_and_absent_leaves():
    params = {"c": jnp.asarray([1 + 2j, 3 - 1j], jnp.complex64), "n": jnp.arange(3), "none": None, "h": jnp.ones(2, jnp.float16)}
    tx = gx.average_params(gx.sgd(0.5), 0.5)
    state, path = tx.init(params), []
    for k in range(3):
        g = {"c": params["c"] * (0.1 + 0.1j * k), "n": None, "none": None, "h": params["h"]}
        u, state = tx.update(g, state, params)
        params = gx.apply_updates(params, u)
        path.append(np.asarray(params["c"]))
    found = gx.eval_params(tx, state, params)
    np.testing.assert_allclose(found["c"], average([path[0], *path], 0.5), rtol=1e-6)
    assert found["none"] is None
    assert found["h"].dtype == jnp.float16
    np.testing.assert_array_equal(found["n"], params["n"])


@pytest.mark.fast
def test_one_compilation_and_none_for_another_decay(compiled):
    params = {"w": jnp.ones(3)}
    tx = gx.average_params(gx.adam(0.1), 0.9)
    step, look = jax.jit(tx.update), jax.jit(lambda s, p: gx.eval_params(tx, s, p))
    state = tx.init(params)
    for _ in range(3):
        u, state = step(params, state, params)
        look(state, params)
    assert (step._cache_size(), look._cache_size()) == (1, 1)
    np.testing.assert_allclose(look(state, params)["w"], gx.eval_params(tx, state, params)["w"], rtol=1e-6)
    u, _ = tx.update(params, tx.init(params), params)
    with compiled() as names:
        other = gx.average_params(gx.adam(0.1), 0.95)
        u, _ = other.update(params, other.init(params), params)
    assert not names
    assert jnp.isfinite(u["w"]).all()


def test_numbers_that_are_not_finite_count_only_where_they_are_averaged(x64):
    tx = gx.average_params(gx.sgd(0.05), 0.8, start=2)
    params = {"w": jnp.ones(3)}
    broken = {"w": jnp.full(3, jnp.nan)}
    _, state = tx.update(params, tx.init(params), broken)
    _, state = tx.update(params, state, params)
    _, state = tx.update(params, state, params)
    assert jnp.isfinite(gx.eval_params(tx, state, params)["w"]).all()


def test_an_average_begins_in_the_middle_of_a_run(x64):
    """`transfer_state` takes the optimizer's state over; the average, with its own clock, begins there."""
    plain, tx = gx.adam(0.05), gx.average_params(gx.adam(0.05), 0.8)
    *_, (params, state, _) = walk(plain, 7)
    moved = gx.transfer_state(plain, state, tx, params)
    assert {"adam.mu", "adam.nu"} <= {name.split("average_params.")[-1] for name in moved.carried}
    start = {n: np.asarray(p) for n, p in params.items()}
    after, path = list(walk(tx, 12, start, state=moved.state, first=7)), []
    for params, _, found in after:
        path.append({n: np.asarray(p) for n, p in params.items()})
        close(found, {n: average([p[n] for p in path], 0.8) for n in START})
    (straight, _, _), (params, state, _) = list(walk(plain, 19))[-1], after[-1]
    close(params, {n: np.asarray(x) for n, x in straight.items()}, 1e-12)
    assert (int(state.count), int(state.base_optimizer_state[0].count)) == (12, 19)


def test_a_checkpoint_goes_on(tmp_path):
    """In the middle: the same bits after it, of the parameters and of the average."""
    tx = gx.average_params(gx.adam(0.05), 0.8, start=2, warmup=True)
    *_, (params, state, _) = walk(tx, 6)
    restored, state = through_a_checkpoint(tx, params, state, tmp_path)
    *_, (_, _, straight) = walk(tx, 12)
    *_, (_, _, found) = walk(tx, 6, restored, state=state, first=6)
    for n in START:
        np.testing.assert_array_equal(found[n], straight[n])


@pytest.mark.fast
def test_store_leaves_the_average_and_keeps_it_narrow_if_asked():
    """A coarse average would be evaluated coarse. By name it is stored, unbiased, so that it does not stand still."""
    params = {"w": jnp.ones((64, 64))}
    tx = gx.average_params(gx.adam(0.1), 0.99)
    stored = gx.store(tx, "8bit").init(params)
    assert stored.average["w"].dtype == jnp.float32
    assert stored.base_optimizer_state[0].mu["w"].dtype == jnp.bfloat16 or hasattr(stored.base_optimizer_state[0].mu["w"], "decode")
    tx = gx.store(gx.average_params(gx.identity(), 0.999, debias=False), {"average": gx.precision.Bfloat16})
    state, step = tx.init(params), jax.jit(tx.update)
    zero = {"w": jnp.zeros((64, 64))}
    for _ in range(2):
        _, state = step(zero, state, {"w": jnp.full((64, 64), 1.0)})
    for _ in range(300):
        _, state = step(zero, state, {"w": jnp.full((64, 64), 2.0)})
    found = gx.eval_params(tx, state, {"w": jnp.full((64, 64), 2.0)})["w"]
    np.testing.assert_allclose(jnp.mean(found), 2 - 0.999**301, rtol=2e-3)
