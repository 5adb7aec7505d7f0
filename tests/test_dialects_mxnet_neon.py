"""The mxnet and neon dialects have the numbers of their transcriptions, and errors that say what is possible."""

import math
import pickle
import re

import by_day
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import ORACLES

import gradxform as gx
from gradxform import dialects
from gradxform._docs import section
from gradxform.dialects import mxnet, neon
from gradxform.testing import LAWS, case_for, entailed, examine

ENTRIES = [e for e in dialects.entries() if e.system in ("mxnet", "neon")]
SHAPES = {"b": (3,), "s": (), "w": (4, 6)}
COMMON = {"rescale_grad": 0.5, "clip_gradient": 0.4, "wd": 0.1}
CLIPS = {"gradient_clip_value": 1.0, "gradient_clip_norm": 2.0}


def plain(x):
    """The text of an argument without addresses, the same in every process."""
    return re.sub(r" at 0x\w+", "", str(x))


def falling(k):
    return 0.1 / (1 + 0.05 * jnp.asarray(k, float))


def draw(seed, dtype=None):
    rng = np.random.default_rng(seed)
    return {name: jnp.asarray(rng.normal(size=shape), dtype) for name, shape in SHAPES.items()}


def follow(tx, oracle, steps=100, extra=None, move=1.0):
    """Take noisy steps with the updates of both, and compare them. With another `move`, parameters go elsewhere."""
    params = draw(0)
    state, ws = tx.init(params), [np.asarray(p) for p in params.values()]
    update = jax.jit(tx.update)
    for i in range(steps):
        gs, extras = draw(i + 1), {} if extra is None else extra(state)
        us = oracle(list(gs.values()), ws, **extras)
        updates, state = update(gs, state, params)
        for name, expected in zip(params, us, strict=True):
            np.testing.assert_allclose(updates[name], expected, rtol=1e-9, atol=1e-9, err_msg=f"step {i}, {name}")
        params = gx.apply_updates(params, jax.tree.map(lambda u: move * u, updates))
        ws = [w + move * u for w, u in zip(ws, us, strict=True)]
    return params


SETTINGS = [
    ("mxnet", "sgd", {"momentum": 0.9}),
    ("mxnet", "sgd", {}),
    ("mxnet", "nag", {}),
    ("mxnet", "adagrad", {}),
    ("mxnet", "rmsprop", {}),
    ("mxnet", "rmsprop", {"centered": True, "gamma1": 0.8, "gamma2": 0.7}),
    ("mxnet", "adadelta", {}),
    ("mxnet", "adam", {"epsilon": 1e-3}),
    ("mxnet", "adamax", {"epsilon": 1e-3}),
    ("mxnet", "nadam", {"epsilon": 1e-3}),
    ("mxnet", "signum", {"wd_lh": 0.1}),
    ("mxnet", "signum", {"wd_lh": 0.1, "momentum": 0.0}),
    ("mxnet", "dcasgd", {"lamda": 0.5}),
    ("mxnet", "dcasgd", {"momentum": 0.8}),
    ("mxnet", "ftrl", {"lamda1": 0.3, "beta": 0.5}),
    ("mxnet", "ftml", {}),
    ("mxnet", "lars", {"momentum": 0.9, "eta": 0.1}),
    ("mxnet", "lamb", {"lower_bound": 0.5, "upper_bound": 2.0}),
    ("mxnet", "lamb", {"bias_correction": False}),
    ("mxnet", "lans", {"lower_bound": 0.5, "upper_bound": 2.0}),
    ("mxnet", "lans", {}),
    ("mxnet", "adamw", {"epsilon": 1e-3}),
    ("mxnet", "adamw", {"correct_bias": False}),
    ("mxnet", "adabelief", {}),
    ("mxnet", "adabelief", {"correct_bias": False}),
    ("mxnet", "group_adagrad", {}),
    ("neon", "gradient_descent_momentum", {"learning_rate": 0.1, "momentum_coef": 0.9, "wdecay": 0.1}),
    ("neon", "gradient_descent_momentum", {"learning_rate": 0.1, "momentum_coef": 0.9, "wdecay": 0.1, "nesterov": True}),
    ("neon", "gradient_descent_momentum", {"learning_rate": 0.1, "momentum_coef": 0.0}),
    ("neon", "rmsprop", {"epsilon": 1e-2}),
    ("neon", "adagrad", {"epsilon": 1e-2}),
    ("neon", "adadelta", {}),
    ("neon", "adam", {"epsilon": 1e-3}),
]


def variants():
    """Every setting as it is, and with a schedule and what all functions of the system take."""
    for system, name, arguments in SETTINGS:
        rate = {} if name == "adadelta" else {"learning_rate": falling}
        more = {k: v for k, v in COMMON.items() if name != "group_adagrad" or k != "wd"} if system == "mxnet" else {}
        yield system, name, arguments
        yield system, name, {**arguments, **rate, **more}
        if system == "neon" and name != "adadelta":
            yield system, name, {**arguments, **CLIPS}


@pytest.mark.parametrize(("system", "name", "arguments"), list(variants()), ids=plain)
def test_it_agrees_with_the_transcription(system, name, arguments, x64):
    follow(getattr(getattr(dialects, system), name)(**arguments), ORACLES[f"{system}.{name}"](**arguments))


LBSGD = [
    {"warmup_strategy": strategy, "batch_scale": scale, "updates_per_epoch": 5, "warmup_epochs": 4, **more}
    for strategy in ("linear", "power2", "sqrt", "lars")
    for scale, more in [
        (3, {"momentum": 0.9, "accumulate": False}),
        (4, {"momentum": 0.9, **COMMON}),
        (4, {"begin_epoch": 1, "momentum": 0.9}),  # begins inside a macro-batch
        (4, {"learning_rate": falling, "warmup_epochs": 0}),
    ]
]


@pytest.mark.parametrize("arguments", LBSGD, ids=plain)
def test_lbsgd_agrees_with_the_transcription(arguments, x64):
    follow(mxnet.lbsgd(**arguments), ORACLES["mxnet.lbsgd"](**arguments))


@pytest.mark.parametrize("arguments", [{}, COMMON, {"learning_rate": falling}], ids=plain)
def test_sgld_agrees_with_the_transcription_given_its_noise(arguments, x64):
    """The noise is that of a second instance, of rate 1, without gradients."""
    noise_of = mxnet.sgld(1.0, seed=7)
    zero = jax.tree.map(jnp.zeros_like, draw(0))

    def noise(state):
        key = next(s.rng_key for s in state if hasattr(s, "rng_key"))
        own = tuple(s._replace(rng_key=key) if hasattr(s, "rng_key") else s for s in noise_of.init(zero))
        return {"noise": list(noise_of.update(zero, own, zero)[0].values())}

    follow(mxnet.sgld(seed=7, **arguments), ORACLES["mxnet.sgld"](**arguments), extra=noise)


MULTIPLIED = ["sgd", "nag", "adagrad", "rmsprop", "adam", "nadam", "dcasgd", "ftml", "ftrl", "lars", "lamb", "lans", "adamw"]


@pytest.mark.parametrize("name", MULTIPLIED)
def test_multipliers_are_rates_and_decays_of_their_own(name, x64):
    """One transformation with multipliers moves each leaf as one with that leaf's rate and decay."""
    make, params = getattr(mxnet, name), draw(0)
    tx = make(learning_rate=0.1, wd=0.2, lr_mult={"b": 0.5}, wd_mult={"w": 0.0, "b": 2.0})
    own = {"b": make(learning_rate=0.05, wd=0.4), "s": make(learning_rate=0.1, wd=0.2), "w": make(learning_rate=0.1, wd=0.0)}
    alone = gx.partition(own, {k: k for k in own})
    state, alone_state = tx.init(params), alone.init(params)
    for i in range(5):
        u, state = tx.update(draw(i + 1), state, params)
        v, alone_state = alone.update(draw(i + 1), alone_state, params)
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-12), u, v)
        params = gx.apply_updates(params, u)


@pytest.mark.fast
def test_the_multiplier_of_sgld_is_that_of_its_rate():
    zero, mult = {"w": jnp.zeros((3, 2))}, 0.25
    tx, one = mxnet.sgld(0.1, lr_mult={"w": mult}), mxnet.sgld(0.1 * mult)
    g = {"w": jnp.ones((3, 2))}
    u, v = (t.update(g, t.init(zero), zero)[0]["w"] for t in (tx, one))
    np.testing.assert_allclose(u, v, rtol=1e-5)


@pytest.mark.fast
@pytest.mark.parametrize("tx", [mxnet.rmsprop(0.1, clip_weights=0.5), neon.adam(0.1, param_clip_value=0.5)], ids=["mxnet", "neon"])
def test_weights_stay_in_the_box(tx):
    params = draw(0, jnp.float32)
    state = tx.init(params)
    for i in range(10):
        u, state = tx.update(draw(i), state, params)
        params = gx.apply_updates(params, u)
    assert all(jnp.max(jnp.abs(p)) <= 0.5 + 1e-6 for p in jax.tree.leaves(params))


@pytest.mark.fast
def test_the_box_also_holds_without_momentum():
    """In neon it was lost there."""
    tx = neon.gradient_descent_momentum(1.0, 0.0, param_clip_value=0.5)
    u, _ = tx.update({"w": jnp.full(3, -9.0)}, tx.init({"w": jnp.zeros(3)}), {"w": jnp.zeros(3)})
    np.testing.assert_allclose(u["w"], 0.5)


@pytest.mark.fast
def test_multi_precision_keeps_a_wide_copy():
    params = {"w": jnp.ones(8, jnp.bfloat16)}
    tx = mxnet.sgd(1e-3, multi_precision=True)
    state = tx.init(params)
    assert isinstance(state, gx.MasterWeightsState)
    for _ in range(20):
        u, state = tx.update(params, state, params)
        params = gx.apply_updates(params, u)
    np.testing.assert_allclose(state.master["w"], 0.98, atol=2e-3)
    assert params["w"].dtype == jnp.bfloat16
    assert jnp.all(params["w"] < 1)


@pytest.mark.fast
def test_stochastic_rounding_feels_small_updates_in_the_mean():
    params = {"w": jnp.ones(4000, jnp.bfloat16), "v": jnp.ones(3)}
    tx = neon.gradient_descent_momentum(1e-4, 0.0, stochastic_round=True)
    plain_tx = neon.gradient_descent_momentum(1e-4, 0.0)
    state, plain_state, plain_params = tx.init(params), plain_tx.init(params), params
    g = jax.tree.map(jnp.ones_like, params)
    for _ in range(20):
        u, state = tx.update(g, state, params)
        params = gx.apply_updates(params, u)
        u, plain_state = plain_tx.update(g, plain_state, plain_params)
        plain_params = gx.apply_updates(plain_params, u)
    assert params["w"].dtype == jnp.bfloat16
    assert jnp.all(plain_params["w"] == 1)
    assert jnp.mean(params["w"].astype(jnp.float32)) == pytest.approx(0.998, abs=3e-4)
    np.testing.assert_allclose(params["v"], plain_params["v"])


@pytest.mark.fast
def test_nag_gives_the_true_iterate_to_evaluate_with(x64):
    tx, w, v = mxnet.nag(0.1, 0.9), np.zeros(3), np.zeros(3)
    params = {"w": jnp.zeros(3)}
    state, target = tx.init(params), np.arange(3.0)
    for _ in range(20):
        u, state = tx.update({"w": params["w"] - target}, state, params)
        params = gx.apply_updates(params, u)
        v = 0.9 * v - 0.1 * (w + 0.9 * v - target)
        w = w + v
    np.testing.assert_allclose(gx.eval_params(tx, state, params)["w"], w, atol=1e-12)


@pytest.mark.fast
def test_ftrl_has_exact_zeros_where_the_transcription_has_them(x64):
    params = follow(mxnet.ftrl(lamda1=3.0), ORACLES["mxnet.ftrl"](lamda1=3.0))
    zeros = sum(int(jnp.sum(p == 0)) for p in params.values())
    assert 0 < zeros < 28


@pytest.mark.fast
def test_dcasgd_takes_delayed_params():
    p, g, w = {"w": jnp.array([1.0])}, {"w": jnp.array([2.0])}, {"w": jnp.array([0.5])}
    tx = mxnet.dcasgd(0.1, lamda=0.5)
    u, _ = tx.update(g, tx.init(p), p, delayed_params=w)
    np.testing.assert_allclose(u["w"], -0.1 * (2 + 0.5 * 4 * 0.5), rtol=1e-6)


LAYERS = {
    "layer_one": {"Linear": jnp.ones(2)},
    "layer_two": {"Linear": jnp.ones(2), "Bias": jnp.ones(2)},
    "out": {"Bias": jnp.ones(2)},
}


@pytest.mark.fast
class TestMultiOptimizer:
    def rates(self, mapping):
        tx = neon.multi_optimizer({k: neon.gradient_descent_momentum(rate, 0.0) for k, rate in mapping.items()})
        u, _ = tx.update(LAYERS, tx.init(LAYERS), LAYERS)
        return jax.tree.map(lambda x: round(-float(x[0]), 6), u)

    def test_name_beats_class_beats_default(self):
        assert self.rates({"default": 0.1, "Linear": 0.2, "layer_two": 0.3}) == {
            "layer_one": {"Linear": 0.2}, "layer_two": {"Linear": 0.3, "Bias": 0.3}, "out": {"Bias": 0.1},
        }  # fmt: skip

    def test_the_order_of_the_keys_does_not_matter(self):
        assert self.rates({"layer_two": 0.3, "Linear": 0.2, "default": 0.1}) == self.rates(
            {"Linear": 0.2, "default": 0.1, "layer_two": 0.3}
        )

    def test_each_clips_over_its_own_leaves(self):
        clipped = lambda: neon.gradient_descent_momentum(1.0, 0.0, gradient_clip_norm=1.0)
        tx = neon.multi_optimizer({"default": clipped(), "Bias": clipped()})
        u, _ = tx.update(LAYERS, tx.init(LAYERS), LAYERS)
        norms = [math.sqrt(sum(float(jnp.sum(x**2)) for x in xs)) for xs in (
            [u["layer_one"]["Linear"], u["layer_two"]["Linear"]], [u["layer_two"]["Bias"], u["out"]["Bias"]],
        )]  # fmt: skip
        np.testing.assert_allclose(norms, 1.0, rtol=1e-6)

    def test_errors(self):
        sgd = neon.gradient_descent_momentum(0.1, 0.9)
        with pytest.raises(
            gx.HyperparameterError, match=r"neon.multi_optimizer: `mapping` must have the key 'default'.*\['Bias'\]"
        ):
            neon.multi_optimizer({"Bias": sgd})
        with pytest.raises(gx.HyperparameterError, match="`mapping` must be a dictionary of optimizers, but got 3"):
            neon.multi_optimizer(3)  # type: ignore
        with pytest.raises(gx.LabelError, match=r"the key 'Conv' is no layer's name or class. The paths are 'layer_one/Linear'"):
            neon.multi_optimizer({"default": sgd, "Conv": sgd}).init(LAYERS)
        with pytest.raises(gx.GradxformError, match="label 'default'"):
            neon.multi_optimizer({"default": 0.1})  # type: ignore


ERRORS = [
    (mxnet.sgd, {"learning_rate": math.inf}, "mxnet.sgd: `learning_rate` must be a number, an array or a schedule in (-inf, inf)"),
    (mxnet.adam, {"wd": -0.1}, "mxnet.adam: `wd` must be a number, an array or a schedule in [0, inf), but got -0.1"),
    (mxnet.adam, {"clip_gradient": -1.0}, "mxnet.adam: `clip_gradient` must be"),
    (mxnet.adam, {"beta2": 1.0}, "mxnet.adam: `beta2` must be a number, an array or a schedule in [0, 1), but got 1.0"),
    (mxnet.ftrl, {"learning_rate": 0.0}, "mxnet.ftrl: `learning_rate` must be"),
    (mxnet.rmsprop, {"clip_weights": 0.0}, "mxnet.rmsprop: `clip_weights` must be"),
    (mxnet.rmsprop, {"clip_weights": falling}, "mxnet.rmsprop: `clip_weights` must be a number or None, but got <function"),
    (
        mxnet.lbsgd,
        {"warmup_strategy": "cubic"},
        "mxnet.lbsgd: `warmup_strategy` must be one of 'linear', 'power2', 'sqrt', 'lars', but got 'cubic'.",
    ),
    (mxnet.lbsgd, {"batch_scale": 0}, "mxnet.lbsgd: `batch_scale` must be a whole number in [1, inf), but got 0"),
    (neon.rmsprop, {"learning_rate": float("nan")}, "neon.rmsprop: `learning_rate` must be"),
    (neon.adam, {"gradient_clip_norm": falling}, "neon.adam: `gradient_clip_norm` must be a number or None, but got the schedule"),
    (
        neon.gradient_descent_momentum,
        {"learning_rate": 0.1, "momentum_coef": 0.0, "nesterov": True},
        "neon.gradient_descent_momentum: `nesterov` needs `momentum_coef` > 0, but got momentum_coef=0.0.",
    ),
    (mxnet.factor_scheduler, {"step": 0}, "factor_scheduler: `step` must be a whole number in [1, inf), but got 0"),
    (mxnet.factor_scheduler, {"step": 3, "warmup_mode": "cosine"}, "`warmup_mode` must be one of 'linear', 'constant', but got 'cosine'."),
    (mxnet.multi_factor_scheduler, {"step": [5, 5]}, "multi_factor_scheduler: `step` must be increasing and begin with 1 or more"),
    (mxnet.poly_scheduler, {"max_update": 5, "warmup_steps": 5}, "`max_update` must be more than `warmup_steps` = 5, but got 5"),
    (mxnet.cosine_scheduler, {"max_update": 5, "warmup_begin_lr": 1.0}, "`warmup_begin_lr` must not exceed `base_lr` = 0.01, but got 1.0"),
    (neon.step_schedule, {"learning_rate": 0.1, "step_config": [2, 4], "change": [0.1]}, "`change` must be a list of learning rates"),
    (neon.schedule, {"learning_rate": 0.1, "step_config": 3}, "schedule: `step_config` must be a list of epochs, but got 3"),
]  # fmt: skip


@pytest.mark.fast
@pytest.mark.parametrize(("make", "arguments", "text"), ERRORS, ids=plain)
def test_errors(make, arguments, text):
    with pytest.raises(gx.HyperparameterError) as info:
        make(**arguments)
    assert text in str(info.value)


@pytest.mark.fast
def test_a_multiplier_that_matches_nothing_is_an_error():
    params = {"w": jnp.ones(2)}
    tx = mxnet.sgd(lr_mult={"*bias": 0.0})
    with pytest.raises(gx.LabelError, match="'\\*bias' matches no leaf"):
        tx.update(params, tx.init(params), params)


@pytest.mark.fast
@pytest.mark.parametrize("name", ["aggregate_num", "lazy_update", "use_fused_step", "begin_num_update"])
def test_absent_arguments_are_refused(name):
    with pytest.raises(TypeError, match=name):
        mxnet.sgd(**{name: 1})


@pytest.mark.parametrize(("name", "laws"), by_day.in_turn([e.full_name for e in ENTRIES], LAWS, share=3))
def test_laws(name, laws):
    """But those of a chain of registered stages, which obey them by themselves."""
    entry = gx.entry(name)
    case = case_for(entry)
    report = examine(entry(), laws=[law.number for law in laws if not entailed(law, case)])
    assert report.ok, str(report)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: f"{e.system}.{e.name}")
def test_it_is_documented_and_a_value(entry):
    assert getattr(getattr(dialects, entry.system), entry.name) is entry.make
    assert entry.core is None or entry.core in gx.names()
    assert all(section(entry.make, heading) for heading in ("State", "Units", "Shapes", "Source", "Differs", "Raises"))
    assert entry() == entry()
    assert pickle.loads(pickle.dumps(entry())) == entry()
    assert f"{entry.system}.{entry.name}" in ORACLES or entry.name == "multi_optimizer"


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: f"{e.system}.{e.name}")
def test_zero_and_narrow_gradients_give_finite_updates(entry):
    for dtype in (jnp.float32, jnp.bfloat16):
        params = draw(0, dtype)
        tx, zero = entry(), jax.tree.map(jnp.zeros_like, params)
        u, state = tx.update(zero, tx.init(zero), zero)
        u2, _ = tx.update(params, state, params)
        assert all(jnp.all(jnp.isfinite(x.astype(jnp.float32))) for x in jax.tree.leaves((u, u2)))


class MxnetScheduler:
    """MXNet's way: called with the number of each update in turn, the rate being changed in place."""

    def __init__(self, kind, base_lr=0.01, warmup_steps=0, warmup_begin_lr=0.0, warmup_mode="linear", **arguments):
        self.kind, self.base, self.lr, self.count, self.index = kind, base_lr, base_lr, 0, 0
        self.warm, self.begin, self.mode, self.a = warmup_steps, warmup_begin_lr, warmup_mode, arguments

    def __call__(self, n):
        if n < self.warm:
            return self.begin if self.mode == "constant" else self.begin + (self.base - self.begin) * n / self.warm
        return getattr(self, self.kind)(n)

    def factor(self, n):
        while n > self.count + self.a["step"]:
            self.count += self.a["step"]
            self.lr = max(self.lr * self.a["factor"], self.a.get("stop_factor_lr", 1e-8))
        return self.lr

    def multi_factor(self, n):
        while self.index < len(self.a["step"]) and n > self.a["step"][self.index]:
            self.index += 1
            self.lr *= self.a["factor"]
        return self.lr

    def poly(self, n):
        if n <= self.a["max_update"]:
            rest = 1 - (n - self.warm) / (self.a["max_update"] - self.warm)
            self.lr = self.a.get("final_lr", 0.0) + (self.base - self.a.get("final_lr", 0.0)) * rest ** self.a.get("pwr", 2)
        return self.lr

    def cosine(self, n):
        if n <= self.a["max_update"]:
            wave = (1 + math.cos(math.pi * (n - self.warm) / (self.a["max_update"] - self.warm))) / 2
            self.lr = self.a.get("final_lr", 0.0) + (self.base - self.a.get("final_lr", 0.0)) * wave
        return self.lr


WARM = [
    {},
    {"base_lr": 0.5, "warmup_steps": 10},
    {"base_lr": 0.5, "warmup_steps": 7, "warmup_begin_lr": 0.1},
    {"base_lr": 0.5, "warmup_steps": 7, "warmup_begin_lr": 0.1, "warmup_mode": "constant"},
]
SCHEDULERS = [
    ("factor", {"step": 5, "factor": 0.5}),
    ("factor", {"step": 1, "factor": 0.5, "stop_factor_lr": 1e-3}),
    ("multi_factor", {"step": [3, 4, 20], "factor": 0.1}),
    ("poly", {"max_update": 30}),
    ("poly", {"max_update": 30, "pwr": 1, "final_lr": 1e-3}),
    ("cosine", {"max_update": 30}),
    ("cosine", {"max_update": 30, "final_lr": 1e-3}),
]


@pytest.mark.fast
@pytest.mark.parametrize("warm", WARM, ids=plain)
@pytest.mark.parametrize(("kind", "arguments"), SCHEDULERS, ids=plain)
def test_mxnet_schedulers(kind, arguments, warm, x64):
    ours, theirs = getattr(mxnet, f"{kind}_scheduler")(**arguments, **warm), MxnetScheduler(kind, **arguments, **warm)
    expected = [theirs(k + 1) for k in range(50)]
    np.testing.assert_allclose(ours(jnp.arange(50)), expected, rtol=1e-12, atol=1e-15)
    assert pickle.loads(pickle.dumps(ours)) == ours


NEON_SCHEDULES = [
    (lambda u: neon.schedule(0.5, [2, 4], 0.1, u), lambda e: 0.5 * 0.1 ** ((e >= 2) + (e >= 4))),
    (lambda u: neon.schedule(0.5, updates_per_epoch=u), lambda e: 0.5),
    (lambda u: neon.step_schedule(0.5, [2, 4], [0.1, 0.0], u), lambda e: 0.5 if e < 2 else 0.1 if e < 4 else 0.0),
    (lambda u: neon.power_schedule(0.5, 3, 0.1, u), lambda e: 0.5 * 0.1 ** (e // 3)),
    (lambda u: neon.exp_schedule(0.5, 0.3, u), lambda e: 0.5 / (1 + 0.3 * e)),
    (lambda u: neon.poly_schedule(0.5, 6, 1.5, u), lambda e: 0.5 * max(1 - e / 6, 0) ** 1.5),
    (lambda u: neon.shift_schedule(0.5, 3, 2, u), lambda e: 0.5 * 2.0 ** (-2 * (e // 3))),
]


@pytest.mark.fast
@pytest.mark.parametrize("updates_per_epoch", [1, 5])
@pytest.mark.parametrize(("make", "law"), NEON_SCHEDULES, ids=range(len(NEON_SCHEDULES)))
def test_neon_schedules(make, law, updates_per_epoch, x64):
    ours = make(updates_per_epoch)
    expected = [law(k // updates_per_epoch) for k in range(50)]
    np.testing.assert_allclose(ours(jnp.arange(50)), expected, rtol=1e-12, atol=1e-15)
    assert pickle.loads(pickle.dumps(ours)) == ours


@pytest.mark.fast
def test_a_scheduler_is_a_learning_rate(x64):
    rate = mxnet.factor_scheduler(5, 0.5, base_lr=0.1)
    follow(mxnet.sgd(rate, momentum=0.9), ORACLES["mxnet.sgd"](lambda k: 0.1 * 0.5 ** (k // 5), momentum=0.9))
