"""The torch and keras dialects go where PyTorch 2.13 and Keras 3.15 go: golden trajectories of `golden/make_torch_keras.py`."""

import functools
import inspect
import json
import pathlib
import pickle

import by_day
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden.compiling import as_compiled
from golden.problem import KEPT, KERAS, STEPS, TORCH, problem, schedule, shapes_for

import gradxform as gx
from gradxform import dialects
from gradxform._docs import section
from gradxform.dialects import keras, torch
from gradxform.testing import LAWS, case_for, entailed, examine

HERE = pathlib.Path(__file__).parent / "golden"
ENTRIES = [e for e in dialects.entries() if e.system in ("torch", "keras")]
SETTINGS = [("torch", *s) for s in TORCH] + [("keras", *s) for s in KERAS]

# Relative to the largest parameter of a leaf, or to 1 if that is less.
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}

# What a functional library has no use for: the packages' docstrings say what to use instead.
ABSENT = {
    "torch": {"foreach", "fused", "capturable", "differentiable"},
    "keras": {"loss_scale_factor", "gradient_accumulation_steps", "name"},
}


@functools.cache
def golden(system):
    with np.load(HERE / f"{system}.npz") as file:
        return dict(file)


def trajectory(tx, name, dtype, maximize=False):
    """The parameters after the kept updates, by leaf, and the final state."""
    first, gradients = problem(dtype, shapes_for(name))
    params = {k: jnp.asarray(v) for k, v in first.items()}
    state, kept = tx.init(params), []

    @jax.jit
    def step(g, s, p):
        u, s = tx.update(g, s, p)
        return gx.apply_updates(p, u), s

    for i in range(STEPS):
        params, state = step(gradients(i, params, maximize), state, params)
        if i in KEPT:
            kept.append(params)
    return {k: np.stack([np.asarray(p[k]) for p in kept]) for k in params}, state


def average_of(system, state):
    if system == "keras":
        return keras.ema_params(state)
    return next(s.ax for s in state if hasattr(s, "ax"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("system", "name", "setting", "arguments"), [as_compiled(s, s[1], "-".join(s[:3])) for s in SETTINGS])
def test_trajectories_are_theirs(system, name, setting, arguments, dtype):
    make = getattr(getattr(dialects, system), name)
    tolerance = TOLERANCE[dtype]
    with jax.enable_x64(dtype == "float64"):
        tx = make(**{k: schedule if v == "schedule" else v for k, v in arguments.items()})
        kept, state = trajectory(tx, name, dtype, arguments.get("maximize", False))
        for leaf, ours in kept.items():
            theirs = golden(system)[f"{name}/{setting}/{dtype}/{leaf}"]
            assert ours.dtype == theirs.dtype == dtype
            error = np.max(np.abs(ours - theirs)) / max(1, np.max(np.abs(theirs)))
            assert error <= tolerance, f"{leaf}: {error:.2g}"
        prefix = f"average/{name}/{setting}/{dtype}/"
        for key in [k for k in golden(system) if k.startswith(prefix)]:
            ours, theirs = np.asarray(average_of(system, state)[key.removeprefix(prefix)]), golden(system)[key]
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * max(1, np.max(np.abs(theirs))))


@pytest.mark.fast
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: f"{e.system}.{e.name}")
def test_arguments_and_defaults_are_theirs(entry):
    theirs = json.loads(str(golden(entry.system)["signatures"]))[entry.name]
    ours = {p.name: p.default for p in inspect.signature(entry.make).parameters.values()}
    assert list(ours) == [name for name in theirs if name not in ABSENT[entry.system]]
    for name, default in ours.items():
        expected = theirs[name]
        assert default == (tuple(expected) if isinstance(expected, list) else expected), name


@pytest.mark.fast
def test_every_function_has_golden_values():
    assert {(e.system, e.name) for e in ENTRIES} == {s[:2] for s in SETTINGS}
    for entry in ENTRIES:
        assert getattr(getattr(dialects, entry.system), entry.name) is entry.make
        assert entry.core is None or entry.core in gx.names()
        assert all(section(entry.make, heading) for heading in ("State", "Units", "Shapes", "Source", "Differs", "Raises"))


@pytest.mark.parametrize(("name", "laws"), by_day.in_turn([e.full_name for e in ENTRIES], LAWS, share=3))
def test_laws(name, laws):
    """But those of a chain of registered stages, which obey them by themselves."""
    entry = gx.entry(name)
    shapes = [np.zeros((4, 6)), np.zeros((6, 4))] if entry.ndim == 2 else None
    case = case_for(entry)
    report = examine(entry(), laws=[law.number for law in laws if not entailed(law, case)], params=shapes)
    assert report.ok, str(report)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: f"{e.system}.{e.name}")
def test_bfloat16_parameters_stay_finite(entry):
    tx = entry()
    params = {name: jnp.ones(shape, jnp.bfloat16) for name, shape in shapes_for(entry.name).items()}
    state = tx.init(params)
    step = jax.jit(lambda s, p: tx.update(jax.tree.map(lambda x: 0.5 * x, p), s, p))
    for _ in range(3):
        updates, state = step(state, params)
        params = gx.apply_updates(params, updates)
    for x in jax.tree.leaves(params):
        assert x.dtype == jnp.bfloat16
        assert jnp.all(jnp.isfinite(x.astype(jnp.float32)))


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: f"{e.system}.{e.name}")
def test_zero_gradients_give_finite_updates(entry):
    tx = entry()
    params = {name: jnp.zeros(shape) for name, shape in shapes_for(entry.name).items()}
    updates, state = tx.update(params, tx.init(params), params)
    assert all(jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves((updates, state)))


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: f"{e.system}.{e.name}")
def test_the_rate_may_be_traced(entry):
    rate = "lr" if entry.system == "torch" else "learning_rate"
    params = {name: jnp.ones(shape) for name, shape in shapes_for(entry.name).items()}

    def first_update(value):
        tx = entry(**{rate: value})
        return tx.update(params, tx.init(params), params)[0]

    traced = jax.jit(first_update)(jnp.float32(0.01))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-7), traced, first_update(0.01))


@pytest.mark.fast
@pytest.mark.parametrize(
    ("make", "arguments", "text"),
    [
        (torch.adam, {"lr": -1.0}, "torch.adam: `lr` must be a number, an array or a schedule in [0, inf), but got -1.0"),
        (
            torch.adam,
            {"betas": (0.9, 1.0)},
            "torch.adam: `betas[1]` must be a number, an array or a schedule in [0, 1), but got 1.0",
        ),
        (torch.adamw, {"betas": 0.9}, "torch.adamw: `betas` must be a tuple of 2, but got 0.9"),
        (torch.adam, {"betas": (0.9,)}, "torch.adam: `betas` must be a tuple of 2, but got (0.9,)"),
        (torch.nadam, {"momentum_decay": "fast"}, "torch.nadam: `momentum_decay` must be"),
        (torch.sgd, {"nesterov": True}, "torch.sgd: `nesterov` needs `momentum` > 0 and `dampening` = 0"),
        (torch.rprop, {"etas": (1.2, 0.5)}, "torch.rprop: `etas[0]` must be"),
        (torch.adafactor, {"d": 0.5}, "torch.adafactor: `d` must be a number, an array or a schedule in [1, inf)"),
        (torch.adafactor, {"eps": (1e-3, None)}, "torch.adafactor: `eps[1]` must be"),
        (
            torch.muon,
            {"adjust_lr_fn": "none"},
            "`adjust_lr_fn` must be one of None, 'original', 'match_rms_adamw', 'spectral_unclamped', but got 'none'",
        ),
        (torch.muon, {"ns_steps": 0}, "torch.muon: `ns_steps` must be a whole number in [1, inf)"),
        (keras.adam, {"beta_1": 1.5}, "keras.adam: `beta_1` must be a number, an array or a schedule in [0, 1), but got 1.5"),
        (
            keras.sgd,
            {"clipnorm": 1.0, "global_clipnorm": 2.0},
            "keras.sgd: only one of `clipnorm`, `clipvalue`, `global_clipnorm` can be set, but got clipnorm=1.0, global_clipnorm=2.0.",
        ),
        (keras.adamw, {"use_ema": True, "ema_momentum": 2.0}, "keras.adamw: `ema_momentum` must be"),
        (
            keras.adamw,
            {"use_ema": True, "ema_overwrite_frequency": 0},
            "keras.adamw: `ema_overwrite_frequency` must be a whole number",
        ),
        (keras.ftrl, {"learning_rate_power": 0.5}, "keras.ftrl: `learning_rate_power` must be"),
        (keras.lion, {"beta_1": 0.0}, "keras.lion: `beta_1` must be a number, an array or a schedule in (0, 1), but got 0.0"),
    ],
)
def test_errors(make, arguments, text):
    with pytest.raises(gx.HyperparameterError) as info:
        make(**arguments)
    assert text in str(info.value)


@pytest.mark.fast
@pytest.mark.parametrize(("make", "name"), [(torch.adam, "foreach"), (keras.adam, "gradient_accumulation_steps")])
def test_absent_arguments_are_refused(make, name):
    with pytest.raises(TypeError, match=name):
        make(**{name: None})


@pytest.mark.fast
def test_common_arguments_follow_by_position():
    assert keras.sgd(0.1, 0.9, False, 0.01, 1.0) == keras.sgd(0.1, momentum=0.9, weight_decay=0.01, clipnorm=1.0)
    by_position = keras.adamw(0.1, 0.01, 0.9, 0.99, 1e-8, True, None, None, 1.0, True, 0.9, 5)
    assert by_position == keras.adamw(
        0.1, 0.01, beta_2=0.99, epsilon=1e-8, amsgrad=True, global_clipnorm=1.0, use_ema=True, ema_momentum=0.9,
        ema_overwrite_frequency=5,
    )  # fmt: skip


@pytest.mark.fast
def test_a_beta_may_be_a_schedule():
    params = {"b": jnp.ones(3)}
    tx = torch.adam(betas=(lambda k: jnp.full(jnp.shape(k), 0.9), 0.999))
    ours, theirs = tx.update(params, tx.init(params))[0], torch.adam().update(params, torch.adam().init(params))[0]
    np.testing.assert_allclose(ours["b"], theirs["b"], rtol=1e-5)


@pytest.mark.fast
@pytest.mark.parametrize("shape", [(2, 8), (8, 2), (3, 3)])
def test_muon_scales_by_the_shape_as_it_is(shape):
    """Not less than 1 for "original", as it comes for "spectral_unclamped": rows are outputs."""
    g = {"w": jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)}

    def step(how):
        tx = torch.muon(lr=1.0, weight_decay=0.0, adjust_lr_fn=how)
        return tx.update(g, tx.init(g), g)[0]["w"]

    ratio = shape[0] / shape[1]
    np.testing.assert_allclose(step("spectral_unclamped"), (ratio / max(1.0, ratio)) ** 0.5 * step("original"), rtol=1e-6)


@pytest.mark.fast
def test_muon_refuses_other_shapes():
    params = {"b": jnp.ones(3)}
    tx = torch.muon()
    with pytest.raises(gx.StructureError, match=r"torch\.muon: expected a matrix, but the leaf has shape \(3,\)"):
        tx.update(params, tx.init(params), params)


@pytest.mark.fast
def test_ema_params_needs_one_average():
    params = {"b": jnp.ones(3)}
    with pytest.raises(gx.StructureError, match="made with `use_ema=True`, but found 0 averages"):
        keras.ema_params(keras.adam().init(params))
    tx = gx.chain(keras.sgd(use_ema=True), gx.scale(1.0))
    _, state = tx.update(params, tx.init(params), params)
    np.testing.assert_allclose(keras.ema_params(state)["b"], 0.99, rtol=1e-6)


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.system == "keras"], ids=lambda e: e.name)
def test_eval_params_is_the_average_of_use_ema(entry):
    """Whatever stands ahead of an iterate: Keras averages what is stored, and begins with a copy of the parameters."""
    params = {name: jnp.ones(shape, jnp.bfloat16) for name, shape in shapes_for(entry.name).items()}
    nesterov = {"nesterov": True} if "nesterov" in entry.parameters else {}
    for around in (
        lambda tx: tx,
        lambda tx: gx.chain(gx.clip(1.0), tx),
        lambda tx: gx.masked(tx, True),
        lambda tx: gx.accumulate(tx, 1),
    ):
        tx = around(entry(use_ema=True, ema_momentum=0.5, **nesterov))
        state, p = tx.init(params), params
        jax.tree.map(np.testing.assert_array_equal, gx.eval_params(tx, state, p), p)
        for _ in range(2):
            u, state = tx.update(jax.tree.map(lambda x: 0.5 * x, p), state, p)
            p = gx.apply_updates(p, u)
        found = gx.eval_params(tx, state, p)
        assert all(x.dtype == jnp.bfloat16 for x in found.values())
        jax.tree.map(lambda x, y: np.testing.assert_array_equal(x, y.astype(x.dtype)), found, keras.ema_params(state))


@pytest.mark.fast
def test_ftrl_keeps_exact_zeros():
    tx = keras.ftrl(learning_rate=0.1, l1_regularization_strength=1.0)
    params = {"w": jnp.zeros(4)}
    state = tx.init(params)
    for _ in range(5):
        updates, state = tx.update({"w": jnp.array([0.1, -0.1, 1.0, -1.0])}, state, params)
        params = gx.apply_updates(params, updates)
    np.testing.assert_array_equal(params["w"] == 0, [True, True, False, False])


@pytest.mark.fast
def test_decay_can_be_excluded_by_partition():
    params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    labels = {"*bias": "plain", "default": "decayed"}
    tx = gx.partition({"plain": keras.adamw(weight_decay=0.0), "decayed": keras.adamw(weight_decay=0.1)}, labels)
    zero = jax.tree.map(jnp.zeros_like, params)
    updates, _ = tx.update(zero, tx.init(params), params)
    assert jnp.all(updates["bias"] == 0)
    np.testing.assert_allclose(updates["kernel"], -1e-4, rtol=1e-6)


@pytest.mark.fast
def test_repr_equality_and_pickle():
    tx = keras.lamb(learning_rate=schedule, weight_decay=0.1)
    assert tx == keras.lamb(learning_rate=schedule, weight_decay=0.1)
    assert "scale_by_trust_ratio" in repr(tx)
    for entry in ENTRIES:
        assert pickle.loads(pickle.dumps(entry())) == entry()
