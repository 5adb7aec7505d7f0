"""`MultiSteps` and its skip functions: Optax's numbers, without its NaN, its wasted inner updates and its lost extra arguments."""

import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import optax
from trees import assert_close, is_zero

import gradxform as gx
from gradxform.testing import examine
from gradxform.testing._value_laws import public_names

PARAMS = {"w": jnp.asarray([[0.5, -1.0, 2.0], [1.5, 0.0, -0.5]]), "b": jnp.zeros(2)}


def gradients(n, dtype=jnp.float32, seed=0):
    rng = np.random.default_rng(seed)
    return [jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), dtype), PARAMS) for _ in range(n)]


def run(tx, grads, params=PARAMS, **extra):
    state, updates, update = tx.init(params), [], jax.jit(tx.update)
    for g in grads:
        u, state = update(g, state, params, **extra)
        updates.append(u)
    return updates, state


@gx.elementwise(needs=("value",))
def scale_by_value(g, s, p, c):
    return g * c.value, s


SKIP_LARGE = functools.partial(gx.skip_large_updates, max_squared_norm=10.0)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {}),
        ({"use_grad_mean": False}, {"use_grad_mean": False}),
        ({"should_skip_update_fn": gx.skip_not_finite}, {"should_skip_update_fn": optax.skip_not_finite}),
        (
            {"should_skip_update_fn": SKIP_LARGE},
            {"should_skip_update_fn": functools.partial(optax.skip_large_updates, max_squared_norm=10.0)},
        ),
    ],
    ids=["mean", "sum", "not finite", "large"],
)
def test_agrees_with_optax(ours, theirs):
    grads = gradients(6)
    if "should_skip_update_fn" in ours:
        bad = np.nan if ours["should_skip_update_fn"] is gx.skip_not_finite else 100.0
        grads[1] = jax.tree.map(lambda g: g.at[0].set(bad), grads[1])
    got, state = run(gx.MultiSteps(gx.adam(0.1), 2, **ours), grads)
    expected, after = run(optax.MultiSteps(optax.adam(0.1), 2, **theirs), grads)
    assert_close(got, expected)
    assert_close(dict(state.skip_state), dict(after.skip_state))
    assert [is_zero(u) for u in got] == [is_zero(u) for u in expected]
    assert (state.mini_step, state.gradient_step) == (after.mini_step, after.gradient_step)


def test_no_nan_of_a_discarded_update():
    """Optax multiplies the discarded update by 0, and 0 * NaN is NaN. (optax MultiSteps, a partial mean)"""
    log = gx.stateless(lambda g, p: jax.tree.map(jnp.log, g))
    filled = lambda x: jax.tree.map(lambda p: jnp.full_like(p, x), PARAMS)
    updates, _ = run(gx.MultiSteps(log, 2), [filled(-1.0), filled(3.0)])
    assert is_zero(updates)


def test_the_inner_update_is_executed_once_in_k():  # optax #472, #320: time and memory of the inner update in every step
    calls = []

    def update(g, s, p=None, **extra):
        jax.debug.callback(lambda: calls.append(1))
        return g, s

    run(gx.MultiSteps(gx.GradientTransformationExtraArgs(lambda p: (), update), 4), gradients(8))
    jax.effects_barrier()
    assert len(calls) == 2


def test_the_result_is_that_of_the_large_batch():  # optax #1567: results differ from the large batch
    grads = gradients(4)
    mean = jax.tree.map(lambda *gs: jnp.mean(jnp.stack(gs), 0), *grads)
    updates, _ = run(gx.MultiSteps(gx.adamw(0.1), 4), grads)
    assert_close(updates[-1], run(gx.adamw(0.1), [mean])[0][0])


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("opt", [gx.adam(0.1), optax.adam(0.1)], ids=["ours", "theirs"])
def test_dtypes_stay_in_a_scan(dtype, opt):  # optax #1038, #1039, #1122
    params = jax.tree.map(lambda p: p.astype(jnp.bfloat16), PARAMS)
    tx = gx.MultiSteps(opt, 2, should_skip_update_fn=lambda g, k, p: (False, jnp.where(k > 1, 1.0, 0.0)))
    gs = jax.tree.map(lambda *xs: jnp.stack(xs), *gradients(4, dtype))
    state, us = jax.lax.scan(lambda s, g: tx.update(g, s, params)[::-1], tx.init(params), gs)
    assert {x.dtype for x in jax.tree.leaves(state.acc_grads)} == {jnp.dtype(jnp.float32)}
    if type(opt) is gx.GradientTransformationExtraArgs:
        assert {x.dtype for x in jax.tree.leaves(us)} == {jnp.dtype(dtype)}
    assert state.gradient_step == 2


def test_states_of_flags_and_keys():  # optax #828: bool states; #145: params are passed
    tx = gx.MultiSteps(gx.chain(gx.zero_nans(), gx.add_noise(0.1, 0.5, 0), gx.add_decayed_weights(0.1)), 2)
    _, state = run(tx, gradients(4))
    assert state.inner_opt_state[0].found_nan["w"].dtype == bool


def test_extra_arguments_go_through_chains():
    """Optax's `chain(MultiSteps(...).gradient_transformation())` drops them."""
    one = jax.tree.map(jnp.ones_like, PARAMS)
    for tx in (
        gx.chain(gx.MultiSteps(scale_by_value(), 2), gx.scale(-1.0)),
        gx.chain(gx.MultiSteps(gx.chain(scale_by_value()), 2).gradient_transformation(), gx.scale(-1.0)),
        optax.chain(gx.MultiSteps(scale_by_value(), 2).gradient_transformation(), optax.scale(-1.0)),
        gx.masked(gx.MultiSteps(scale_by_value(), 2), True),
    ):
        updates, _ = run(tx, [one, one], value=3.0, unknown=1)
        assert abs(float(updates[1]["b"][0])) == 3.0


def test_functions_among_the_extra_arguments():  # optax #590, #853
    def update(g, s, p=None, *, value_fn, **extra):
        return jax.tree.map(lambda x: x * value_fn(p), g), s

    tx = gx.MultiSteps(gx.GradientTransformationExtraArgs(lambda p: (), update), 1)
    step = jax.jit(lambda g, s: tx.update(g, s, PARAMS, value_fn=lambda p: 4.0))
    u, _ = step(PARAMS, tx.init(PARAMS))
    assert_close(u, jax.tree.map(lambda p: 4 * p, PARAMS))


def test_a_skipped_gradient_does_not_count():
    good, bad = gradients(2)
    bad = jax.tree.map(lambda g: g.at[0].set(jnp.inf), bad)
    tx = gx.MultiSteps(gx.scale(1.0), 2, should_skip_update_fn=gx.skip_not_finite)
    updates, state = run(tx, [good, bad, good])
    assert_close(updates[2], good)
    assert (state.mini_step, state.gradient_step) == (0, 1)
    assert state.skip_state == {"should_skip": False, "num_not_finite": 0}


def test_skip_large_updates_in_narrow_and_complex_dtypes():
    """A float16 sum of squares overflows at 65504, that of complex elements is complex in Optax."""
    skip, told = gx.skip_large_updates({"a": jnp.full(8, 200.0, jnp.float16), "n": None}, 0, None, 1e6)
    assert not skip
    assert told["norm_squared"] == 8 * 200.0**2
    _, told = gx.skip_large_updates([jnp.asarray([3 + 4j])], 0, None, 1.0)
    assert told["norm_squared"] == 25.0


@pytest.mark.parametrize(("asked", "kept"), [(jnp.bfloat16, jnp.bfloat16), (None, jnp.float32), (jnp.float32, jnp.float32)])
def test_accumulator_dtype(asked, kept):
    params = {"h": jnp.zeros(2, jnp.bfloat16), "c": jnp.zeros(2, jnp.complex64)}
    state = gx.MultiSteps(gx.sgd(0.1), 2, accumulator_dtype=asked).init(params)
    assert state.acc_grads["h"].dtype == kept
    assert state.acc_grads["c"].dtype == jnp.complex64


def test_it_is_a_value():
    make = lambda: gx.MultiSteps(gx.adam(0.1), 3, should_skip_update_fn=gx.skip_not_finite, accumulator_dtype=jnp.bfloat16)
    tx = make()
    assert repr(gx.MultiSteps(gx.scale(-1.0), 3)) == "MultiSteps(scale(-1.0), 3)"
    assert tx == make()
    assert hash(tx) == hash(make())
    assert pickle.loads(pickle.dumps(tx)) == tx
    assert eval(repr(tx), public_names()) == tx
    assert tx.inner_opt == gx.adam(0.1)


def test_bad_arguments():
    with pytest.raises(gx.HyperparameterError, match="MultiSteps: `every_k_schedule` must be a whole number"):
        gx.MultiSteps(gx.adam(0.1), 0)
    tx = gx.MultiSteps(gx.adam(0.1), 2, should_skip_update_fn=lambda g, k, p: (jnp.zeros(3), ()))
    with pytest.raises(gx.StructureError, match=r"must return a boolean scalar first, but .* dtype float32 and shape \(3,\)"):
        tx.update(PARAMS, tx.init(PARAMS), PARAMS)


def test_laws():
    tx = gx.MultiSteps(gx.adam(0.1), 2, should_skip_update_fn=gx.skip_not_finite).gradient_transformation()
    report = examine(tx, laws=[2, 6, 12])
    assert report.ok, report
