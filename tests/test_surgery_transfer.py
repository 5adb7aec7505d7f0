"""Going on with an optimizer that has changed, and at a step that is known."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradxform as gx

PARAMS = {"w": jnp.ones((4, 6)), "b": jnp.full(3, 0.5)}
SCHEDULE = gx.linear_schedule(1.0, 0.0, 10)
MATRICES = {"w": True, "b": False}


def gradients(k):
    rng = np.random.default_rng(k)
    return {name: jnp.asarray(rng.normal(size=p.shape), jnp.float32) for name, p in PARAMS.items()}


def run(tx, steps=4, state=None, start=0, **extra):
    state = tx.init(PARAMS) if state is None else state
    u = None
    for k in range(start, start + steps):
        u, state = tx.update(gradients(k), state, PARAMS, **extra)
    return u, state


def same(a, b, rtol=1e-6):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol), a, b)


def kinds(state):
    return jax.tree.map(lambda x: (jax.typeof(x), x.weak_type), state)


def moved(old, new, **options):
    """The transfer after four updates, in a state of the new layout that can go on."""
    found = gx.transfer_state(old, run(old)[1], new, PARAMS, **options)
    assert kinds(found.state) == kinds(new.init(PARAMS))
    _, after = new.update(gradients(4), found.state, PARAMS)
    assert kinds(after) == kinds(found.state)
    return found


class TestTransfer:
    def test_the_same_optimizer_goes_on_as_if_nothing_had_happened(self):
        tx = gx.chain(gx.clip(1.0), gx.accumulate(gx.adamw(SCHEDULE, mask=MATRICES), 2))
        found = moved(tx, tx)
        same(found.state, run(tx)[1], rtol=0)
        assert not found.fresh
        assert not found.dropped

    def test_a_stage_more_or_less(self):
        small = gx.adam(0.1)
        large = gx.chain(gx.clip_by_global_norm(1.0), gx.ema(0.5), gx.adamw(0.1))
        found = moved(small, large)
        same(found.state[2][0], run(small)[1][0], rtol=0)
        assert found.carried == ("adam.count", "adam.mu", "adam.nu")
        assert found.fresh == ("ema.count", "ema.ema")
        assert int(found.state[1].count) == 0  # the clock of fresh moments
        back = moved(large, small)
        assert back.dropped == ("ema.count", "ema.ema")
        same(back.state[0], run(large)[1][2][0], rtol=0)

    def test_a_schedule_goes_on_from_the_step_that_the_clocks_show(self):  # optax #1036
        found = moved(gx.adam(0.1), gx.adam(SCHEDULE))
        assert int(found.state[1].count) == 4
        u, _ = gx.adam(SCHEDULE).update(gradients(4), found.state, PARAMS)
        v, _ = gx.adam(float(SCHEDULE(4))).update(gradients(4), run(gx.adam(0.1))[1], PARAMS)
        same(u, v)
        assert int(moved(gx.adam(SCHEDULE), gx.adam(0.1)).state[0].count) == 4
        assert int(moved(gx.sgd(0.1, 0.9), gx.sgd(SCHEDULE, 0.9)).state[1].count) == 0  # no clock to read

    def test_other_numbers_are_those_of_the_new_one(self):
        found = moved(gx.adam(0.1), gx.adam(0.5, b1=0.7))
        assert gx.get_hyperparams(gx.adam(0.5, b1=0.7), found.state)["b1"] == 0.7

    def test_a_mask_comes_and_goes(self):
        whole, part = gx.adam(0.1), gx.masked(gx.adam(0.1), MATRICES)
        found = moved(whole, part)
        same(found.state.inner_state[0].mu["w"], run(whole)[1][0].mu["w"], rtol=0)
        assert not found.fresh
        back = moved(part, whole)
        same(back.state[0].mu["w"], run(part)[1].inner_state[0].mu["w"], rtol=0)
        same(back.state[0].mu["b"], jnp.zeros(3))
        assert back.fresh == ("adam.mu at b", "adam.nu at b")

    def test_partitions(self):
        whole = gx.adam(0.1)
        groups = {"x": gx.adam(0.1), "y": gx.adam(0.2)}
        split = gx.partition(groups, {"w": "x", "b": "y"})
        found = moved(whole, split)
        assert not found.fresh
        same(found.state.inner_states["y"].inner_state[0].mu["b"], run(whole)[1][0].mu["b"], rtol=0)
        back = moved(split, whole)
        same(back.state[0].mu, run(whole)[1][0].mu)
        swapped = moved(split, gx.partition(groups, {"w": "y", "b": "x"}))  # a leaf takes its moments along
        same(swapped.state.inner_states["x"].inner_state[0].mu["b"], run(whole)[1][0].mu["b"])
        mixed = moved(whole, gx.partition({"x": gx.adam(0.1), "y": gx.sgd(0.1, 0.9)}, {"w": "x", "b": "y"}))
        assert mixed.fresh == ("y.trace.trace",)

    def test_a_wrapper_comes_and_goes(self):
        plain = gx.adam(SCHEDULE)
        for wrapped in (gx.accumulate(gx.adam(SCHEDULE), 2), gx.apply_if_finite(gx.adam(SCHEDULE), 3)):
            found = moved(plain, wrapped)
            assert found.carried == ("adam.count", "adam.mu", "adam.nu", "learning_rate.count")
            assert all(name.startswith(wrapped.update.name()) for name in found.fresh)
            back = moved(wrapped, plain)
            assert not back.fresh
        injected = gx.inject_hyperparams(gx.adam)(SCHEDULE)
        found = moved(plain, injected)
        assert int(found.state.hyperparams_states["learning_rate"].count) == 4
        same(gx.get_hyperparams(injected, found.state)["learning_rate"], SCHEDULE(3))
        assert not moved(injected, plain).fresh

    def test_injected_hyperparameters(self):
        old = gx.inject_hyperparams(gx.adam)(0.1)
        _, state = run(old)
        _, state = gx.set_hyperparams(old, state, b1=0.5)
        new = gx.inject_hyperparams(gx.adam)(0.2)
        found = gx.transfer_state(old, state, new, PARAMS).state
        assert float(found.hyperparams["b1"]) == 0.5  # set in the state, and given alike to both
        assert float(found.hyperparams["learning_rate"]) == pytest.approx(0.2)
        scheduled = gx.transfer_state(old, state, gx.inject_hyperparams(gx.adam)(SCHEDULE), PARAMS).state
        assert int(scheduled.hyperparams_states["learning_rate"].count) == 4

    def test_from_optax(self):
        found = moved(optax.chain(optax.clip(1.0), optax.adam(optax.linear_schedule(1.0, 0.0, 10))), gx.adamw(SCHEDULE))
        assert found.carried == ("adam.count", "adam.mu", "adam.nu", "learning_rate.count")
        masked = optax.masked(optax.adam(0.1), MATRICES)
        assert moved(masked, gx.adam(0.1)).fresh == ("adam.mu at b", "adam.nu at b")

    def test_equal_stages_are_matched_by_their_arguments_and_order(self):
        two = gx.chain(gx.trace(0.9), gx.trace(0.5))
        for one, i in ((gx.trace(0.9), 0), (gx.trace(0.5), 1)):
            same(moved(two, one).state.trace, run(two)[1][i].trace, rtol=0)

    def test_dtypes_are_those_of_the_new_state(self):
        found = moved(gx.adam(0.1), gx.adam(0.1, mu_dtype=jnp.bfloat16))
        assert found.state[0].mu["w"].dtype == jnp.bfloat16
        same(found.state[0].mu["w"].astype(jnp.float32), run(gx.adam(0.1))[1][0].mu["w"], rtol=1e-2)

    def test_afresh_on_purpose(self):
        tx = gx.chain(gx.trace(0.9), gx.adam(0.1))
        found = moved(tx, tx, fresh=["tr*"])
        same(found.state[0].trace, jax.tree.map(jnp.zeros_like, PARAMS))
        assert found.fresh == ("trace.trace",)
        assert "adam.mu" in found.carried

    def test_shapes_that_disagree(self):
        tx = gx.adam(0.1)
        with pytest.raises(
            gx.StructureError, match=r"`adam\.mu` at 'b' has shape \(3,\) in the old state, but \(2,\) in the new one"
        ):
            gx.transfer_state(tx, run(tx)[1], tx, {**PARAMS, "b": jnp.ones(2)})
        found = gx.transfer_state(tx, run(tx)[1], tx, {**PARAMS, "c": jnp.ones(2)})
        assert found.fresh == ("adam.mu at c", "adam.nu at c")

    def test_the_report_reads_well(self):
        text = str(moved(gx.adam(0.1), gx.chain(gx.ema(0.5), gx.scale_by_rms())))
        assert text == "carried  -\nfresh    ema.count, ema.ema, rms.nu\ndropped  adam.count, adam.mu, adam.nu"


ODD = gx.linear_schedule(2.0, 3.0, 4)
RESUMED = {
    "adam": gx.adam(SCHEDULE),
    "chain": gx.chain(gx.clip(ODD), gx.adamw(SCHEDULE, b1=gx.linear_schedule(0.9, 0.5, 10))),
    "boxed": gx.chain(gx.trace(gx.linear_schedule(0.9, 0.5, 10)), gx.scale(SCHEDULE)),
    "partition": gx.partition({"x": gx.adam(SCHEDULE), "y": gx.sgd(SCHEDULE)}, {"w": "x", "b": "y"}),
    "accumulate": gx.chain(gx.clip(ODD), gx.accumulate(gx.adam(SCHEDULE), 3)),
    "accumulate by a schedule": gx.accumulate(gx.adam(SCHEDULE), lambda k: jnp.where(k < 2, 1, 2)),
    "apply_if_finite": gx.apply_if_finite(gx.adam(SCHEDULE), 3),
    "conditionally": gx.conditionally_transform(gx.adam(SCHEDULE), lambda k: k % 3 == 0),
    "sam": gx.sam(gx.adam(SCHEDULE), gx.sgd(SCHEDULE), sync_period=3),
    "schedule_free": gx.schedule_free(gx.sgd(SCHEDULE), SCHEDULE),
    "flatten": gx.flatten(gx.adam(SCHEDULE)),
    "two counts": gx.chain(gx.scale_by_ademamix(), gx.scale_by_adan(), gx.scale(SCHEDULE)),
    "apply_every": gx.chain(gx.apply_every(4), gx.scale(SCHEDULE)),
    "inject": gx.masked(gx.inject_hyperparams(gx.adam)(SCHEDULE), MATRICES),
    "optax": optax.chain(optax.adam(optax.linear_schedule(1.0, 0.0, 10))),
}


def clocks(state):
    return {
        jax.tree_util.keystr(path): int(x)
        for path, x in jax.tree_util.tree_leaves_with_path(state)
        if jnp.shape(x) == () and jnp.issubdtype(x.dtype, jnp.integer)
    }


@pytest.mark.parametrize("name", RESUMED)
def test_resume_at_sets_every_clock_as_that_many_updates_would(name):  # optax #1036
    tx = RESUMED[name]
    _, state = run(tx, 6)
    resumed = gx.resume_at(tx, tx.init(PARAMS), 6)
    assert clocks(resumed) == clocks(state)
    assert any(clocks(state).values())
    assert kinds(resumed) == kinds(tx.init(PARAMS))
    for (key, a), b in zip(gx.get_hyperparams(tx, resumed).items(), gx.get_hyperparams(tx, state).values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, err_msg=key)


def test_resume_at_sets_the_clocks_of_injected_schedules_of_optax():
    tx = gx.chain(optax.inject_hyperparams(optax.sgd)(optax.linear_schedule(1.0, 0.0, 10)), gx.scale(SCHEDULE))
    assert clocks(gx.resume_at(tx, tx.init(PARAMS), 6)) == clocks(run(tx, 6)[1])


def test_the_value_at_step_n():
    tx = gx.chain(gx.scale(SCHEDULE))
    for n in (0, 1, 7):
        state = gx.resume_at(tx, tx.init(PARAMS), n)
        u, _ = tx.update(PARAMS, state)
        same(u, jax.tree.map(lambda p, n=n: SCHEDULE(n) * p, PARAMS))
        assert float(gx.get_hyperparams(tx, state)["step_size"]) == float(SCHEDULE(max(n - 1, 0)))


def test_only_the_parameters_were_saved():
    tx = gx.adam(SCHEDULE)
    state = gx.resume_at(tx, tx.init(PARAMS), 6, clocks="schedules")
    assert (int(state[0].count), int(state[1].count)) == (0, 6)
    u, _ = tx.update(gradients(0), state, PARAMS)
    v, _ = gx.adam(float(SCHEDULE(6))).update(gradients(0), gx.adam(0.1).init(PARAMS), PARAMS)
    same(u, v)
    foreign = optax.adam(optax.linear_schedule(1.0, 0.0, 10))
    state = gx.resume_at(foreign, foreign.init(PARAMS), 6, clocks="schedules")
    assert (int(state[0].count), int(state[1].count)) == (0, 6)


def test_moments_stay():
    tx = gx.adam(SCHEDULE)
    _, state = run(tx)
    same(gx.resume_at(tx, state, 9)[0].mu, state[0].mu, rtol=0)


def test_resuming_in_a_compiled_function():
    tx = gx.accumulate(gx.adam(SCHEDULE), 3)
    state = jax.jit(lambda n: gx.resume_at(tx, tx.init(PARAMS), n))(6)
    assert clocks(state) == clocks(gx.resume_at(tx, tx.init(PARAMS), 6))


@pytest.mark.parametrize("every_k", [3, lambda k: jnp.asarray(3)])
def test_a_step_within_an_accumulation_is_refused(every_k):
    tx = gx.accumulate(gx.adam(SCHEDULE), every_k)
    with pytest.raises(gx.StructureError, match="Give a number of updates after which a round is complete, such as 6"):
        gx.resume_at(tx, tx.init(PARAMS), 7)


def test_a_condition_on_extra_arguments_is_refused():
    tx = gx.conditionally_transform(gx.adam(SCHEDULE), lambda k, value, **_: value > 0, forward_extra_args=True)
    with pytest.raises(gx.StructureError, match="is not known"):
        gx.resume_at(tx, tx.init(PARAMS), 3)
