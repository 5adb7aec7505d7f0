"""The parameters to evaluate with: Nesterov's own sequence behind the look-ahead point that is stored."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import optax

import gradxform as gx

A, B = np.diag([1.0, 3.0, 10.0]) + 0.1, np.asarray([1.0, -2.0, 0.5])
START = np.asarray([0.3, -1.0, 2.0])


def grad(w):
    return A @ w - B


def nag(steps, rates, decay):
    """v' = decay v - a grad(w + decay v), w' = w + v', in NumPy's float64. Yields w and the look-ahead point w + decay v."""
    w, v = START.copy(), np.zeros(3)
    for a in rates[:steps]:
        v = decay * v - a * grad(w + decay * v)
        w = w + v
        yield w, w + decay * v


def train(tx, steps=30, get=lambda p: p, put=lambda x: x, update=None):
    """Yields (eval_params, params, state) after each step."""
    params = put(jnp.asarray(START))
    state, update = tx.init(params), update or jax.jit(tx.update)
    for _ in range(steps):
        grads = jax.tree.map(lambda x: jnp.asarray(grad(np.asarray(x)), x.dtype), params)
        u, state = update(grads, state, params)
        params = gx.apply_updates(params, u)
        yield gx.eval_params(tx, state, params), params, state


CONSTANT = {
    "sgd": gx.sgd(0.05, 0.9, nesterov=True),
    "the rate after": gx.chain(gx.trace(0.9, nesterov=True), gx.scale(-0.05)),
    "the rate before": gx.chain(gx.scale(-0.05), gx.trace(0.9, nesterov=True)),
    "nesterov": gx.chain(gx.nesterov(0.9), gx.scale_by_learning_rate(0.05)),
    "nesterov, the rate before": gx.chain(gx.scale_by_learning_rate(0.05), gx.nesterov(0.9)),
    "nested chains": gx.chain(
        gx.chain(gx.scale(0.5), gx.chain(gx.nesterov(0.9), gx.scale(0.2))), gx.chain(gx.scale(-0.5), gx.chain())
    ),
    "named chain": gx.named_chain(("m", gx.nesterov(0.9)), ("rate", gx.scale(-0.05))),
    "a scheduled constant": gx.sgd(gx.constant_schedule(0.05), gx.constant_schedule(0.9), nesterov=True),
    "identity and set to zero of nothing": gx.chain(gx.sgd(0.05, 0.9, nesterov=True), gx.identity(), gx.freeze(False)),
    "masked": gx.chain(gx.masked(gx.nesterov(0.9), True), gx.masked(gx.scale(-0.05), True)),
    "apply_if_finite": gx.apply_if_finite(gx.sgd(0.05, 0.9, nesterov=True), 3),
    "accumulate": gx.accumulate(gx.sgd(0.05, 0.9, nesterov=True), 1),
    "accumulate a part": gx.chain(gx.accumulate(gx.nesterov(0.9), 1), gx.scale(-0.05)),
    "master weights": gx.master_weights(gx.sgd(0.05, 0.9, nesterov=True)),
    "a foreign rate": gx.chain(gx.nesterov(0.9), gx.GradientTransformation(*optax.scale(-0.05))),
    "a foreign schedule": gx.chain(gx.nesterov(0.9), optax.scale_by_schedule(lambda k: -0.05 + 0.0 * k)),
}


@pytest.mark.parametrize("tx", CONSTANT.values(), ids=CONSTANT)
def test_is_nesterovs_own_sequence(x64, tx):
    ours = train(tx)
    for (w, ahead), (found, params, _) in zip(nag(30, [0.05] * 30, 0.9), ours, strict=True):
        np.testing.assert_allclose(found, w, rtol=0, atol=1e-13)
        np.testing.assert_allclose(params, ahead, rtol=0, atol=1e-13)
        assert np.abs(w - ahead).max() > 1e-6


@pytest.mark.fast
def test_a_scheduled_rate_before_the_momentum(x64):
    rates = [0.05 / (1 + k) for k in range(30)]
    tx = gx.chain(gx.scale_by_learning_rate(lambda k: 0.05 / (1 + jnp.asarray(k, float))), gx.nesterov(0.9))
    for (w, _), (found, _, _) in zip(nag(30, rates, 0.9), train(tx), strict=True):
        np.testing.assert_allclose(found, w, rtol=0, atol=1e-13)


@pytest.mark.fast
def test_a_scheduled_rate_after_the_momentum(x64):
    """The point where the last gradient step led from the look-ahead point, by the rate and the decay of that step."""
    tx = gx.sgd(lambda k: 0.05 / (1 + jnp.asarray(k, float)), lambda k: 0.9 - 0.1 / (1 + jnp.asarray(k, float)), nesterov=True)
    before = START
    for k, (found, params, _) in enumerate(train(tx)):
        np.testing.assert_allclose(found, before - 0.05 / (1 + k) * grad(before), rtol=0, atol=1e-13)
        before = np.asarray(params)


@pytest.mark.fast
def test_partition_and_masks(x64):
    """Two groups with their own momentum, two rates after it, and one group without."""
    tx = gx.chain(
        gx.partition(
            {"fast": gx.nesterov(0.9), "slow": gx.trace(0.5, nesterov=True), "plain": gx.identity()},
            {"a": "fast", "b": "slow", "c": "plain"},
        ),
        gx.partition({1: gx.scale(-0.05), 2: gx.scale(-0.01)}, lambda p: {k: 2 if k == "b" else 1 for k in p}),
    )
    ours = train(tx, put=lambda x: {"a": x, "b": x, "c": x})
    for (w, _), (slow, _), (found, params, _) in zip(nag(30, [0.05] * 30, 0.9), nag(30, [0.01] * 30, 0.5), ours, strict=True):
        np.testing.assert_allclose(found["a"], w, rtol=0, atol=1e-13)
        np.testing.assert_allclose(found["b"], slow, rtol=0, atol=1e-13)
        assert found["c"] is params["c"]


@pytest.mark.fast
def test_frozen_leaves_stay(x64):
    tx = gx.chain(gx.sgd(0.05, 0.9, nesterov=True), gx.freeze({"a": True, "b": False}))
    *_, (found, params, _) = train(tx, 3, put=lambda x: {"a": x, "b": x})
    assert (found["a"] == START).all()
    assert (found["b"] != params["b"]).all()


IDENTITY = {
    "adam": gx.adam(0.1),
    "sgd": gx.sgd(0.1),
    "heavy ball": gx.sgd(0.1, 0.9),
    "heavy ball, then a clip": gx.chain(gx.trace(0.9), gx.clip(1.0), gx.adam(0.1)),
    "partition": gx.partition({"a": gx.adam(0.1), "b": gx.sgd(0.1, 0.9)}, {"a": "a", "b": "b"}),
    "masked": gx.masked(gx.adam(0.1), {"a": True, "b": False}),
    "master weights": gx.master_weights(gx.adam(0.1)),
    "optax": optax.sgd(0.1, 0.9, nesterov=True),
    "empty": gx.chain(),
}


@pytest.mark.fast
@pytest.mark.parametrize("tx", IDENTITY.values(), ids=IDENTITY)
def test_identity_where_nothing_is_declared(tx):
    params = {"a": jnp.ones(3), "b": jnp.ones(())}
    assert gx.eval_params(tx, tx.init(params), params) is params


@pytest.mark.fast
def test_before_the_first_update_they_are_the_parameters():
    tx, params = gx.sgd(gx.constant_schedule(0.1), 0.9, nesterov=True), {"a": jnp.asarray([1.0, jnp.pi])}
    np.testing.assert_array_equal(gx.eval_params(tx, tx.init(params), params)["a"], params["a"])


@pytest.mark.fast
def test_under_jit_with_a_traced_rate_and_dtypes_kept():
    params = {"h": jnp.ones(3, jnp.bfloat16), "z": jnp.ones(2, jnp.complex64), "n": jnp.arange(3), "none": None, "s": jnp.ones(())}
    grads = {**params, "n": np.zeros(3, jax.dtypes.float0)}

    @jax.jit
    def step(rate):
        tx = gx.sgd(rate, 0.5, nesterov=True)
        u, state = tx.update(grads, tx.init(params), params)
        return gx.eval_params(tx, state, gx.apply_updates(params, u))

    found = step(0.25)
    assert jax.tree.map(lambda x: x.dtype, found) == jax.tree.map(lambda x: x.dtype, params)
    for name in ("h", "z", "s"):
        np.testing.assert_array_equal(np.asarray(found[name], np.complex64), 0.75)  # 1 - rate * g
    np.testing.assert_array_equal(found["n"], params["n"])


REFUSED = {
    "clip": (gx.clip(1.0), r"clip\(1\.0\) comes after a look-ahead such as Nesterov's.*not linear"),
    "sign": (gx.scale_by_sign(), "not linear"),
    "norm": (gx.clip_by_global_norm(1.0), "not linear"),
    "ema": (gx.ema(0.9), r"its state keeps ema"),
    "adam": (gx.adam(0.1), r"its state keeps .*mu"),
    "noise": (gx.add_noise(0.1, 0.5, 0), r"its state keeps rng_key"),
    "decay": (gx.add_decayed_weights(0.1), "needs the parameters"),
    "deep": (gx.chain(gx.scale(2.0), gx.masked(gx.chain(gx.clip(1.0)), True)), r"chain\(scale\(2\.0\), masked.* comes after"),
    "accumulate": (gx.accumulate(gx.scale(1.0), 2), "its state keeps"),
}


@pytest.mark.fast
@pytest.mark.parametrize(("later", "text"), REFUSED.values(), ids=REFUSED)
def test_what_does_more_than_scale_is_refused(later, text):
    params = jnp.ones(3)
    tx = gx.chain(gx.nesterov(0.9), gx.scale(-0.1), later)
    with pytest.raises(gx.StructureError, match=text) as e:
        gx.eval_params(tx, tx.init(params), params)
    assert "Put it before the momentum" in str(e.value)
    before = gx.chain(later, gx.nesterov(0.9), gx.scale(-0.1))
    gx.eval_params(before, before.init(params), params)


@pytest.mark.fast
def test_two_that_declare_something_are_refused():
    tx, params = gx.chain(gx.nesterov(0.9), gx.nesterov(0.5)), jnp.ones(3)
    with pytest.raises(gx.StructureError, match="its state keeps"):
        gx.eval_params(tx, tx.init(params), params)
    averaged = gx.GradientTransformation(lambda p: (), _Halved())
    tx = gx.chain(gx.nesterov(0.9), averaged)
    with pytest.raises(gx.StructureError, match=r"both .*nesterov.* and .*say what parameters to evaluate with"):
        gx.eval_params(tx, tx.init(params), params)
    assert gx.eval_params(averaged, (), params)[0] == 0.5


class _Halved:
    """An update written by hand that declares its own."""

    def __call__(self, g, s, p=None):
        return g, s

    def eval_params(self, state, params, after):
        return jax.tree.map(lambda p: p / 2, params)


class AverageState(NamedTuple):
    count: gx.Clock
    mean: gx.Updates


@gx.elementwise(AverageState, needs=("params",), evaluate=lambda p, s, after: s.mean)
def average(g, s, p, c):
    """A kernel for the last place of a chain that averages the iterates, as wrappers to come will."""
    return g, s._replace(mean=s.mean + (p + g - s.mean) / c.t.astype(c.dtype))


@pytest.mark.fast
def test_a_kernel_may_declare_any_other_parameters(x64):
    tx, seen = gx.chain(gx.sgd(0.05), average()), []
    for found, params, _ in train(tx):
        seen.append(params)
        np.testing.assert_allclose(found, np.mean(seen, 0), rtol=0, atol=1e-13)


@pytest.mark.fast
def test_what_is_not_a_transformation_is_refused():
    with pytest.raises(gx.StructureError, match="eval_params: expected a GradientTransformation"):
        gx.eval_params(gx.sgd, (), ())


AVERAGE = gx.schedule_free_sgd(0.1)
LOOKED_THROUGH = {
    "flatten": gx.flatten,
    "flatten in a chain": lambda tx: gx.chain(gx.scale(1.0), gx.flatten(gx.chain(gx.scale(1.0), tx))),
    "per_device": lambda tx: gx.per_device(tx, None),
    "beside a monitor": lambda tx: gx.chain(gx.monitor({"norm": gx.tree.norm}), tx),
    "before a monitor": lambda tx: gx.chain(tx, gx.monitor({"norm": gx.tree.norm, "mean": gx.measure_with_ema(gx.tree.norm, 0.9)})),
    "before a snapshot, masked": lambda tx: gx.chain(tx, gx.masked(gx.snapshot("norm", gx.tree.norm), True)),
    "beside a plateau": lambda tx: gx.chain(gx.reduce_on_plateau(), tx),
    "with_extra_args_support": gx.with_extra_args_support,
    "inject_hyperparams": lambda tx: gx.inject_hyperparams(lambda k: gx.chain(gx.scale(k), tx))(1.0),
    "conditionally_mask": lambda tx: gx.conditionally_mask(tx, lambda k: k >= 0),
    "MultiSteps": lambda tx: gx.MultiSteps(tx, 1).gradient_transformation(),
    "split_real_and_imaginary": gx.split_real_and_imaginary,
    "sam": lambda tx: gx.sam(tx, gx.sgd(0.1), sync_period=1),
}


@pytest.mark.parametrize("tx", [AVERAGE, CONSTANT["sgd"]], ids=["schedule_free", "nesterov"])
@pytest.mark.parametrize("name", LOOKED_THROUGH)
def test_wrappers_are_looked_through(name, tx):
    around = LOOKED_THROUGH[name](tx)
    update = lambda g, s, p: around.update(g, s, p, value=1.0)
    for (expected, stored, _), (found, params, _) in zip(train(tx, 4), train(around, 4, update=update), strict=True):
        np.testing.assert_allclose(params, stored, rtol=1e-5)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.abs(found - params).max() > 1e-3


def after_three(tx, params):
    """The parameters to evaluate with, those stored, and the state, after three noisy updates."""
    rng, state = np.random.default_rng(0), tx.init(params)
    for _ in range(3):
        g = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape), jnp.float32), params)
        u, state = tx.update(g, state, params)
        params = gx.apply_updates(params, u)
    return gx.eval_params(tx, state, params), params, state


AHEAD = gx.chain(gx.nesterov(0.9), gx.scale(-0.1))


@pytest.mark.fast
def test_mechanize_scales_the_look_ahead_of_what_is_inside():
    found, params, state = after_three(gx.mechanize(AHEAD, weight_decay=0.0, s_init=0.1), jnp.ones(3))
    way = 0.09 * jnp.sum(state.s) * state.base_optimizer_state[0].trace
    np.testing.assert_allclose(found, params + way, rtol=1e-6)
    assert np.abs(way).max() > 1e-4


@pytest.mark.fast
def test_galore_turns_the_look_ahead_of_what_is_inside():
    tx = gx.scale_by_galore(2, scale=lambda k: 1 / (k + 1), base_optimizer=AHEAD)
    found, params, state = after_three(tx, {"w": jnp.ones((5, 3)), "wide": jnp.ones((2, 4)), "b": jnp.ones(3)})
    low, basis = state.base_optimizer_state[0].trace, state.projector
    way = {"w": basis["w"] @ low["w"] / 3, "wide": low["wide"] @ basis["wide"].T / 3, "b": low["b"]}
    for name, x in way.items():
        np.testing.assert_allclose(found[name], params[name] + 0.09 * x, rtol=1e-5)
        assert np.abs(x).max() > 1e-3
