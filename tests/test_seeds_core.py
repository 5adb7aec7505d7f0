"""What the laws cannot see of the founding documents' optimizers: exact zeros, posteriors, delays, options, and error texts."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import ORACLES

import gradxform as gx
from gradxform.testing import check


def plain(x):
    """The text of an argument without addresses, the same in every process."""
    return re.sub(r" at 0x\w+", "", str(x))


pytestmark = pytest.mark.fast

SHAPES = {"b": (3,), "s": (), "w": (4, 6)}


def draw(seed, shapes=SHAPES, dtype=None):
    rng = np.random.default_rng(seed)
    return {name: jnp.asarray(rng.normal(size=shape), dtype) for name, shape in shapes.items()}


def follow(tx, oracle, steps=120, extras=None, tolerance=1e-9):
    """Take noisy steps with the transformation, whose parameters move by its own updates, and compare with the transcription's."""
    params = draw(0)
    state, ws = tx.init(params), [np.asarray(p) for p in params.values()]
    update = jax.jit(tx.update)
    for i in range(steps):
        gs, extra = draw(i + 1), {} if extras is None else extras(i, params)
        us = oracle(list(gs.values()), ws, **{k: list(v.values()) for k, v in extra.items()})
        updates, state = update(gs, state, params, **extra)
        for name, expected in zip(params, us, strict=True):
            np.testing.assert_allclose(updates[name], expected, rtol=tolerance, atol=tolerance, err_msg=f"step {i}, {name}")
        params, ws = gx.apply_updates(params, updates), [w + u for w, u in zip(ws, us, strict=True)]
    return params, ws


OPTIONS = [
    ("sgd", {"learning_rate": 0.1, "momentum": 0.9, "dampening": 0.3}),
    ("sgd", {"learning_rate": 0.1, "momentum": 0.9, "dampening": 0.3, "nesterov": True}),
    ("sgd", {"learning_rate": 0.1, "dampening": 0.3}),
    ("rmsprop", {"learning_rate": 0.01, "eps": 1e-3, "eps_in_sqrt": False}),
    ("rmsprop", {"learning_rate": 0.01, "eps": 1e-3, "eps_in_sqrt": "both"}),
    ("rmsprop", {"learning_rate": 0.01, "eps": 1e-3, "eps_in_sqrt": "both", "centered": True, "momentum": 0.9}),
    ("adagrad", {"learning_rate": 0.1, "initial_accumulator_value": 0.0, "eps": 1e-3, "eps_in_sqrt": False}),
    ("nadam", {"learning_rate": 0.01, "momentum_decay": 4e-3}),
    ("nadam", {"learning_rate": 0.01, "momentum_decay": 4e-3, "nesterov": False}),
    ("nadam", {"learning_rate": 0.01, "momentum_decay": 1.0, "eps_root": 1e-4}),
    ("nadamax", {"learning_rate": 0.01, "eps": 1e-3}),
    ("maxaprop", {"learning_rate": 0.01, "eps": 1e-3}),
    ("signum", {"learning_rate": 0.01, "weight_decay": 0.1}),
    ("lars", {"learning_rate": 1.0, "weight_decay": 0.1, "eps": 1e-3, "momentum": 0.8, "nesterov": True}),
    ("lamb", {"learning_rate": 0.01, "weight_decay": 0.1, "lower_bound": 0.5, "upper_bound": 2.0}),
    ("lamb", {"learning_rate": 0.01, "bias_correction": False}),
    ("lans", {"learning_rate": 0.01, "weight_decay": 0.1, "lower_bound": 0.5, "upper_bound": 2.0}),
    ("adabelief", {"learning_rate": 0.01, "nesterov": True}),
    ("group_adagrad", {"learning_rate": 0.1, "initial_accumulator_value": 0.1, "eps": 1e-3}),
    ("dcasgd", {"learning_rate": 0.1, "momentum": 0.5, "lamda": 0.5}),
    ("ftrl", {"learning_rate": 0.1, "l1": 0.5, "l2": 0.1, "beta": 0.5, "initial_accumulator_value": 0.1}),
    ("ftml", {"learning_rate": 0.0025, "b1": 0.6}),
    ("ftml", {"learning_rate": lambda k: 0.01 / (1 + 0.1 * k), "b1": 0.9}),
    ("sgld", {"learning_rate": 0.1, "temperature": 0.0, "preconditioner_decay": 0.9}),
]


@pytest.mark.parametrize(("name", "arguments"), OPTIONS, ids=plain)
def test_options_agree_with_the_transcription(name, arguments, x64):
    """With parameters that go where the updates send them: FTML keeps one moment, the transcription z and d."""
    follow(gx.create(name, **arguments), ORACLES[name](**arguments))


class TestMomentum:
    def test_without_dampening_the_state_is_the_trace_alone(self):
        params = draw(0)
        assert isinstance(gx.trace(0.9).init(params), gx.TraceState)
        assert jax.tree.structure(gx.sgd(0.1, 0.9, dampening=0.0).init(draw(0))) == jax.tree.structure(
            gx.sgd(0.1, 0.9).init(draw(0))
        )

    def test_with_dampening_the_state_knows_the_first_update(self):
        state = gx.trace(0.9, dampening=0.5).init(draw(0))
        assert isinstance(state, gx.CountedState)
        assert isinstance(state.inner_state, gx.TraceState)

    def test_the_first_update_is_whole(self):
        tx = gx.trace(0.9, dampening=1.0)
        u, state = tx.update(jnp.array(2.0), tx.init(jnp.array(0.0)))
        assert u == 2.0
        assert tx.update(jnp.array(2.0), state)[0] == pytest.approx(1.8)

    @pytest.mark.parametrize("dampening", [lambda k: 0.3, jnp.float32(0.3)])
    def test_dampening_may_be_scheduled_and_traced(self, dampening):
        tx, params = gx.sgd(0.1, 0.9, dampening=dampening), draw(0)
        expected = gx.sgd(0.1, 0.9, dampening=0.3)
        s, t = tx.init(params), expected.init(params)
        for i in range(3):
            (u, s), (v, t) = tx.update(draw(i), s), expected.update(draw(i), t)
            jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-6), u, v)


class TestCenteredRmsprop:
    @pytest.mark.parametrize("eps_in_sqrt", [True, False, "both"])
    @pytest.mark.parametrize("noise", [0.0, 1e-7, 1e-4])
    def test_it_stays_finite_on_nearly_constant_gradients(self, noise, eps_in_sqrt):
        tx = gx.rmsprop(1e-3, centered=True, momentum=0.9, eps_in_sqrt=eps_in_sqrt)
        g = 1 + noise * jax.random.normal(jax.random.key(0), (600, 1000))
        step = lambda state, g: tx.update(g, state)[::-1]
        state, u = jax.lax.scan(step, tx.init(g[0]), g)
        assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves((u, state)))


class TestNadam:
    def test_one_leaf_and_a_hundred_get_the_same_updates(self):
        """MXNet multiplied the product once for each of the hundred (erratum E19)."""
        tx = gx.nadam(0.1, momentum_decay=4e-3)
        one, many = {"p0": jnp.ones(3)}, {f"p{i}": jnp.ones(3) for i in range(100)}
        s1, s2 = tx.init(one), tx.init(many)
        for i in range(10):
            g = draw(i, {"p0": (3,)})
            u1, s1 = tx.update(g, s1)
            u2, s2 = tx.update(dict.fromkeys(many, g["p0"]), s2)
            assert all(np.array_equal(u1["p0"], u) for u in u2.values())
        assert s1[0].product.shape == ()
        assert s1[0].product == s2[0].product

    def test_without_momentum_decay_it_is_optax_nadam(self):
        assert gx.nadam(0.1) == gx.adam(0.1, nesterov=True)


class TestFtrl:
    def test_zeros_are_exact_and_where_the_transcription_has_them(self, x64):
        arguments = {"learning_rate": 0.1, "l1": 3.0, "l2": 0.1}
        params, ws = follow(gx.ftrl(**arguments), ORACLES["ftrl"](**arguments), steps=100)
        zeros = [np.asarray(p) == 0 for p in params.values()]
        assert 0 < sum(z.sum() for z in zeros) < sum(z.size for z in zeros)
        for z, w in zip(zeros, ws, strict=True):
            np.testing.assert_array_equal(z, w == 0)

    @pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
    def test_zeros_are_exact_in_narrow_dtypes(self, dtype):
        tx, params, data = gx.ftrl(1.0, l1=8.0), draw(0, dtype=dtype), np.random.default_rng(1)
        state, signal = tx.init(params), {k: data.integers(0, 2, size=shape) for k, shape in SHAPES.items()}
        for i in range(50):
            g = jax.tree.map(lambda n, s, p: (0.1 * n + s * (p - 1)).astype(dtype), draw(i), signal, params)
            updates, state = tx.update(g, state, params)
            params = gx.apply_updates(params, updates)
        for name, p in params.items():
            np.testing.assert_array_equal(np.asarray(p, np.float32) != 0, signal[name] == 1)

    def test_without_keep_initial_random_weights_are_forgotten(self):
        tx, params = gx.ftrl(0.1), draw(0)
        updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
        assert all((p == 0).all() for p in gx.apply_updates(params, updates).values())

    def test_keep_initial_goes_on_from_the_given_weights(self):
        tx, params = gx.ftrl(0.1, l1=0.5, l2=0.1, beta=0.5, keep_initial=True), draw(0)
        updates, state = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
        moved = gx.apply_updates(params, updates)
        for name in params:
            np.testing.assert_allclose(moved[name], params[name], rtol=1e-5, atol=1e-7)
        assert isinstance(state, gx.CountedState)

    def test_keep_initial_without_penalties_is_adagrad(self, x64):
        """With beta for eps, outside the root (catalogue A.6)."""
        adagrad = ORACLES["adagrad"](0.1, initial_accumulator_value=0.0, eps=1.0, eps_in_sqrt=False)
        follow(gx.ftrl(0.1, beta=1.0, keep_initial=True), adagrad)

    def test_a_schedule_does_not_shrink_the_weights(self, x64):
        """As AdaGrad's: with sigma of the new rate alone, as elsewhere, the weights would fall with the rate."""
        rate = lambda k: 0.1 * 0.97**k
        adagrad = ORACLES["adagrad"](rate, initial_accumulator_value=0.0, eps=1.0, eps_in_sqrt=False)
        follow(gx.ftrl(rate, beta=1.0, keep_initial=True), adagrad)

    def test_a_rate_of_zero_moves_nothing(self):
        tx, params = gx.ftrl(lambda k: 0.1 * (k < 2), keep_initial=True), draw(0)
        state = tx.init(params)
        for i in range(4):
            updates, state = tx.update(draw(i), state, params)
            params = gx.apply_updates(params, updates)
        assert all(float(jnp.abs(u).max()) < 1e-5 for u in updates.values())


def test_ftml_keeps_one_moment():
    params = draw(0)
    sizes = [x.size for x in jax.tree.leaves(gx.ftml(0.1).init(params))]
    assert sum(sizes) == 1 + sum(p.size for p in params.values())


class TestSgld:
    """f(x) = (x - 2)^2 / (2 0.5^2); the elements of one leaf are independent chains."""

    MEAN, SD, CHAINS, RATE = 2.0, 0.5, 4096, 0.005

    def samples(self, tx, steps=1000):
        def step(carry, _):
            x, state = carry
            u, state = tx.update((x - self.MEAN) / self.SD**2, state, x)
            return (gx.apply_updates(x, u), state), None

        x = jnp.zeros(self.CHAINS)
        return jax.jit(lambda x: jax.lax.scan(step, (x, tx.init(x)), None, length=steps)[0][0])(x)

    @pytest.mark.parametrize("temperature", [1.0, 0.1])
    @pytest.mark.parametrize("seed", range(4))
    def test_mean_and_variance_of_the_posterior(self, seed, temperature):
        x = np.asarray(self.samples(gx.sgld(self.RATE, temperature, key=seed)), np.float64)
        variance = temperature * self.SD**2 / (1 - self.RATE / self.SD**2 / 4)  # the last factor: the step is not infinitesimal
        z_mean = (x.mean() - self.MEAN) / np.sqrt(variance / self.CHAINS)
        z_variance = (x.var(ddof=1) / variance - 1) / np.sqrt(2 / (self.CHAINS - 1))
        assert abs(z_mean) < 3
        assert abs(z_variance) < 3

    def test_the_preconditioner_shapes_the_noise_like_the_step(self):
        arguments = {"learning_rate": 0.01, "preconditioner_decay": 0.9, "eps": 1e-3}
        p, g = {"x": jnp.zeros(100_000)}, draw(1, {"x": (100_000,)})
        noisy, still = gx.sgld(**arguments, key=3), gx.sgld(**arguments, temperature=0.0)
        u, v = (tx.update(g, tx.init(p), p)[0]["x"] for tx in (noisy, still))
        G = 1 / (jnp.sqrt(0.1 * g["x"] ** 2) + 1e-3)
        n = np.asarray((u - v) / jnp.sqrt(0.01 * G), np.float64)
        assert abs(n.mean()) < 3 / np.sqrt(n.size)
        assert abs(n.var() - 1) < 3 * np.sqrt(2 / n.size)

    def test_the_same_key_draws_the_same_noise(self):
        params = draw(0)
        first, again, other = (
            tx.update(draw(1), tx.init(params), params)[0] for tx in (gx.sgld(0.1, key=k) for k in (7, jax.random.key(7), 8))
        )
        for name in params:
            np.testing.assert_array_equal(first[name], again[name])
            assert not np.any(np.asarray(first[name]) == np.asarray(other[name]))

    def test_equal_leaves_draw_different_noise_and_so_do_steps(self):
        tx, params = gx.sgld(0.1), {"a": jnp.zeros(100), "b": jnp.zeros(100)}
        u, state = tx.update(params, tx.init(params), params)
        later, _ = tx.update(params, state, params)
        correlation = np.corrcoef([u["a"], u["b"], later["a"]])
        assert np.all(np.abs(correlation[np.triu_indices(3, 1)]) < 0.35)

    def test_the_noise_does_not_depend_on_the_sharding(self):
        mesh = jax.sharding.Mesh(np.asarray(jax.devices()[:8]), ("x",))
        tx, p = gx.sgld(0.1, preconditioner_decay=0.9, key=1), jnp.ones((16, 4))
        sharded = jax.device_put(p, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x")))
        one, eight = (jax.jit(tx.update)(x, tx.init(x), x)[0] for x in (p, sharded))
        np.testing.assert_array_equal(one, eight)

    def test_without_a_preconditioner_no_moment_is_stored(self):
        params = draw(0)
        assert jax.tree.leaves(gx.sgld(0.1).init(params).nu) == []
        assert len(jax.tree.leaves(gx.sgld(0.1, preconditioner_decay=0.9).init(params).nu)) == len(params)

    @pytest.mark.parametrize("arguments", [{}, {"preconditioner_decay": 0.9}], ids=plain)
    def test_it_obeys_the_laws_with_noise(self, arguments):
        check(gx.sgld(0.1, key=1, **arguments), laws=[2, 3, 5, 12, 16])


class TestDelay:
    def test_delayed_parameters_agree_with_the_transcription(self, x64):
        arguments = {"learning_rate": 0.1, "momentum": 0.5, "lamda": 0.5}
        late = lambda i, params: {"delayed_params": jax.tree.map(lambda p: p + 0.01 * (i + 1), params)} if i % 3 else {}
        follow(gx.dcasgd(**arguments), ORACLES["dcasgd"](**arguments), extras=late)

    def test_without_a_delay_it_is_sgd(self):
        tx, params, g = gx.dcasgd(0.1), draw(0), draw(1)
        updates, _ = tx.update(g, tx.init(params), params, delayed_params=params)
        expected, _ = gx.sgd(0.1).update(g, gx.sgd(0.1).init(params))
        jax.tree.map(np.testing.assert_array_equal, updates, expected)

    def test_large_compensations_are_bounded(self):
        for limit, expected in [(10.0, 100.0 * 11), (None, 100.0 * (1 + 0.04 * 100 * 50))]:
            tx = gx.compensate_delay(limit=limit)
            u, _ = tx.update(jnp.array(100.0), tx.init(jnp.array(0.0)), jnp.array(50.0), delayed_params=jnp.array(0.0))
            assert u == pytest.approx(expected)

    def test_it_passes_through_chains_and_masks(self):
        params, g = draw(0), draw(1)
        delayed = jax.tree.map(lambda p: p - 1, params)
        plain = gx.dcasgd(0.1)
        expected, _ = plain.update(g, plain.init(params), params, delayed_params=delayed)
        for tx in (gx.chain(gx.clip(100.0), plain), gx.masked(plain, {"*": True})):
            updates, _ = tx.update(g, tx.init(params), params, delayed_params=delayed)
            jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), updates, expected)

    def test_a_wrong_tree_is_named(self):
        tx, params = gx.dcasgd(0.1), draw(0)
        wrong = {**params, "w": jnp.zeros((6, 4))}
        with pytest.raises(gx.StructureError, match=r"compensate_delay.*at 'w'.*shape \(4, 6\), but `delayed_params`.*\(6, 4\)"):
            tx.update(draw(1), tx.init(params), params, delayed_params=wrong)


ONES = {"encoder": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}, "scale": jnp.ones(())}


class TestMultiplier:
    def factors(self, spec):
        tx = gx.scale_by_multiplier(spec)
        updates, _ = tx.update(ONES, tx.init(ONES))
        return [float(x.ravel()[0]) for x in jax.tree.leaves(updates)]

    @pytest.mark.parametrize(
        ("spec", "expected"),
        [
            ({"*/bias": 2.0}, [2, 1, 1]),
            ({"scale": 3}, [1, 1, 3]),
            ({"*/bias": 2.0, "encoder/*": 0.5, "default": 4.0}, [2, 0.5, 4]),
            (gx.by_path({"*/bias": 2.0}), [2, 1, 1]),
            (gx.by_leaf(lambda path, leaf: leaf.ndim), [1, 2, 0]),
            (lambda path, leaf: 0.1 if path.startswith("encoder") else None, [0.1, 0.1, 1]),
            ({"encoder": 0.5, "scale": 2.0}, [0.5, 0.5, 2]),
            ({"encoder": {"kernel": 0.5, "bias": None}, "scale": jnp.float32(2)}, [1, 0.5, 2]),
            (lambda params: jax.tree.map(lambda p: p.size, params), [3, 6, 1]),
            (0.25, [0.25] * 3),
        ],
        ids=plain,
    )
    def test_every_kind_of_labels(self, spec, expected):
        assert self.factors(spec) == pytest.approx(expected)

    def test_the_numbers_are_data(self):
        tx = lambda factor: gx.scale_by_multiplier({"*/bias": factor})
        out = jax.jit(lambda factor: tx(factor).update(ONES, tx(factor).init(ONES))[0])(3.0)
        assert float(out["encoder"]["bias"][0]) == 3.0
        programs = {id(gx.scale_by_multiplier(x).update.program) for x in (0.5, 2.0, {"*": 1.0})}
        assert len(programs) == 1

    def test_after_an_optimizer_it_multiplies_the_rate(self):
        tx = gx.chain(gx.adam(0.1), gx.scale_by_multiplier({"*/bias": 0.1}))
        updates, _ = tx.update(ONES, tx.init(ONES))
        np.testing.assert_allclose(updates["encoder"]["bias"], -0.01, rtol=1e-5)
        np.testing.assert_allclose(updates["encoder"]["kernel"], -0.1, rtol=1e-5)

    @pytest.mark.parametrize(
        ("spec", "text"),
        [
            ({"*/biass": 2.0}, r"scale_by_multiplier: the pattern '\*/biass' matches no leaf.*encoder/bias"),
            (
                {"*/bias": "high"},
                r"scale_by_multiplier: `multipliers` must be a number at every leaf, but at 'encoder/bias' it is 'high'",
            ),
            ((1.0, 2.0), r"scale_by_multiplier: the labels should have the structure"),
        ],
        ids=plain,
    )
    def test_errors(self, spec, text):
        with pytest.raises(gx.LabelError, match=text):
            self.factors(spec)


def test_the_decay_of_lans_takes_a_mask():
    params, g = draw(0), draw(1)
    one = lambda tx: tx.update(g, tx.init(params), params)[0]
    masked, plain, decayed = (
        one(gx.lans(1.0, weight_decay=1.0, mask={"b": False})),
        one(gx.lans(1.0)),
        one(gx.lans(1.0, weight_decay=1.0)),
    )
    np.testing.assert_array_equal(masked["b"], plain["b"])
    np.testing.assert_array_equal(masked["w"], decayed["w"])
    assert not np.allclose(plain["w"], decayed["w"])


def test_group_adagrad_keeps_one_number_per_row():
    tx = gx.group_adagrad(0.1)
    params = {"embed": jnp.ones((5, 7)), "kernel": jnp.ones((2, 3, 4)), "bias": jnp.ones(3), "s": jnp.ones(())}
    shapes = jax.tree.map(jnp.shape, tx.init(params)[0].sum_of_squares, is_leaf=lambda x: isinstance(x, jax.Array))
    assert shapes == {"embed": (5, 1), "kernel": (2, 1, 1), "bias": (3,), "s": ()}


class TestRegularizer:
    def test_leaf_and_tree(self):
        params, g = draw(0), draw(1)
        by_leaf = gx.add_regularizer(gx.l1_penalty, 0.5)
        of_tree = gx.add_regularizer(lambda tree: gx.tree.norm(tree), 0.5, whole_tree=True)
        u, _ = by_leaf.update(g, by_leaf.init(params), params)
        v, _ = of_tree.update(g, of_tree.init(params), params)
        length = float(gx.tree.norm(params))
        for name, p in params.items():
            np.testing.assert_allclose(u[name], g[name] + 0.5 * jnp.sign(p), rtol=1e-6)
            np.testing.assert_allclose(v[name], g[name] + 0.5 * p / length, rtol=1e-5)

    def test_the_weight_may_be_scheduled(self):
        for whole_tree in (False, True):
            tx = gx.add_regularizer(lambda p: gx.tree.norm(p, squared=True) / 2, lambda k: 1.0 + k, whole_tree=whole_tree)
            p, state = {"x": jnp.array([2.0])}, tx.init({"x": jnp.array([2.0])})
            for k in range(3):
                u, state = tx.update({"x": jnp.zeros(1)}, state, p)
                np.testing.assert_allclose(u["x"], 2.0 * (1 + k))

    def test_on_the_whole_tree_it_obeys_the_laws(self):
        check(gx.add_regularizer(gx.tree.norm, 0.1, whole_tree=True))

    @pytest.mark.parametrize("whole_tree", [False, True])
    def test_errors(self, whole_tree):
        tx = gx.add_regularizer(lambda p: jax.tree.map(jnp.abs, p), 0.1, whole_tree=whole_tree)
        params = {"x": jnp.ones(3)}
        with pytest.raises(gx.StructureError, match=r"`penalty` must return one real number, but .* returned float32\[3\]"):
            tx.update(params, tx.init(params), params)
        with pytest.raises(gx.MissingArgumentError, match="add_regularizer: needs the parameters"):
            tx.update(params, tx.init(params))
        with pytest.raises(gx.HyperparameterError, match="`penalty` must be a function of the parameters, but got 'l2'"):
            gx.add_regularizer("l2", 0.1, whole_tree=whole_tree)


class TestBox:
    @pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
    def test_parameters_stay_in_the_box(self, dtype):
        tx = gx.chain(gx.sgd(1.0), gx.keep_params_in_box(-0.5, 0.75))
        params = draw(0, dtype=dtype)
        state = tx.init(params)
        for i in range(5):
            updates, state = tx.update(draw(i, dtype=dtype), state, params)
            params = gx.apply_updates(params, updates)
        room = 1 + float(jnp.finfo(dtype).eps)
        for p in params.values():
            assert -0.5 * room <= float(p.min())
            assert float(p.max()) <= 0.75 * room

    def test_inside_the_box_the_update_is_untouched(self):
        tx, g = gx.keep_params_in_box(-10.0, 10.0), draw(1)
        updates, _ = tx.update(g, tx.init(g), draw(0))
        jax.tree.map(np.testing.assert_array_equal, updates, g)

    def test_one_side_may_be_open(self):
        tx = gx.keep_params_in_box(low=0.0)
        u, _ = tx.update(jnp.array([-3.0, 5.0]), tx.init(jnp.ones(2)), jnp.ones(2))
        np.testing.assert_array_equal(u, [-1.0, 5.0])


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: gx.dcasgd(-1.0), r"dcasgd: `learning_rate` must be .* in \[0, inf\), but got -1.0"),
        (lambda: gx.dcasgd(0.1, limit=0.0), r"dcasgd: `limit` .* in \(0, inf\), but got 0.0"),
        (lambda: gx.ftrl(0.0), r"ftrl: `learning_rate` must be .* in \(0, inf\), but got 0.0"),
        (lambda: gx.ftml(b1=1.0), r"ftml: `b1` must be .* in \[0, 1\), but got 1.0"),
        (lambda: gx.sgld(0.1, temperature=-1), r"sgld: `temperature` .* but got -1"),
        (lambda: gx.sgd(0.1, 0.9, dampening=2.0), r"sgd: `dampening` must be .* in \[0, 1\], but got 2.0"),
        (lambda: gx.nadam(0.1, momentum_decay=-0.1), r"nadam: `momentum_decay` .* but got -0.1"),
        (lambda: gx.signum(0.1, weight_decay="a lot"), r"signum: `weight_decay` .* but got 'a lot'"),
        (lambda: gx.lans(0.1, lower_bound=-1.0), r"lans: `lower_bound` .* but got -1.0"),
        (
            lambda: gx.rmsprop(0.1, eps_in_sqrt="inside"),
            r"rmsprop: `eps_in_sqrt` must be one of True, False, 'both', but got 'inside'",
        ),
        (lambda: gx.adagrad(0.1, eps_in_sqrt=1), r"adagrad: `eps_in_sqrt` must be one of True, False, 'both', but got 1"),
        (
            lambda: gx.keep_params_in_box(1.0, -1.0),
            r"keep_params_in_box: `low` must not exceed `high`, but got low=1.0 and high=-1.0",
        ),
    ],
)
def test_a_bad_argument_is_named(make, text):
    with pytest.raises(gx.HyperparameterError, match=text):
        make()


def test_a_leaf_without_a_label_is_named():
    params = {"encoder": {"kernel": jnp.ones(2), "bias": jnp.ones(2)}}
    tx = gx.partition({"plain": gx.sgd(0.1)}, {"*/bias": "plain"})
    with pytest.raises(gx.LabelError, match=r"partition: no pattern of .* matches 'encoder/kernel'. Add a pattern, or a 'default'"):
        tx.init(params)
