"""Hyperparameters in the state, and those of any chain: what was used, what comes next, and what it costs to change them."""

import pickle
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import optax

import gradxform as gx
from gradxform.testing import examine
from gradxform.testing._case import case_for

PARAMS = {"w": jnp.ones((4, 6)), "b": jnp.full(3, 0.5)}
SCHEDULE = gx.linear_schedule(1.0, 0.0, 10)
MOMENTUM = gx.linear_schedule(0.9, 0.5, 10)


def gradients(k, dtype=jnp.float32):
    rng = np.random.default_rng(k)
    return {name: jnp.asarray(rng.normal(size=p.shape), dtype) for name, p in PARAMS.items()}


def run(tx, steps=3, params=PARAMS, update=None, **extra):
    state, u = tx.init(params), None
    for k in range(steps):
        u, state = (update or tx.update)(gradients(k), state, params, **extra)
    return u, state


def same(a, b, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(np.float64(x), np.float64(y), **(tolerance or {"rtol": 1e-5})), a, b)


class TestInject:
    @pytest.mark.parametrize("factory", [gx.adam, optax.adam])
    def test_numbers_and_state_are_those_of_optax(self, factory):
        ours = gx.inject_hyperparams(factory)(SCHEDULE, b1=0.8)
        theirs = optax.inject_hyperparams(optax.adam)(SCHEDULE, b1=0.8)
        (u, state), (v, other) = run(ours), run(theirs)
        same(u, v)
        assert type(state)._fields == type(other)._fields
        same(jax.tree.leaves(state), jax.tree.leaves(other))
        u, _ = ours.update(gradients(7), other, PARAMS)  # and a state of theirs goes on here
        v, _ = theirs.update(gradients(7), other, PARAMS)
        same(u, v)

    def test_bfloat16_parameters_do_not_round_hyperparameters(self):  # optax #1414
        params = jax.tree.map(lambda p: p.astype(jnp.bfloat16), PARAMS)
        for factory in (gx.adam, optax.adam):
            tx = gx.inject_hyperparams(factory)(1e-3)
            state = tx.init(params)
            assert {x.dtype for x in state.hyperparams.values()} == {jnp.dtype(jnp.float32)}
            u, state = tx.update(gradients(0, jnp.bfloat16), state, params)
            assert all(np.isfinite(np.float32(x)).all() for x in jax.tree.leaves(u))
            np.testing.assert_allclose(state.hyperparams["b2"], 0.999, rtol=1e-7)

    @pytest.mark.parametrize("factory", [gx.adafactor, optax.adafactor, optax.lbfgs])
    def test_whole_numbers_and_flags_are_static(self, factory):  # optax #412
        tx = gx.inject_hyperparams(factory)(learning_rate=0.1)
        state = jax.jit(tx.init)(PARAMS)
        assert "learning_rate" in state.hyperparams
        assert not {"min_dim_size_to_factor", "factored", "memory_size", "scale_init_precond"} & set(state.hyperparams)
        f = lambda p: sum(jnp.sum(x**2) for x in jax.tree.leaves(p))
        extra = {"value": 1.0, "grad": gradients(0), "value_fn": f} if factory.__name__ == "lbfgs" else {}
        u, _ = jax.jit(lambda g, s: tx.update(g, s, PARAMS, **extra))(gradients(0), state)
        assert jax.tree.structure(u) == jax.tree.structure(PARAMS)

    def test_a_whole_number_in_the_place_of_a_float_is_a_hyperparameter(self):
        for factory in (gx.sgd, optax.sgd):
            assert gx.inject_hyperparams(factory)(1).init(PARAMS).hyperparams["learning_rate"].dtype == jnp.float32

    def test_dtypes_masks_and_keys_are_static(self):  # optax PR #1169
        def noisy(key, size=0.1, mask=None, dtype=None):
            return gx.chain(gx.masked(gx.add_noise(1e-3, 0.55, key), mask), gx.scale(-size))

        tx = gx.inject_hyperparams(noisy, static_args="mask")(jax.random.key(3), mask=lambda p: True, dtype=jnp.bfloat16)
        assert set(tx.init(PARAMS).hyperparams) == {"size"}
        tx = gx.inject_hyperparams(gx.adamw)(1e-3, mu_dtype=jnp.bfloat16, mask=lambda p: jax.tree.map(lambda x: x.ndim > 1, p))
        u, state = run(tx)
        assert "mask" not in state.hyperparams
        assert "mu_dtype" not in state.hyperparams
        same(u, run(gx.adamw(1e-3, mu_dtype=jnp.bfloat16, mask=gx.by_ndim(2)))[0])

    def test_strong_arrays_stay_what_they_are(self):
        tx = gx.inject_hyperparams(gx.scale_by_adam)(b1=jnp.asarray(0.9, jnp.bfloat16), b2=np.float32(0.99))
        state = tx.init(PARAMS)
        assert (state.hyperparams["b1"].dtype, state.hyperparams["b2"].dtype) == (jnp.bfloat16, jnp.float32)
        tx = gx.inject_hyperparams(gx.scale_by_adam, hyperparam_dtype=jnp.bfloat16)()
        assert tx.init(PARAMS).hyperparams["b1"].dtype == jnp.bfloat16

    def test_wider_parameters_have_wider_hyperparameters(self, x64):
        params = {"w": jnp.ones(2, jnp.float64)}
        tx = gx.inject_hyperparams(gx.adam)(1e-3, b1=MOMENTUM)
        state = tx.init(params)
        assert state.hyperparams["learning_rate"].dtype == jnp.float64
        assert tx.init({"w": jnp.ones(2, jnp.float32)}).hyperparams["learning_rate"].dtype == jnp.float32

    @pytest.mark.parametrize("schedule", [lambda k: 3, lambda k: k, optax.constant_schedule(3), gx.constant_schedule(3), SCHEDULE])
    def test_the_state_is_arrays_of_one_kind_from_first_to_last(self, schedule):
        tx = gx.inject_hyperparams(gx.sgd)(schedule, momentum=0.9)
        state = tx.init(PARAMS)
        kinds = lambda s: [(jax.typeof(x), x.weak_type) for x in jax.tree.leaves(s)]
        assert all(isinstance(x, jax.Array) for x in jax.tree.leaves(state))
        assert kinds(state) == kinds(run(tx)[1]) == kinds(run(tx, update=jax.jit(tx.update))[1])

    def test_the_first_value_is_that_of_0(self):  # optax #415
        tx = gx.inject_hyperparams(gx.scale)(lambda k: k)
        u, _state = run(tx, 1)
        same(u, jax.tree.map(jnp.zeros_like, PARAMS))
        assert float(run(tx, 3)[1].hyperparams["step_size"]) == 2

    def test_overriding(self):
        tx = gx.inject_hyperparams(gx.sgd)(0.1)
        state = tx.init(PARAMS)
        step = jax.jit(tx.update)
        _, state = step(gradients(0), state, PARAMS)
        for value in (0.5, 2):  # a Python number is weakly typed; the dtype that was there comes back
            state.hyperparams["learning_rate"] = value
            u, state = step(gradients(1), state, PARAMS)
            same(u, jax.tree.map(lambda g, v=value: -v * g, gradients(1)))
            assert jax.typeof(state.hyperparams["learning_rate"]) == jax.typeof(jnp.float32(1))
        scheduled = gx.inject_hyperparams(gx.sgd)(SCHEDULE)
        state = scheduled.init(PARAMS)
        state.hyperparams["learning_rate"] = 7.0
        u, _ = scheduled.update(gradients(0), state, PARAMS)
        same(u, jax.tree.map(jnp.negative, gradients(0)))
        with pytest.raises(gx.HyperparameterError, match="follows a schedule"):
            gx.set_hyperparams(scheduled, state, learning_rate=0.1)

    def test_a_second_call_and_another_value_compile_nothing(self):
        tx = gx.inject_hyperparams(gx.adamw)(1e-3, b1=MOMENTUM)
        step = jax.jit(tx.update)
        _, state = run(tx, 3, update=step)
        _, state = gx.set_hyperparams(tx, state, learning_rate=0.5)
        step(gradients(0), state, PARAMS)
        again = jax.jit(gx.inject_hyperparams(gx.adamw)(1e-3, b1=MOMENTUM).update)
        again(gradients(0), state, PARAMS)
        assert step._cache_size() == 1

    def test_stateful_schedules_and_extra_arguments(self):
        class Total(NamedTuple):
            total: jax.Array

        class Summed:
            def init(self):
                return Total(jnp.zeros([]))

            def update(self, state, **extra):
                return Total(state.total + extra["value"])

            def __call__(self, state, **extra):
                return state.total

        tx = gx.inject_hyperparams(gx.scale)(Summed())
        assert isinstance(gx.schedules.WrappedSchedule(SCHEDULE).init().count, jax.Array)
        _, state = run(tx, 3, value=0.25)
        assert float(state.hyperparams["step_size"]) == 0.5
        assert float(state.hyperparams_states["step_size"].total) == 0.75
        needs = gx.inject_hyperparams(lambda factor: gx.chain(gx.scale(factor), gx.polyak_sgd()))(1.0)
        run(needs, 1, value=1.0)

    def test_it_is_a_specification_and_keeps_the_laws(self):
        tx = gx.inject_hyperparams(gx.adam)(1e-3, b1=MOMENTUM)
        assert tx == gx.inject_hyperparams(gx.adam)(1e-3, b1=MOMENTUM) != gx.inject_hyperparams(gx.adam)(2e-3, b1=MOMENTUM)
        assert pickle.loads(pickle.dumps(tx)) == tx
        assert repr(gx.inject_hyperparams(gx.adam)(0.1)) == "inject_hyperparams(adam)(learning_rate=0.1)"
        report = examine(tx, laws=[1, 2, 3, 6, 9, 12, 13, 16])
        assert report.ok, report

    def test_refusals(self):
        with pytest.raises(ValueError, match="must name arguments of adam"):
            gx.inject_hyperparams(gx.adam, static_args="learning")


CASES = {
    "chain": (gx.chain(gx.clip_by_global_norm(1.0), gx.adam(SCHEDULE)), "learning_rate"),
    "masked": (gx.masked(gx.adam(SCHEDULE), gx.by_ndim(2)), "learning_rate"),
    "named_chain": (gx.named_chain(("first", gx.scale(2.0)), ("last", gx.scale(SCHEDULE))), "last.step_size"),
    "partition": (
        gx.partition({"head": gx.sgd(SCHEDULE, 0.9), "rest": gx.sgd(0.5)}, {"w": "head", "b": "rest"}),
        "head.learning_rate",
    ),
    "apply_if_finite": (gx.apply_if_finite(gx.adam(SCHEDULE), 3), "learning_rate"),
    "inject": (gx.inject_hyperparams(gx.adam)(SCHEDULE), "learning_rate"),
    "inject inside": (gx.chain(gx.clip(1.0), gx.inject_hyperparams(gx.adam)(SCHEDULE)), "learning_rate"),
    "optax's inject": (gx.chain(gx.clip(1.0), optax.inject_hyperparams(optax.adam)(SCHEDULE)), "learning_rate"),
}


@pytest.mark.parametrize("name", CASES)
def test_get_hyperparams_reads_what_the_last_update_used(name):  # optax #206, #312, PR #363
    tx, rate = CASES[name]
    assert float(gx.get_hyperparams(tx, tx.init(PARAMS))[rate]) == 1.0
    _, state = run(tx, 1)
    assert float(gx.get_hyperparams(tx, state)[rate]) == 1.0
    _, state = run(tx, 3)
    np.testing.assert_allclose(gx.get_hyperparams(tx, state)[rate], SCHEDULE(2), rtol=1e-6)


def test_get_hyperparams_counts_the_inner_updates_of_accumulate():
    tx = gx.accumulate(gx.adam(SCHEDULE), 2)
    rates = [float(gx.get_hyperparams(tx, run(tx, n)[1])["learning_rate"]) for n in range(6)]
    np.testing.assert_allclose(rates, [1.0, 1.0, 1.0, 1.0, 0.9, 0.9], rtol=1e-6)


def test_get_hyperparams_in_a_compiled_step():
    tx = gx.chain(gx.clip(1.0), gx.adamw(SCHEDULE))

    @jax.jit
    def step(state):
        _, state = tx.update(gradients(0), state, PARAMS)
        return state, gx.get_hyperparams(tx, state)

    state, found = step(tx.init(PARAMS))
    state, found = step(state)
    np.testing.assert_allclose(found["learning_rate"], 0.9, rtol=1e-6)
    assert {"max_delta", "b1", "b2", "eps", "eps_root", "weight_decay", "learning_rate"} == set(found)


@pytest.mark.fast
def test_names_that_several_stages_have():
    tx = gx.chain(gx.scale_by_adam(b1=0.8), gx.scale_by_lion(), gx.trace(0.9), gx.trace(0.5), gx.scale(0.1))
    found = gx.get_hyperparams(tx, tx.init(PARAMS))
    assert found["adam.b1"] == 0.8
    assert found["lion.b1"] == 0.9
    assert (found["trace[0].decay"], found["trace[1].decay"]) == (0.9, 0.5)
    assert found["step_size"] == 0.1
    groups = gx.partition({"a": gx.sgd(0.1), "b": gx.sgd(0.2)}, {"w": "a", "b": "b"})
    assert gx.get_hyperparams(groups, groups.init(PARAMS)) == {"a.learning_rate": 0.1, "b.learning_rate": 0.2}
    tx, _ = gx.set_hyperparams(groups, groups.init(PARAMS), **{"b.learning_rate": 0.7})
    assert tx == gx.partition({"a": gx.sgd(0.1), "b": gx.sgd(0.7)}, {"w": "a", "b": "b"})


def test_set_hyperparams_gives_the_transformation_that_it_would_have_been():
    tx = gx.chain(gx.clip(1.0), gx.masked(gx.apply_if_finite(gx.adamw(0.1), 2), gx.by_ndim(2)))
    _, state = run(tx)
    new, after = gx.set_hyperparams(tx, state, learning_rate=0.3, b1=0.5)
    assert new == gx.chain(gx.clip(1.0), gx.masked(gx.apply_if_finite(gx.adamw(0.3, b1=0.5), 2), gx.by_ndim(2)))
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert all(a is b for a, b in zip(jax.tree.leaves(after), jax.tree.leaves(state), strict=True))
    assert gx.set_hyperparams(tx, state) == (tx, state)
    mechanic = gx.mechanize(gx.sgd(1.0))
    assert gx.set_hyperparams(mechanic, mechanic.init(PARAMS), eps=1e-4)[0] == gx.mechanize(gx.sgd(1.0), eps=1e-4)


def test_a_number_in_the_place_of_a_schedule_keeps_the_clock():
    tx = gx.adam(SCHEDULE)
    _, state = run(tx, 3)
    new, state = gx.set_hyperparams(tx, state, learning_rate=0.25)
    _u, state = new.update(gradients(3), state, PARAMS)
    assert int(state[1].count) == 4
    assert float(gx.get_hyperparams(new, state)["learning_rate"]) == 0.25
    other, _ = gx.set_hyperparams(new, state, learning_rate=SCHEDULE)  # and back
    assert other == tx
    with pytest.raises(gx.StructureError, match="transfer_state"):
        gx.set_hyperparams(gx.adam(0.1), gx.adam(0.1).init(PARAMS), learning_rate=SCHEDULE)
    assert gx.set_hyperparams(gx.adam(0.1), gx.adam(0.1).init(PARAMS), b1=MOMENTUM)[0] == gx.adam(
        0.1, b1=MOMENTUM
    )  # its count serves


def test_the_rate_as_an_input_of_a_step_compiles_once():  # optax #577
    tx = gx.chain(gx.clip(1.0), gx.adam(0.1))

    @jax.jit
    def step(state, rate):
        now, state = gx.set_hyperparams(tx, state, learning_rate=rate)
        return now.update(gradients(0), state, PARAMS)

    state = tx.init(PARAMS)
    for rate in (0.1, 0.5):
        u, new = step(state, rate)
        same(u, gx.chain(gx.clip(1.0), gx.adam(rate)).update(gradients(0), state, PARAMS)[0])
        assert jax.tree.structure(new) == jax.tree.structure(state)
    assert step._cache_size() == 1
    rates = jnp.array([0.1, 0.5])
    swept = jax.vmap(lambda rate: step(state, rate)[0])(rates)
    assert swept["w"].shape == (2, 4, 6)


def test_set_hyperparams_in_the_state():
    for tx in (gx.inject_hyperparams(gx.adam)(0.1), optax.inject_hyperparams(optax.adam)(0.1)):
        state = tx.init(PARAMS)
        same_tx, new = gx.set_hyperparams(tx, state, learning_rate=0.5)
        assert same_tx is tx
        assert jax.typeof(new.hyperparams["learning_rate"]) == jax.typeof(state.hyperparams["learning_rate"])
        assert float(state.hyperparams["learning_rate"]) == pytest.approx(0.1)  # the old state is as it was
        same(tx.update(gradients(0), new, PARAMS)[0], gx.adam(0.5).update(gradients(0), gx.adam(0.5).init(PARAMS), PARAMS)[0])


@pytest.mark.fast
def test_set_hyperparams_refuses():
    tx = gx.chain(gx.scale_by_adam(), gx.scale_by_lion())
    state = tx.init(PARAMS)
    with pytest.raises(gx.UnknownNameError, match=r"Several have: adam\.b1, lion\.b1"):
        gx.set_hyperparams(tx, state, b1=0.5)
    with pytest.raises(gx.UnknownNameError, match="Did you mean 'eps'"):
        gx.set_hyperparams(tx, state, epsi=0.5)
    with pytest.raises(gx.HyperparameterError, match=r"scale_by_adam: `b1` must be .* in \(-1, 1\)"):
        gx.set_hyperparams(tx, state, **{"adam.b1": 1.5})
    with pytest.raises(gx.StructureError, match="get_hyperparams: expected a GradientTransformation"):
        gx.get_hyperparams(gx.adam, state)


RATES = [name for name in gx.names() if gx.entry(name).example.get("learning_rate") is not None]


def test_the_rate_of_every_optimizer_is_read_and_set():
    for name in RATES:
        case = case_for(name)
        state = case.tx.init(case.params())
        rates = [x for x in gx.get_hyperparams(case.tx, state) if x.rpartition(".")[2] == "learning_rate"]
        assert rates, name
        new, after = gx.set_hyperparams(case.tx, state, **dict.fromkeys(rates, 0.0625))
        assert {gx.get_hyperparams(new, after)[rate] for rate in rates} == {0.0625}, name
        moved = gx.transfer_state(case.tx, state, new, case.params())
        assert (moved.fresh, moved.dropped) == ((), ()), name
