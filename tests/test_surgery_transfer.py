"""Going on with an optimizer that has changed, and at a step that is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import optax

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
        same(back.state, whole.init(PARAMS), rtol=0)  # leaves of two ages under one clock
        assert back.fresh == ("adam.count", "adam.mu", "adam.nu")

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
        assert moved(masked, gx.adam(0.1)).fresh == ("adam.count", "adam.mu", "adam.nu")
        assert moved(masked, gx.adam(0.1), mixed="oldest").fresh == ("adam.mu at b", "adam.nu at b")
        theirs = gx.transfer_state(masked, run(masked)[1], optax.adam(0.1), PARAMS)
        assert theirs.fresh == ("ScaleByAdamState.count", "ScaleByAdamState.mu", "ScaleByAdamState.nu")

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
        assert found.fresh == ("adam.count", "adam.mu", "adam.nu")

    def test_the_report_reads_well(self):
        text = str(moved(gx.adam(0.1), gx.chain(gx.ema(0.5), gx.scale_by_rms())))
        assert text == "carried  -\nfresh    ema.count, ema.ema, rms.nu\ndropped  adam.count, adam.mu, adam.nu\nclocks   ema 0"
        part = gx.masked(gx.adam(SCHEDULE), MATRICES)
        assert str(moved(part, gx.adam(SCHEDULE))) == (
            "carried  learning_rate.count\nfresh    adam.count, adam.mu, adam.nu\ndropped  adam.count, adam.mu, adam.nu\n"
            "clocks   adam 0, learning_rate 4\n"
            "mixed    adam has leaves of different ages (0 at 'b'; 4 at 'w') and one clock, so it begins afresh. "
            "In groups of a `partition` each keeps its own."
        )


WIDE = {**PARAMS, "c": jnp.full((2, 3), 0.3)}
RATE = 0.1


def groups(tx, labels):
    return gx.partition(dict.fromkeys(labels.values(), tx), labels)


def reset(tx, state, params):
    """The second group has just begun."""
    return gx.reset_group(tx, state, params, "y")


AGES = {  # old, new, their parameters, what is done between, and the leaves that are young
    "a masked leaf is unfrozen": (lambda o: gx.masked(o, MATRICES), lambda o: o, PARAMS, PARAMS, None, "b"),
    "a frozen leaf is unfrozen": (
        lambda o: gx.selective_transform(o, freeze_mask={"w": False, "b": True}), lambda o: o, PARAMS, PARAMS, None, "b",
    ),
    "a leaf is added": (lambda o: o, lambda o: o, PARAMS, WIDE, None, "c"),
    "a leaf is added to a group": (
        lambda o: groups(o, {"w": "x", "b": "y"}), lambda o: groups(o, {"w": "x", "b": "y", "c": "x"}), PARAMS, WIDE, None, "c",
    ),
    "groups are merged": (lambda o: groups(o, {"w": "x", "b": "y"}), lambda o: o, PARAMS, PARAMS, reset, "b"),
    "groups are merged into one": (
        lambda o: groups(o, {"w": "x", "b": "y"}), lambda o: groups(o, {"w": "z", "b": "z"}), PARAMS, PARAMS, reset, "b",
    ),
    "labels are renamed": (
        lambda o: groups(o, {"w": "x", "b": "y"}), lambda o: groups(o, {"w": "u", "b": "v"}), PARAMS, PARAMS, reset, "b",
    ),
    "labels are swapped": (
        lambda o: groups(o, {"w": "x", "b": "y"}), lambda o: groups(o, {"w": "y", "b": "x"}), PARAMS, PARAMS, reset, "b",
    ),
    "a leaf moves to another group": (
        lambda o: groups(o, {"w": "x", "b": "y", "c": "y"}), lambda o: groups(o, {"w": "x", "b": "x", "c": "y"}), WIDE, WIDE, reset, "bc",
    ),
}  # fmt: skip
AGED = {
    "adam": gx.adam(RATE),
    "adam on a schedule": gx.adam(gx.constant_schedule(RATE)),
    "adafactor": gx.adafactor(RATE, min_dim_size_to_factor=2),
    "adan": gx.adan(RATE),
    "amsgrad": gx.amsgrad(RATE),
    "nadam": gx.nadam(RATE),
    "rmsprop, debiased": gx.rmsprop(RATE, bias_correction=True),
    "novograd": gx.novograd(RATE),
    "sgd, dampened": gx.chain(gx.trace(0.9, dampening=0.5), gx.scale(-RATE)),
    "optimistic": gx.optimistic_gradient_descent(RATE),
    "lion": gx.lion(RATE),
    "momentum": gx.sgd(RATE, 0.9),
    "galore": gx.galore(RATE, rank=1, update_proj_gap=50),
    "accumulated": gx.accumulate(gx.adam(RATE), 3),
}


def steps(tx, state, params, ks):
    """The updates of these numbers, with gradients that only depend on number and leaf."""
    found = []
    for k in ks:
        g = {n: jnp.asarray(np.random.default_rng((k, ord(n))).normal(size=p.shape), jnp.float32) for n, p in params.items()}
        u, state = tx.update(g, state, params)
        found.append(u)
    return found, state


def at_ages(kind, optimizer, count=40, **options):
    """The transfer after `count` updates, and the new optimizer."""
    before, after, old_params, new_params, between, _ = AGES[kind]
    old, new = before(optimizer), after(optimizer)
    _, state = steps(old, old.init(old_params), old_params, range(count))
    state = state if between is None else between(old, state, old_params)
    return gx.transfer_state(old, state, new, new_params, **options), new, new_params, AGES[kind][-1]


@pytest.mark.parametrize("kind", AGES)
@pytest.mark.parametrize("name", ["adam", "lion", "adan"])
def test_the_first_thirty_updates_of_a_fresh_leaf_are_a_fresh_optimizers(kind, name):
    found, new, params, young = at_ages(kind, AGED[name])
    us, _ = steps(new, found.state, params, range(40, 70))
    vs, _ = steps(new, new.init(params), params, range(40, 70))
    for u, v in zip(us, vs, strict=True):
        for leaf in young:
            np.testing.assert_allclose(u[leaf], v[leaf], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", AGED)
def test_a_leaf_that_is_added_to_any_optimizer_moves_as_in_a_fresh_one(name):
    found, new, params, young = at_ages("a leaf is added", AGED[name], 41)  # 41: in the middle of a round of three
    us, _ = steps(new, found.state, params, range(41, 71))
    vs, _ = steps(new, new.init(params), params, range(41, 71))
    for u, v in zip(us, vs, strict=True):
        np.testing.assert_allclose(u[young], v[young], rtol=1e-5, atol=1e-7)
    keeps = name in ("lion", "momentum")  # what does not debias has nothing to lose
    assert keeps == any(x.split(".")[-1] in ("mu", "trace") for x in found.carried)
    assert keeps == (not found.mixed)


@pytest.mark.parametrize("kind", AGES)
def test_in_a_group_of_their_own_old_leaves_go_on_and_young_ones_begin(kind):
    before, _, old_params, params, between, young = AGES[kind]
    old, adam = before(gx.adam(RATE)), gx.adam(RATE)
    _, state = steps(old, old.init(old_params), old_params, range(40))
    state = state if between is None else between(old, state, old_params)
    new = gx.partition({"old": adam, "new": adam}, {n: "new" if n in young else "old" for n in params})
    found = gx.transfer_state(old, state, new, params)
    assert not found.mixed
    assert {name: int(age) for name, age in found.clocks} == {"old.adam": 40, "new.adam": 0}
    us, _ = steps(new, found.state, params, range(40, 70))
    vs, _ = steps(adam, adam.init(params), params, range(40, 70))
    ws, _ = steps(adam, steps(adam, adam.init(params), params, range(40))[1], params, range(40, 70))
    for u, v, w in zip(us, vs, ws, strict=True):
        for leaf in params:
            np.testing.assert_allclose(u[leaf], (v if leaf in young else w)[leaf], rtol=1e-5, atol=1e-7)


def test_where_the_oldest_clock_is_wanted():
    found, new, params, _ = at_ages("a leaf is added", gx.adam(RATE), 1000, mixed="oldest")
    assert found.fresh == ("adam.mu at c", "adam.nu at c")
    assert "goes on with the clock of the oldest" in found.mixed[0]
    (u,), _ = steps(new, found.state, params, [1000])
    (v,), _ = steps(new, new.init(params), params, [1000])
    wrong = 0.1 / np.sqrt((1 - 0.999) / (1 - 0.999**1001))  # the factors that debiasing would have been
    np.testing.assert_allclose(u["c"], wrong * v["c"], rtol=1e-3)
    with pytest.raises(gx.HyperparameterError, match="`mixed` must be one of 'fresh', 'oldest', but got 'keep'"):
        at_ages("a leaf is added", gx.adam(RATE), 1, mixed="keep")


def test_equal_ages_meet_without_loss():
    """Groups that began together are merged, and a leaf moves between them: nothing is fresh, and the clocks go on."""
    adam = gx.adam(SCHEDULE)
    split, moved_leaf = groups(adam, {"w": "x", "b": "y", "c": "y"}), groups(adam, {"w": "x", "b": "x", "c": "y"})
    _, state = steps(split, split.init(WIDE), WIDE, range(7))
    us, _ = steps(adam, steps(adam, adam.init(WIDE), WIDE, range(7))[1], WIDE, range(7, 12))
    for new in (adam, moved_leaf, groups(adam, {"w": "u", "b": "v", "c": "v"})):
        found = gx.transfer_state(split, state, new, WIDE)
        assert not found.fresh
        assert {int(age) for _, age in found.clocks} == {7}
        vs, _ = steps(new, found.state, WIDE, range(7, 12))
        jax.tree.map(lambda u, v: np.testing.assert_allclose(u, v, rtol=1e-5, atol=1e-7), us, vs)


def test_the_clock_of_a_schedule_goes_on_with_the_oldest():
    found, _, _, _ = at_ages("groups are merged", gx.adam(SCHEDULE), 6)
    assert dict(found.clocks) == {"adam": 0, "learning_rate": 6}
    renamed, _, _, _ = at_ages("labels are renamed", gx.adam(SCHEDULE), 6)  # each group's own
    assert dict(renamed.clocks) == {"u.adam": 6, "u.learning_rate": 6, "v.adam": 0, "v.learning_rate": 0}
    new = gx.adam(0.1, b1=SCHEDULE)  # a clock that serves both begins with the moments
    assert dict(gx.transfer_state(gx.sgd(SCHEDULE), gx.sgd(SCHEDULE).init(PARAMS), new, PARAMS).clocks) == {"adam": 0}
    trace = gx.transfer_state(gx.adam(0.1), run(gx.adam(0.1))[1], gx.trace(SCHEDULE), PARAMS)  # one that no moment needs does not
    assert dict(trace.clocks) == {"trace": 4}


def test_a_clock_where_there_was_none_is_that_of_all_clocks_or_the_moments_begin_afresh():
    plain, debiased = gx.scale_by_rms(), gx.scale_by_rms(bias_correction=True)
    assert dict(gx.transfer_state(plain, run(plain)[1], debiased, PARAMS).clocks) == {"rms": 0}
    assert gx.transfer_state(plain, run(plain)[1], debiased, PARAMS).fresh == ("rms.count", "rms.nu")
    old, new = gx.chain(plain, gx.scale(SCHEDULE)), gx.chain(debiased, gx.scale(SCHEDULE))
    found = gx.transfer_state(old, run(old)[1], new, PARAMS)
    assert dict(found.clocks) == {"rms": 4, "scale": 4}
    assert not found.fresh


def test_a_group_that_galore_projects_is_projected_anew():
    tx = gx.galore(RATE, rank=1, update_proj_gap=50)
    found = gx.transfer_state(tx, steps(tx, tx.init(PARAMS), PARAMS, range(3))[1], tx, WIDE)
    (u,), _ = steps(tx, found.state, WIDE, [3])
    assert np.abs(u["c"]).max() > 0  # without a projector of its own it would stand still until the next one is made


def test_a_transfer_in_a_compiled_function():
    old, new = gx.adam(0.1), gx.chain(gx.clip(1.0), gx.adam(SCHEDULE))
    state = run(old)[1]
    found = jax.jit(lambda s: gx.transfer_state(old, s, new, PARAMS).state)(state)
    same(found[1][0], state[0], rtol=0)
    assert jax.jit(lambda s: str(gx.transfer_state(old, s, new, PARAMS)) and 1)(state) == 1


def test_partitions_that_follow_each_other_take_no_exponential_time():
    """Eight of three labels: all ways through them would be 43 million pairs."""
    three = {"x": gx.sgd(SCHEDULE, 0.9), "y": gx.sgd(SCHEDULE, 0.9), "z": gx.adam(SCHEDULE)}
    params = {"w": jnp.ones(2), "b": jnp.ones(2), "c": jnp.ones(2)}
    rotated = [dict(zip(params, order, strict=True)) for order in ("xyz", "yzx", "zxy", "xyz", "yzx", "zxy", "xyz", "yzx")]
    tx = gx.chain(*(gx.partition(three, labels) for labels in rotated))
    _, state = steps(tx, tx.init(params), params, range(3))
    found = gx.transfer_state(tx, state, tx, params)
    same(found.state, state, rtol=0)
    assert not found.fresh
    assert not found.dropped


@pytest.mark.parametrize("names", [["adamw"], "adamw", ["adam", "adamw"]])
def test_a_name_of_no_stage_is_refused(names):
    tx = gx.adamw(SCHEDULE)
    with pytest.raises(
        gx.UnknownNameError,
        match=r"`fresh` has 'adamw', which names no stage .*Did you mean 'adam'\? The stages with a state are adam, learning_rate\.",
    ):
        gx.transfer_state(tx, tx.init(PARAMS), tx, PARAMS, fresh=names)


def test_a_schedule_begins_afresh_on_purpose():
    tx = gx.adam(SCHEDULE)
    assert dict(moved(tx, tx, fresh="learning_rate").clocks) == {"adam": 4, "learning_rate": 0}


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


MOST = 2**31 - 1


@pytest.mark.fast
@pytest.mark.parametrize(
    "step",
    [-5, 2.7, 2**31, 2**80, np.nan, np.inf, True, "3", None, 1j, np.array(-1), jnp.array(2.5, jnp.bfloat16), [1, 2.5]],
    ids=str,
)
@pytest.mark.parametrize(
    "tx", [gx.adam(SCHEDULE), gx.accumulate(gx.sgd(SCHEDULE), 3), optax.adam(0.1)], ids=["ours", "wrapped", "optax"]
)
def test_a_step_that_no_clock_can_show_is_refused(tx, step):
    with pytest.raises(gx.HyperparameterError, match=r"`step` must be a whole number in \[0, 2147483647\], .*, but got "):
        gx.resume_at(tx, tx.init(PARAMS), step)


@pytest.mark.fast
@pytest.mark.parametrize(
    "step", [2, 2.0, np.int64(2), np.uint8(2), np.float32(2), jnp.array(2), jnp.array(2.0, jnp.bfloat16)], ids=repr
)
def test_a_whole_number_of_any_type_is_a_step(step):
    tx = gx.chain(gx.adam(SCHEDULE), gx.schedule_free(gx.sgd(SCHEDULE), SCHEDULE))  # whose clock begins at 1
    state = gx.resume_at(tx, tx.init(PARAMS), step)
    assert sorted(clocks(state).values()) == [2, 2, 2, 3]
    assert kinds(state) == kinds(tx.init(PARAMS))


@pytest.mark.fast
def test_clocks_stop_at_the_last_number_that_they_can_show():
    tx = gx.chain(gx.adam(SCHEDULE), gx.schedule_free(gx.sgd(SCHEDULE), SCHEDULE))
    for step in (MOST, jnp.array(MOST)):
        assert set(clocks(gx.resume_at(tx, tx.init(PARAMS), step)).values()) == {MOST}


@pytest.mark.fast
@pytest.mark.parametrize("clocks", ["schedule", "All", None, True])
def test_other_clocks_are_refused(clocks):
    tx = gx.adam(SCHEDULE)
    with pytest.raises(gx.HyperparameterError, match="`clocks` must be one of 'all', 'schedules', but got "):
        gx.resume_at(tx, tx.init(PARAMS), 3, clocks=clocks)


CONDITIONS = {
    "traceable": lambda k: k % 3 == 0,
    "a number": gx.piecewise_constant_schedule(1.0, {500: 0.0}),
    "random": lambda k: jax.random.bernoulli(jax.random.fold_in(jax.random.key(0), k)),
    "always": lambda k: True,
    "with an if": lambda k: 1 if k % 3 == 0 or k < 7 else 0,
    "of NumPy": lambda k: np.cos(k) > 0,
}


@pytest.mark.parametrize("name", CONDITIONS)
@pytest.mark.parametrize("wrap", [gx.conditionally_transform, gx.conditionally_mask])
def test_how_often_a_condition_held(wrap, name):
    tx, held = wrap(gx.adam(SCHEDULE), CONDITIONS[name]), [bool(CONDITIONS[name](jnp.int32(k))) for k in range(300)]
    for n in (0, 1, 300):
        state = gx.resume_at(tx, tx.init(PARAMS), n)
        assert (int(state.step), int(state.inner_state[0].count)) == (n, sum(held[:n]))
        assert kinds(state) == kinds(tx.init(PARAMS))


def test_a_million_steps_of_a_condition_are_counted_at_once():
    asked = []
    tx = gx.conditionally_transform(gx.adam(SCHEDULE), lambda k: asked.append(k) or CONDITIONS["traceable"](k))
    assert int(gx.resume_at(tx, tx.init(PARAMS), 1_000_000).inner_state[0].count) == 333_334
    assert len(asked) < 10  # traced, not called a million times
    often = gx.accumulate(gx.adam(SCHEDULE), lambda k: jnp.where(k < 2, 1, 2))
    assert int(gx.resume_at(often, often.init(PARAMS), 1_000_000).gradient_step) == 500_001


def test_a_traced_step_of_a_condition_and_of_rounds():
    for tx in (gx.conditionally_transform(gx.adam(SCHEDULE), CONDITIONS["traceable"]), RESUMED["accumulate by a schedule"]):
        traced = jax.jit(lambda n, tx=tx: gx.resume_at(tx, tx.init(PARAMS), n))
        assert clocks(traced(6)) == clocks(gx.resume_at(tx, tx.init(PARAMS), 6))


def test_rounds_of_a_function_with_an_if():
    tx = gx.accumulate(gx.adam(SCHEDULE), lambda k: 1 if k < 2 else 2)
    assert int(gx.resume_at(tx, tx.init(PARAMS), 6).gradient_step) == 4
