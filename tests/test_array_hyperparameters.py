"""Hyperparameters that are arrays: a value for each coordinate, in every place where a number or a schedule may stand."""

import copy
import functools
import pickle
import re
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from by_day import by_name

import gradxform as gx
from gradxform import registry
from gradxform._types import Decay, Field, NonNegative, Shared
from gradxform.testing import examine

PARAMS = {"w": jnp.array([[0.5, -1.0, 2.0], [1.0, 0.3, -0.7]]), "v": jnp.array([0.2, -0.4, 0.9])}
UNEVEN = {"w": jnp.ones((2, 3)), "s": jnp.ones(())}
RATES = jnp.array([0.1, 0.2, 0.3])


def gradients(step, params=PARAMS):
    rng = np.random.default_rng(step)
    return jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), p.dtype), params)


def run(tx, steps=2, params=PARAMS, **extra):
    """All updates; the parameters move."""
    state, updates = tx.init(params), []
    for k in range(steps):
        u, state = tx.update(gradients(k, params), state, params, **extra)
        params = jax.tree.map(lambda p, x: p + jnp.asarray(0.1, p.dtype) * x, params, u)
        updates.append(u)
    return updates


def same(a, b, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **({"rtol": 1e-5, "atol": 1e-7} | tolerance)), a, b)
    assert [x.shape for x in jax.tree.leaves(a)] == [x.shape for x in jax.tree.leaves(b)]


def spread(value):
    """Three values about one, on its side of 1."""
    return (
        1 - (1 - value) * np.array([1.0, 0.8, 1.3], np.float32)
        if 0.8 < value < 1
        else value * np.array([1.0, 0.9, 1.1], np.float32)
    )


RATED = [  # optimizers of Optax with a rate
    "adabelief", "adafactor", "adagrad", "adam", "adamax", "adamaxw", "adamw", "amsgrad", "fromage", "lamb", "lars", "lion",
    "nadam", "nadamw", "novograd", "optimistic_adam_v2", "optimistic_gradient_descent", "radam", "rmsprop", "sgd", "sign_sgd",
    "sm3", "yogi", "contrib.ademamix", "contrib.acprop", "contrib.cocob", "contrib.dog", "contrib.dowg", "contrib.muon",
    "contrib.schedule_free_adamw", "contrib.schedule_free_sgd", "contrib.galore", "scale_by_learning_rate",
]  # fmt: skip
USES = [  # public functions of Optax, an argument of each, and a value about which three coordinates have theirs
    *[(name, "learning_rate", 0.1) for name in RATED],
    *[("adam", name, value) for name, value in {"b1": 0.9, "b2": 0.999, "eps": 1e-3, "eps_root": 1e-3}.items()],
    *[("adamw", "weight_decay", 0.01), ("lion", "b2", 0.99), ("sgd", "momentum", 0.9), ("rmsprop", "decay", 0.9), ("yogi", "b1", 0.9)],
    *[("adagrad", "initial_accumulator_value", 0.1), ("rmsprop", "initial_scale", 0.1), ("adafactor", "weight_decay_rate", 0.01)],
    *[("adafactor", "clipping_threshold", 0.5), ("lamb", "eps", 1e-3), ("novograd", "eps", 1e-3), ("radam", "b2", 0.999)],
    *[("scale", "step_size", 0.3), ("clip", "max_delta", 0.5), ("add_decayed_weights", "weight_decay", 0.01), ("trace", "decay", 0.9)],
    *[("ema", "decay", 0.9), ("clip_by_block_rms", "threshold", 0.5), ("adaptive_grad_clip", "clipping", 0.1)],
    *[("scale_by_trust_ratio", "trust_coefficient", 0.5), ("scale_by_param_block_norm", "min_scale", 0.1), ("scale_by_rms", "eps", 0.1)],
    *[("normalize_by_update_norm", "scale_factor", 0.7), ("contrib.schedule_free_sgd", "b1", 0.9)],
    *[("contrib.schedule_free_adamw", "weight_decay", 0.01), ("contrib.schedule_free_sgd", "weight_lr_power", 2.0)],
    *[("contrib.galore", "scale", 0.7), ("contrib.dog", "eps", 0.1), ("contrib.dadapt_adamw", "weight_decay", 0.01)],
    *[("contrib.prodigy", "weight_decay", 0.01), ("contrib.prodigy", "eps", 0.1), ("contrib.dadapt_adamw", "eps", 0.1)],
    *[(name, "learning_rate", rate) for name in ("contrib.momo", "contrib.momo_adam") for rate in (0.01, 0.1, 10.0)],
]  # fmt: skip


def made(library, name, **arguments):
    return functools.reduce(getattr, name.split("."), library)(**arguments)


@pytest.mark.parametrize(("name", "argument", "value"), USES)
def test_what_optax_broadcasts_is_the_same_here(name, argument, value):
    rate = {} if argument == "learning_rate" or "scale_by" in name else {"learning_rate": 0.1}
    declared = getattr(gx, name.split(".")[-1]).declaration.parameters
    takes_one = "learning_rate" in declared and name != "add_decayed_weights"  # which has it for policies that Optax lacks
    given = (rate if takes_one else {}) | {argument: jnp.asarray(spread(value))}
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        theirs = run(optax.with_extra_args_support(made(optax, name, **given)), value=1.0)
    same(theirs, run(made(gx, name, **given), value=1.0), rtol=3e-4)


SCHEDULES = [
    ("cosine_decay_schedule", lambda x: {"init_value": x, "decay_steps": 10, "alpha": x / 2}),
    ("linear_schedule", lambda x: {"init_value": x, "end_value": x / 2, "transition_steps": 5, "transition_begin": 2}),
    ("polynomial_schedule", lambda x: {"init_value": x, "end_value": 0.1, "power": x + 1, "transition_steps": 5}),
    ("exponential_decay", lambda x: {"init_value": x, "transition_steps": 3, "decay_rate": x}),
    ("piecewise_constant_schedule", lambda x: {"init_value": x, "boundaries_and_scales": {3: 0.5}}),
    (
        "piecewise_interpolate_schedule",
        lambda x: {"interpolate_type": "linear", "init_value": x, "boundaries_and_scales": {3: 0.5}},
    ),
    ("warmup_constant_schedule", lambda x: {"init_value": 0.0, "peak_value": x, "warmup_steps": 3}),
    ("warmup_cosine_decay_schedule", lambda x: {"init_value": x / 2, "peak_value": x, "warmup_steps": 3, "decay_steps": 9}),
    ("linear_onecycle_schedule", lambda x: {"transition_steps": 9, "peak_value": x}),
    ("cosine_onecycle_schedule", lambda x: {"transition_steps": 9, "peak_value": x}),
    ("wsd_schedule", lambda x: {"init_value": 0.0, "peak_value": x, "warmup_steps": 2, "stable_steps": 3, "decay_steps": 4}),
    ("inverse_time_schedule", lambda x: {"init_value": x, "decay_rate": 0.1}),
    ("rsqrt_schedule", lambda x: {"init_value": 0.0, "peak_value": x, "warmup_steps": 3}),
    ("cyclic_triangular_schedule", lambda x: {"init_value": 0.1, "peak_value": x, "transition_steps": 3}),
    ("rex_schedule", lambda x: {"init_value": x, "end_value": 0.0, "transition_steps": 5}),
    ("constant_schedule", lambda x: {"value": x}),
]
TAKEN_BY_OPTAX = (
    "cosine_decay_schedule", "linear_schedule", "polynomial_schedule", "piecewise_constant_schedule", "warmup_constant_schedule"
)  # fmt: skip


@pytest.mark.parametrize(("name", "arguments"), SCHEDULES)
def test_a_schedule_of_arrays_has_a_schedule_in_each_coordinate(name, arguments):
    make, numbers = getattr(gx, name), [0.2, 0.4, 0.8]
    schedule, ones = make(**arguments(jnp.array(numbers))), [make(**arguments(x)) for x in numbers]
    for k in (0, 2, 4, 20):
        np.testing.assert_allclose(schedule(k), [one(k) for one in ones], rtol=1e-5, atol=1e-8)
    counts = jnp.arange(6).reshape(2, 3)
    np.testing.assert_allclose(schedule(counts), jnp.stack([one(counts) for one in ones], -1), rtol=1e-5, atol=1e-8)
    assert schedule == make(**arguments(jnp.array(numbers))) == pickle.loads(pickle.dumps(schedule))
    if name in TAKEN_BY_OPTAX:
        with jax.numpy_rank_promotion("allow"):
            np.testing.assert_allclose(schedule(4), getattr(optax, name)(**arguments(jnp.array(numbers)))(4), rtol=1e-5)


def elementwise():
    for name in gx.names(kind="*"):
        entry = registry.entry(name)
        if not entry.needs and entry.ndim is None and entry().update.scope == "elementwise":
            data = [p for p in entry.parameters.values() if p.is_data and isinstance(entry.example.get(p.name, p.default), float)]
            if data:
                yield name


@by_name(list(elementwise()))
def test_each_coordinate_is_as_with_its_own_number(name):
    """Of every registered transformation that treats all elements alike, all its hyperparameters at once, dialects included."""
    entry = registry.entry(name)
    values = {p.name: entry.example.get(p.name, p.default) for p in entry.parameters.values() if p.is_data}
    arrays = {n: spread(v) for n, v in values.items() if isinstance(v, float)}
    if "b1" in arrays and entry.parameters["b1"].range.is_fraction:
        arrays["b1"] = np.float32([0.9, 0.5, 0.7])
    made_of = run(entry(**{n: jnp.asarray(x) for n, x in arrays.items()}))
    for i in range(3):
        column = {"w": PARAMS["w"][:, i : i + 1], "v": PARAMS["v"][i : i + 1]}
        state, tx = None, entry(**{n: float(x[i]) for n, x in arrays.items()})
        state = tx.init(column)
        for k in range(2):
            g = gradients(k)
            u, state = tx.update({"w": g["w"][:, i : i + 1], "v": g["v"][i : i + 1]}, state, column)
            same(u, {"w": made_of[k]["w"][:, i : i + 1], "v": made_of[k]["v"][i : i + 1]}, rtol=2e-4, atol=1e-6)
            column = jax.tree.map(lambda p, x: p + 0.1 * x, column, u)


FORMS = {
    "array": lambda make: make(RATES),
    "NumPy": lambda make: make(np.asarray(RATES)),
    "schedule": lambda make: make(lambda k: RATES),
    "schedule of arrays": lambda make: make(gx.constant_schedule(RATES)),
    "injected": lambda make: gx.inject_hyperparams(make)(RATES),
    "injected schedule": lambda make: gx.inject_hyperparams(make)(lambda k: RATES),
    "more axes": lambda make: make(RATES[None, None]),
    "as a whole": lambda make: gx.set_hyperparams(make(0.5), make(0.5).init(PARAMS), learning_rate=RATES)[0],
}


@pytest.mark.parametrize("form", FORMS)
class TestForms:
    def test_all_give_the_same_updates(self, form):
        same(run(gx.adamw(RATES)), run(FORMS[form](gx.adamw)))

    def test_the_leaf_that_it_does_not_fit_is_named(self, form):
        tx = FORMS[form](gx.sgd)
        with pytest.raises(gx.HyperparameterError, match=r"`learning_rate` has shape .*3.* the leaf 's' of shape \(\)"):
            tx.update(UNEVEN, tx.init(UNEVEN), UNEVEN)

    def test_flatten_refuses_it_by_name(self, form):
        with pytest.raises(gx.StructureError, match=r"scale_by_learning_rate.* is per_leaf"):
            gx.flatten(FORMS[form](gx.adamw))


@pytest.mark.parametrize(("shape", "leaf", "fits"), [
    ((3,), (3,), True), ((3,), (2, 3), True), ((2, 1), (2, 3), True), ((1,), (2, 3), True), ((1,), (), True), ((1, 1, 3), (3,), True),
    ((0,), (0,), True), ((1,), (0,), True), ((3,), (), False), ((3,), (1,), False), ((3,), (3, 2), False), ((2, 3), (3,), False),
    ((0,), (1,), False),
])  # fmt: skip
def test_what_fits_a_leaf_does_not_enlarge_it(shape, leaf, fits):
    rates, p = jnp.asarray(np.arange(1, np.prod(shape) + 1).reshape(shape), jnp.float32), jnp.ones(leaf)
    tx = gx.sgd(rates)
    if fits:
        expected = -np.broadcast_to(np.reshape(rates, shape[max(len(shape) - len(leaf), 0) :]), leaf)
        np.testing.assert_array_equal(tx.update(p, tx.init(p))[0], expected)
    else:
        with pytest.raises(gx.HyperparameterError, match=re.escape(f"`learning_rate` has shape {shape}")):
            tx.update(p, tx.init(p))


@pytest.mark.parametrize("bad", [[0.1, 1.5], [0.1, np.nan], [-1.5, 0.5], [[0.5], [np.inf]]])
def test_ranges_hold_at_every_element(bad):
    for make in (gx.adam, gx.inject_hyperparams(gx.adam)):
        with pytest.raises(
            gx.HyperparameterError, match=r"(?s)adam.*: `b1` must be a number, an array or a schedule in .*out of range"
        ):
            make(0.1, b1=jnp.array(bad))


def test_what_acts_on_all_leaves_is_one_number():
    for make, name, extra in [
        (gx.contrib.momo, "beta", {"value": 1.0}),
        (gx.contrib.momo, "lower_bound", {"value": 1.0}),
        (functools.partial(gx.contrib.momo, adapt_lower_bound=True), "learning_rate", {"value": 1.0}),
        (functools.partial(gx.contrib.momo_adam, adapt_lower_bound=True), "weight_decay", {"value": 1.0}),
        (gx.contrib.momo_adam, "b1", {"value": 1.0}),
        (gx.contrib.prodigy, "estim_lr0", {}),
        (gx.contrib.prodigy, "learning_rate", {}),
        (gx.contrib.prodigy, "estim_lr_coef", {}),
        (gx.contrib.dadapt_adamw, "learning_rate", {}),
        (gx.contrib.dadapt_adamw, "estim_lr0", {}),
        (gx.contrib.dowg, "eps", {}),
        (gx.contrib.reduce_on_plateau, "factor", {"value": 1.0}),
    ]:
        one, three = make(**{name: jnp.array([0.5])}), functools.partial(make, **{name: RATES})
        same(run(one, **extra), run(make(**{name: 0.5}), **extra))
        with pytest.raises(gx.HyperparameterError, match=rf"`{name}` acts on all leaves together.*\(3,\)"):
            run(three(), **extra)


@pytest.mark.parametrize("make", [gx.contrib.momo, gx.contrib.momo_adam])
def test_each_coordinate_decays_at_its_own_rate(make):
    [u] = run(make(0.1, weight_decay=RATES), 1, value=1.0)
    for i, rate in enumerate(RATES):
        [one] = run(make(0.1, weight_decay=float(rate)), 1, value=1.0)
        same(*({"w": x["w"][:, i], "v": x["v"][i]} for x in (u, one)))


def test_what_is_not_used_may_be_an_array():
    with jax.numpy_rank_promotion("allow"):
        theirs = run(optax.contrib.dowg(0.1, 0.3, RATES))
    same(theirs, run(gx.dowg(0.1, 0.3, RATES)))


def test_initial_values_name_the_leaf_too():
    with pytest.raises(gx.HyperparameterError, match=r"adagrad \(scale_by_rss\): `initial_accumulator_value` .* the leaf 's'"):
        gx.adagrad(0.1, initial_accumulator_value=RATES).init(UNEVEN)


def test_engines_vmap_jit_and_narrow_dtypes():
    tx, expected = gx.adam(RATES, b1=jnp.array([0.5, 0.6, 0.7])), run(gx.adam(RATES, b1=jnp.array([0.5, 0.6, 0.7])))
    for name in ("leaf", "stacked", "tree", "plain"):
        with gx.kernels.engine(name):
            same(run(tx), expected)
    batch = jnp.stack([RATES, 2 * RATES])
    both = jax.vmap(lambda r: run(gx.adamw(r)))(batch)
    for i in range(2):
        same(jax.tree.map(lambda x, i=i: x[i], both), run(gx.adamw(batch[i])))
    narrow = jax.tree.map(lambda x: x.astype(jnp.bfloat16), PARAMS)
    assert {x.dtype for x in jax.tree.leaves(run(gx.adamw(RATES), params=narrow))} == {jnp.dtype(jnp.bfloat16)}


def test_it_is_a_value():
    tx = gx.adamw(RATES, weight_decay=np.float32([0.1, 0.0, 0.2]))
    again = gx.adamw(RATES + 0, weight_decay=np.float32([0.1, 0.0, 0.2]))
    assert tx == again != gx.adamw(2 * RATES)
    assert hash(tx) == hash(again)
    assert pickle.loads(pickle.dumps(tx)) == tx == copy.deepcopy(tx)
    assert "0.1, 0.2, 0.3" in repr(tx)


def test_a_run_is_read_and_resumed():
    schedule = gx.cosine_decay_schedule(RATES, 10)
    for tx in (gx.adam(schedule), gx.inject_hyperparams(gx.adam)(schedule)):
        state = tx.init(PARAMS)
        for k in range(3):
            _, state = tx.update(gradients(k), state, PARAMS)
        for at in (state, gx.resume_at(tx, tx.init(PARAMS), 3)):
            np.testing.assert_allclose(gx.get_hyperparams(tx, at)["learning_rate"], schedule(2), rtol=1e-6)


def test_schedule_free_averages_each_coordinate():
    tx, params = gx.contrib.schedule_free_sgd(RATES, b1=jnp.array([0.9, 0.8, 0.7])), PARAMS
    state = tx.init(params)
    for k in range(2):
        u, state = tx.update(gradients(k), state, params)
        params = gx.apply_updates(params, u)
    found = gx.eval_params(tx, state, params)
    for i, (rate, b1) in enumerate(zip(RATES, (0.9, 0.8, 0.7), strict=True)):
        one = gx.contrib.schedule_free_sgd(float(rate), b1=b1)
        p, s = PARAMS["v"][i], one.init(PARAMS["v"][i])
        for k in range(2):
            u, s = one.update(gradients(k)["v"][i], s, p)
            p = gx.apply_updates(p, u)
        np.testing.assert_allclose(found["v"][i], gx.eval_params(one, s, p), rtol=1e-5)


def test_wrappers_expand_it_to_each_leaf():
    tx = gx.lookahead(gx.sgd(0.1), 1, slow_step_size=RATES)
    both = gx.LookaheadParams.init_synced(PARAMS)
    u, _ = tx.update(gradients(0), tx.init(both), both)
    same(u.slow, jax.tree.map(lambda g: -0.1 * RATES * g if g.ndim == 1 else -0.1 * RATES[None] * g, gradients(0)))
    penalty = lambda p: gx.tree.norm(p, squared=True) / 2
    same(run(gx.add_regularizer(penalty, RATES, whole_tree=True)), run(gx.add_decayed_weights(RATES)))
    with pytest.raises(gx.HyperparameterError, match=r"`weight` .* the leaf 's'"):
        run(gx.add_regularizer(penalty, RATES, whole_tree=True), params=UNEVEN)
    with pytest.raises(gx.HyperparameterError, match=r"`slow_step_size` .* the leaf 's'"):
        tx.update(UNEVEN, tx.init(UNEVEN), gx.LookaheadParams.init_synced(UNEVEN))


class AccumulatedState(NamedTuple):
    total: Annotated[Shared, Field(first=lambda rate: 0 * rate, advance=lambda total, c, rate: total + rate)]


@gx.elementwise(AccumulatedState)
def accumulated(g, s, p, c, rate: NonNegative, b: Decay = 0.9):
    return -c.total * (1 - b) * g, s


@gx.per_tree()
def enlarging(g, s, p, c, rate: NonNegative):
    return [rate * x for x in g], s


def test_kernels_of_users():
    for k, u in enumerate(run(accumulated(RATES, b=jnp.array([0.5, 0.6, 0.7])), 3)):
        expected = -(k + 1) * np.asarray(RATES) * np.array([0.5, 0.4, 0.3]) * np.asarray(gradients(k)["w"])
        np.testing.assert_allclose(u["w"], expected, rtol=1e-5)
    uneven = {"s": jnp.ones(()), "v": jnp.ones(3)}
    with pytest.raises(gx.StructureError, match=r"enlarging: at 's' .*\(3,\) was made"):
        enlarging(RATES).update(uneven, enlarging(RATES).init(uneven), uneven)


def test_the_laws_hold():
    report = examine(gx.scale_by_adam(b1=jnp.array([0.9, 0.5, 0.7]), eps=jnp.array([1e-3, 1e-8, 1e-2])), params=PARAMS)
    assert report.ok, str(report)


def test_an_injected_optimizer_is_flattened():
    for rate in (1e-3, gx.linear_schedule(1e-3, 1e-4, 10)):
        for factory in (gx.adam, lambda learning_rate: gx.adamw(learning_rate)):
            tx = gx.inject_hyperparams(factory)(learning_rate=rate)
            same(run(gx.flatten(tx)), run(tx))
    for theirs in (gx.inject_hyperparams(optax.adam)(1e-3), gx.chain(optax.scale_by_adam(), gx.scale(-1e-3))):
        with jax.numpy_dtype_promotion("standard"):  # for Optax
            same(run(gx.flatten(theirs)), run(gx.adam(1e-3)))  # elementwise at the caller's word
    with pytest.raises(gx.StructureError, match="flatten: scale_by_trust_ratio"):
        gx.flatten(gx.inject_hyperparams(gx.lamb)(1e-3))


def test_a_flattened_optimizer_is_not_given_an_array_later():
    tx = gx.flatten(gx.adam(0.1))
    tx, state = gx.set_hyperparams(tx, tx.init(PARAMS), learning_rate=RATES)
    with pytest.raises(gx.StructureError, match=r"scale_by_learning_rate.* is per_leaf"):
        tx.update(gradients(0), state, PARAMS)


UNFIT = [  # changes of what is in the state, and what the error says
    ({"b1": 1.5}, "`b1` must be .*, but got 1.5"),
    ({"b1": np.nan}, "`b1` must be"),
    ({"b1": "fast"}, "`b1` must be"),
    ({"b1": 1j}, "`b1` must be"),
    ({"b1": None}, "`b1` must be"),
    ({"b1": True}, "`b1` must be"),
    ({"b1": RATES}, r"`b1` in the state has shape \(\), .*\(3,\)"),
    ({"learning_rate": jnp.ones((2, 3))}, r"`learning_rate` in the state has shape \(3,\), .*\(2, 3\)"),
    ({"learning_rate": jnp.array([0.1, jnp.nan, 0.1])}, "`learning_rate` must be .*nan is out of range"),
    ({"eps": -1e-8}, "`eps` must be"),
]


class TestInTheState:
    """`set_hyperparams` on values that `inject_hyperparams` keeps."""

    @pytest.mark.parametrize(("changes", "match"), UNFIT)
    def test_what_cannot_be_is_refused(self, changes, match):
        tx = gx.inject_hyperparams(gx.adam)(RATES)
        with pytest.raises(gx.HyperparameterError, match=f"(?s){match}"):
            gx.set_hyperparams(tx, tx.init(PARAMS), **changes)

    @pytest.mark.parametrize("library", [gx, optax])
    def test_nan_and_other_shapes_are_refused_where_nothing_is_declared(self, library):
        tx = library.inject_hyperparams(lambda rate: library.chain(library.clip(1.0), library.sgd(rate)))(rate=0.1)
        for bad in (np.nan, RATES, "fast", 1j):
            with pytest.raises(gx.HyperparameterError, match="`rate`"):
                gx.set_hyperparams(tx, tx.init(PARAMS), rate=bad)
        _, state = gx.set_hyperparams(tx, tx.init(PARAMS), rate=-0.2)
        assert float(state.hyperparams["rate"]) == np.float32(-0.2)

    def test_shape_and_dtype_stay(self):
        tx = gx.inject_hyperparams(gx.adam)(RATES, b2=np.float16(0.9))
        state = tx.init(PARAMS)
        for changes in (
            {"learning_rate": 2 * RATES},
            {"learning_rate": 0.5},
            {"b1": 0.5},
            {"b1": np.float64(0.25)},
            {"b2": jnp.array([0.5])},
        ):
            _, new = gx.set_hyperparams(tx, state, **changes)
            describe = lambda s: {n: (x.shape, x.dtype, x.weak_type) for n, x in s.hyperparams.items()}
            assert describe(new) == describe(state)
            for name, value in changes.items():
                np.testing.assert_array_equal(
                    new.hyperparams[name], np.full(new.hyperparams[name].shape, 0) + np.float32(np.squeeze(value))
                )

    def test_a_whole_number_in_the_state_is_set_to_whole_numbers(self):
        tx = gx.inject_hyperparams(lambda steps: gx.scale(steps.astype(jnp.float32)))(steps=jnp.int32(3))
        state = tx.init(PARAMS)
        assert int(gx.set_hyperparams(tx, state, steps=4.0)[1].hyperparams["steps"]) == 4
        with pytest.raises(gx.HyperparameterError, match="`steps` in the state is a whole number"):
            gx.set_hyperparams(tx, state, steps=2.7)

    def test_inside_jit(self):
        tx = gx.inject_hyperparams(gx.sgd)(RATES)
        state = tx.init(PARAMS)
        step = jax.jit(lambda rate: tx.update(gradients(0), gx.set_hyperparams(tx, state, learning_rate=rate)[1], PARAMS)[0])
        same([step(2 * RATES)], run(gx.sgd(2 * RATES), 1))
        with pytest.raises(gx.HyperparameterError, match="in the state has shape"):
            step(jnp.ones((2, 3)))
