"""PyTorch's and Keras's schedules give their rates: golden values of `golden/make_scheduling.py`."""

import functools
import inspect
import json
import math
import pathlib
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import scheduling

import gradxform as gx
from gradxform.dialects import keras, torch
from gradxform.dialects.torch import lr_scheduler
from gradxform.testing import examine

HERE = pathlib.Path(__file__).parent / "golden"
ABSENT = {"optimizer", "last_epoch", "name", "cycle_momentum", "base_momentum", "max_momentum"}
MOMENTUM = {"max_lr", "div_factor", "final_div_factor"}


@functools.cache
def golden():
    with np.load(HERE / "scheduling.npz") as file:
        return dict(file)


def make(name, arguments):
    """The schedule of a setting of PyTorch's."""
    given = {k: getattr(scheduling, v) if v == "ramp" else v for k, v in arguments.items() if k not in ABSENT}
    if "schedulers" in given:
        given["schedulers"] = [make(*one) for one in given["schedulers"]]
    return getattr(lr_scheduler, name)(*([] if name in ("OneCycleLR", "SequentialLR") else [scheduling.LR]), **given)


def schedules():
    for name, setting, arguments in scheduling.TORCH:
        yield f"torch/{name}/{setting}", functools.partial(make, name, arguments)
        if name == "OneCycleLR":
            momentum = {k: v for k, v in arguments.items() if k not in MOMENTUM}
            yield f"torch/{name}/{setting}/momentum", functools.partial(lr_scheduler.OneCycleMomentum, **momentum)
    for name, setting, arguments in scheduling.KERAS:
        yield f"keras/{name}/{setting}", functools.partial(getattr(keras.schedules, name), **arguments)


SCHEDULES = list(schedules())


@pytest.mark.parametrize("x64", [False, True], ids=["float32", "float64"])
@pytest.mark.parametrize(("key", "build"), SCHEDULES, ids=[key for key, _ in SCHEDULES])
def test_rates_are_theirs(key, build, x64):
    theirs = golden()[key]
    with jax.enable_x64(x64):
        schedule = build()
        ours = jax.jit(schedule)(jnp.arange(len(theirs)))
        assert ours.dtype == (jnp.float64 if x64 else jnp.float32)
        tolerance = 1e-12 if x64 and not key.startswith("keras/Cosine") else 2e-6  # Keras's cosine on JAX is that of float32
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * np.max(np.abs(theirs)))
        one = [float(schedule(k)) for k in (0, 1, 25)]
        np.testing.assert_allclose(one, theirs[[0, 1, 25]], rtol=tolerance, atol=tolerance * np.max(np.abs(theirs)))
        assert np.isfinite(schedule(2**31 - 1))


@pytest.mark.parametrize(("key", "build"), SCHEDULES, ids=[key for key, _ in SCHEDULES])
def test_a_schedule_is_a_record(key, build):
    """It prints as the call that makes it, compares by value, pickles, and may be an optimizer's rate."""
    schedule = build()
    if "ramp" not in key:
        assert (
            eval(repr(schedule), {**vars(keras.schedules), **{n: getattr(lr_scheduler, n) for n in dir(lr_scheduler)}}) == schedule
        )
    assert build() == schedule == pickle.loads(pickle.dumps(schedule))
    params = jnp.ones(2)
    tx = torch.sgd(schedule)
    state = gx.resume_at(tx, tx.init(params), 7)
    updates, _ = jax.jit(tx.update)(params, state, params)
    np.testing.assert_allclose(updates, -golden()[key][7] * np.ones(2), rtol=1e-5, atol=1e-7)


@pytest.mark.fast
def test_the_period_of_a_cosine_is_exact_far_out():
    waves = lr_scheduler.CosineAnnealingLR(0.1, T_max=13)
    np.testing.assert_allclose(waves(26 * 10**7 + 5), waves(5), rtol=1e-6)
    restarts = lr_scheduler.CosineAnnealingWarmRestarts(0.1, T_0=10, T_mult=3)
    begin = 10 * (3**15 - 1) // 2
    np.testing.assert_allclose([restarts(begin), restarts(begin - 1)], [0.1, 0], rtol=1e-6, atol=1e-8)


@pytest.mark.fast
def test_arguments_and_defaults_are_theirs():
    theirs = json.loads(str(golden()["signatures"]))
    for system, room in (("torch", lr_scheduler), ("keras", keras.schedules)):
        for name, arguments in theirs[system].items():
            ours = inspect.signature(getattr(room, name)).parameters
            expected = [n for n in arguments if n not in ABSENT]
            own = [] if system == "keras" or name in ("OneCycleLR", "SequentialLR") else ["lr"]
            assert list(ours) == own + expected, name
            for n in expected:
                assert (
                    (arguments[n] == "required") if ours[n].default is inspect.Parameter.empty else ours[n].default == arguments[n]
                )


@pytest.mark.fast
@pytest.mark.parametrize(("setting", "arguments"), scheduling.PLATEAUS, ids=[s for s, _ in scheduling.PLATEAUS])
def test_a_plateau_is_theirs(setting, arguments):
    """A metric that is given to an update changes its rate; an update without one changes nothing."""
    with jax.enable_x64(True):
        tx = gx.chain(torch.sgd(scheduling.LR), lr_scheduler.ReduceLROnPlateau(scheduling.LR, **arguments))
        params = jnp.ones(3)
        state, found, update = tx.init(params), [], jax.jit(tx.update)
        for metric in scheduling.metrics():
            updates, state = update(jnp.ones(3), state, params, value=metric)
            again, state = update(jnp.ones(3), state, params)
            np.testing.assert_array_equal(updates, again)
            found.append(-float(updates[0]))
    np.testing.assert_allclose(found, golden()[f"plateau/{setting}"], rtol=1e-12)
    assert len(set(found)) > 2


@pytest.mark.fast
def test_laws_of_a_plateau():
    report = examine(lr_scheduler.ReduceLROnPlateau(0.1), laws=[1, 2, 3, 4, 6, 7, 10, 12, 13])
    assert report.ok, report


@pytest.mark.fast
@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: lr_scheduler.StepLR(0.1), "StepLR: missing a required argument: 'step_size'"),
        (lambda: lr_scheduler.StepLR(0.1, 0), "StepLR: `step_size` must be a whole number in [1, inf), but got 0"),
        (lambda: lr_scheduler.MultiStepLR(0.1, 30), "MultiStepLR: `milestones` must be a list of numbers of steps, but got 30"),
        (lambda: lr_scheduler.LambdaLR(0.1, 0.5), "LambdaLR: `lr_lambda` must be a function"),
        (lambda: lr_scheduler.OneCycleLR(0.1, epochs=3), "OneCycleLR: give `total_steps`, or `epochs` and `steps_per_epoch`"),
        (lambda: lr_scheduler.OneCycleLR(0.1, 10, anneal_strategy="sine"), "`anneal_strategy` must be one of 'cos', 'linear'"),
        (lambda: lr_scheduler.SequentialLR([lr_scheduler.StepLR(0.1, 3)], [5]), "one boundary is needed between each schedule"),
        (lambda: lr_scheduler.ReduceLROnPlateau(0.1, mode="least"), "`mode` must be one of 'min', 'max', but got 'least'"),
        (lambda: keras.schedules.PiecewiseConstantDecay([1, 2], [0.1]), "one boundary is needed between each value and the next"),
        (lambda: keras.schedules.CosineDecayRestarts(0.1, 10, t_mul=0.5), "CosineDecayRestarts: `t_mul` must be"),
    ],
)
def test_errors(build, text):
    with pytest.raises(gx.HyperparameterError) as info:
        build()
    assert text in str(info.value)


def warm(step):
    if step < 10:
        return (step + 1) / 10
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - 10) / 40)))


@pytest.mark.fast
def test_a_lambda_of_python_numbers_says_what_to_write():
    """Eagerly its step is a number; under `jit` the message names `tabulate`, which makes a schedule of it."""
    tx = torch.sgd(lr_scheduler.LambdaLR(0.1, warm))
    with pytest.raises(gx.HyperparameterError, match=r"LambdaLR: `lr_lambda` is .*warm.*`jnp.where.*tabulate\(f, steps\)"):
        jax.jit(tx.update)(jnp.ones(2), tx.init(jnp.ones(2)), jnp.ones(2))
    tx = torch.sgd(lr_scheduler.LambdaLR(0.1, gx.tabulate(warm, 51)))
    state, rates = tx.init(jnp.ones(1)), []
    for _ in range(60):
        updates, state = jax.jit(tx.update)(jnp.ones(1), state, jnp.ones(1))
        rates.append(-float(updates[0]))
    np.testing.assert_allclose(rates, [0.1 * warm(k) for k in range(60)], rtol=1e-6, atol=1e-9)
