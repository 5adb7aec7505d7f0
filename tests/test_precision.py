"""Stochastic rounding and master weights, in bfloat16 and float16, subnormal numbers included."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from oracle import optax

import gradxform as gx
from gradxform.precision._narrow import narrow
from gradxform.testing import examine

NARROW = [jnp.bfloat16, jnp.float16]
by_dtype = pytest.mark.parametrize("dtype", NARROW, ids=["bfloat16", "float16"])
KEY = jax.random.key(0)


def all_finite(dtype):
    """Every finite number of a 16-bit dtype, in ascending order."""
    x = np.arange(2**16, dtype=np.uint16).view(dtype)
    x = x[~np.isnan(x.astype(np.float32))]
    return np.unique(x[np.isfinite(x.astype(np.float32))].astype(np.float32)).astype(dtype)


def as_numpy(x, dtype):
    with np.errstate(over="ignore"):
        return x.astype(dtype)


def bits(x):
    return np.asarray(x).view(np.uint16)


def some_float32(n, dtype, seed=0):
    """Numbers of every magnitude that `dtype` has, and smaller; none that is subnormal in float32, which a device may flush."""
    rng = np.random.default_rng(seed)
    low, high = (-126, 127) if dtype == jnp.bfloat16 else (-40, 15)
    x = np.ldexp(rng.uniform(1, 2, n).astype(np.float32), rng.integers(low, high + 1, n))
    return (x * rng.choice([-1, 1], n)).astype(np.float32)


@pytest.mark.fast
class TestNearest:
    @by_dtype
    def test_as_numpy_rounds(self, dtype):
        x = np.concatenate([some_float32(200_000, dtype), np.float32([0, -0.0, np.inf, -np.inf, 65504, 65519.996, 65520, 1e6])])
        np.testing.assert_array_equal(bits(jax.jit(narrow, static_argnums=1)(x, dtype)), bits(as_numpy(x, dtype)))

    @by_dtype
    def test_ties_go_to_even(self, dtype):
        x = all_finite(dtype).astype(np.float64)
        middle = ((x[1:] + x[:-1]) / 2).astype(np.float32)
        if dtype == jnp.bfloat16:
            middle = middle[np.abs(middle) > 2e-38]
        np.testing.assert_array_equal(bits(narrow(middle, dtype)), bits(middle.astype(dtype)))

    def test_from_float64(self, x64):
        x = np.ldexp(np.random.default_rng(0).uniform(-2, 2, 100_000), np.random.default_rng(1).integers(-40, 20, 100_000))
        np.testing.assert_array_equal(bits(narrow(jnp.asarray(x), jnp.float16)), bits(as_numpy(x, np.float16)))
        once = 1 + 2.0**-8 + 2.0**-40  # rounded to float32 first it would be a tie, and go down
        assert narrow(jnp.float64(once), jnp.bfloat16) == 1 + 2.0**-7
        np.testing.assert_array_equal(narrow(jnp.asarray(x), jnp.float32), x.astype(np.float32))


class TestStochasticRound:
    @pytest.mark.fast
    @by_dtype
    def test_exact_numbers_stay(self, dtype):
        x = all_finite(dtype)
        for seed in range(3):
            np.testing.assert_array_equal(
                bits(gx.stochastic_round(x.astype(np.float32), dtype, jax.random.key(seed))) % 2**15, bits(x) % 2**15
            )
        np.testing.assert_array_equal(gx.stochastic_round(jnp.asarray(x), jnp.float32, KEY), x.astype(np.float32))

    @pytest.mark.fast
    @by_dtype
    def test_one_of_the_two_neighbours(self, dtype):
        x, numbers = some_float32(100_000, dtype), all_finite(dtype).astype(np.float64)
        up = np.searchsorted(numbers, x.astype(np.float64))
        ours = np.asarray(gx.stochastic_round(x, dtype, KEY)).astype(np.float64)
        inside = (up > 0) & (up < len(numbers))
        ours, low, high = ours[inside], numbers[up[inside] - 1], numbers[up[inside]]
        assert ((ours == low) | (ours == high)).all()
        assert (ours == low).any()
        assert (ours == high).any()

    @pytest.mark.fast
    @by_dtype
    def test_unbiased(self, dtype):
        """Of 2^16 draws the mean is within 5 standard errors, and the share of those rounded up is the fraction."""
        values = [1.00123, -3.14159, 1e-3, 255.77, -1.9999, 0.1, 6.0011e4]
        if dtype == jnp.float16:
            values += [2.0**-14 * 0.9999, 3.3e-6, -7.77e-7, 2.0**-24 * 0.3, -(2.0**-24) * 0.01, 1.5 * 2.0**-34]
        numbers, n = all_finite(dtype).astype(np.float64), 2**16
        for i, x in enumerate(np.float32(values)):
            draws = np.asarray(gx.stochastic_round(jnp.full(n, x), dtype, jax.random.key(i))).astype(np.float64)
            high = np.searchsorted(numbers, np.float64(x))
            low, high = numbers[high - 1], numbers[high]
            assert set(np.unique(draws)) == {low, high}
            fraction = (np.float64(x) - low) / (high - low)
            error = (draws.mean() - np.float64(x)) / ((high - low) * np.sqrt(fraction * (1 - fraction) / n))
            assert abs(error) < 5, (x, error)

    @pytest.mark.fast
    def test_the_mean_error_falls_with_the_root_of_the_draws(self):
        x = np.float32(1 + np.random.default_rng(0).uniform(size=256))
        errors = []
        for n in (2**6, 2**12):
            draws = gx.stochastic_round(jnp.broadcast_to(x[None], (n, 256)), jnp.bfloat16, KEY)
            errors.append(np.sqrt(np.mean((np.asarray(draws, np.float64).mean(0) - x) ** 2)))
        assert 6 < errors[0] / errors[1] < 10.5  # 8 expected

    @pytest.mark.fast
    @by_dtype
    def test_infinities_nan_and_the_ends(self, dtype):
        top = float(jnp.finfo(dtype).max)
        x = jnp.asarray([np.inf, -np.inf, np.nan, 0.0, -0.0, top, -top, np.nextafter(np.float32(top), np.float32(0))], jnp.float32)
        for seed in range(5):
            y = np.asarray(gx.stochastic_round(x, dtype, jax.random.key(seed))).astype(np.float64)
            np.testing.assert_array_equal(y[:7], np.asarray(x[:7], np.float64))
            assert np.isfinite(y[7])
            assert y[7] > 0.99 * top
        assert np.signbit(np.asarray(gx.stochastic_round(x, dtype, KEY)).astype(np.float64)[4])

    @pytest.mark.fast
    def test_what_is_out_of_range_overflows_as_astype_does(self):
        x = jnp.asarray([65504.0, 65510.0, 65519.0, 65520.0, -1e6])
        np.testing.assert_array_equal(gx.stochastic_round(x, jnp.float16, KEY), np.float16([65504, 65504, 65504, np.inf, -np.inf]))

    @pytest.mark.fast
    def test_wide_dtypes_and_sources(self, x64):
        x = jnp.full(4096, 1 + 2.0**-25, jnp.float64)
        y = gx.stochastic_round(x, jnp.float32, KEY)
        assert y.dtype == jnp.float32
        assert 0.2 < float((y > 1).mean()) < 0.3
        z = gx.stochastic_round(jax.lax.complex(x, x), jnp.complex64, KEY)
        assert z.dtype == jnp.complex64
        assert (z.real != z.imag).any()
        for dtype in NARROW:  # not rounded to float32 first: the fraction is 2^-11
            share = float((gx.stochastic_round(jnp.full(2**17, 1 + 2.0**-11 * float(jnp.finfo(dtype).eps)), dtype, KEY) > 1).mean())
            assert 0.5 * 2**-11 < share < 1.7 * 2**-11

    @pytest.mark.fast
    def test_between_narrow_dtypes(self):
        x = jnp.asarray([1.0, 1.0078125, 3.0], jnp.bfloat16)
        assert (gx.stochastic_round(x, jnp.float16, KEY) == x.astype(jnp.float16)).all()
        assert gx.stochastic_round(jnp.float16(1.001), jnp.bfloat16, KEY).dtype == jnp.bfloat16

    @pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=lambda a: a.name)
    def test_does_not_depend_on_the_sharding(self, axis_type):
        x = jnp.asarray(some_float32(64, jnp.bfloat16).reshape(16, 4))
        mesh = jax.make_mesh((8,), ("d",), axis_types=(axis_type,))
        sharded = jax.device_put(x, NamedSharding(mesh, PartitionSpec("d", None)))
        for round_ in (gx.stochastic_round, jax.jit(gx.stochastic_round, static_argnums=1)):
            y = round_(sharded, jnp.bfloat16, KEY)
            np.testing.assert_array_equal(bits(y), bits(gx.stochastic_round(x, jnp.bfloat16, KEY)))
            assert y.sharding.is_equivalent_to(sharded.sharding, 2)

    @pytest.mark.fast
    @pytest.mark.parametrize(("x", "dtype"), [(1.0, jnp.int8), (1, jnp.bfloat16), (1j, jnp.bfloat16), (1.0, jnp.float8_e4m3fn)])
    def test_what_is_not_of_floating_point_is_refused(self, x, dtype):
        with pytest.raises(gx.HyperparameterError, match="stochastic_round: `dtype` must be bfloat16, float16 or wider"):
            gx.stochastic_round(x, dtype, KEY)


@pytest.mark.fast
class TestApplyUpdatesStochastically:
    def test_small_updates_arrive_in_the_mean(self):
        """1000 updates of 1e-4 on parameters of 1: to nearest, bfloat16 never moves."""
        p = jnp.ones(4096, jnp.bfloat16)
        u = jnp.full(4096, -1e-4)
        step = lambda p, i: (gx.apply_updates_stochastically(p, u, jax.random.fold_in(KEY, i)), None)
        end, _ = jax.lax.scan(step, p, jnp.arange(1000))
        assert (gx.apply_updates(p, u) == 1).all()
        np.testing.assert_allclose(np.asarray(end, np.float64).mean(), 0.9, atol=2e-3)

    def test_wide_leaves_holes_and_keys(self):
        x = jnp.asarray(some_float32(512, jnp.float16)) * 2.0**-16
        params = {
            "a": x.astype(jnp.float16),
            "b": x,
            "c": x.astype(jnp.float16),
            "d": None,
            "e": jnp.arange(3),
            "f": gx.MaskedNode(),
        }
        updates = {"a": x, "b": x, "c": x, "d": None, "e": np.zeros(3, jax.dtypes.float0), "f": gx.MaskedNode()}
        new = gx.apply_updates_stochastically(params, updates, KEY)
        np.testing.assert_array_equal(new["b"], gx.apply_updates(params, updates)["b"])
        np.testing.assert_array_equal(new["e"], params["e"])
        assert new["a"].dtype == jnp.float16
        assert (new["a"] != new["c"]).any()  # their own keys
        without = gx.apply_updates_stochastically({**params, "a": gx.MaskedNode()}, {**updates, "a": gx.MaskedNode()}, KEY)
        np.testing.assert_array_equal(bits(without["c"]), bits(new["c"]))  # by position, not by rank among the present

    def test_does_not_depend_on_the_sharding_or_on_jit(self):
        p = {"w": jnp.asarray(some_float32(64, jnp.bfloat16).reshape(16, 4)).astype(jnp.bfloat16), "v": jnp.ones(16, jnp.bfloat16)}
        u = jax.tree.map(lambda x: x.astype(jnp.float32) * 1e-3, p)
        mesh = jax.make_mesh((8,), ("d",), axis_types=(AxisType.Auto,))
        put = functools.partial(jax.tree.map, lambda x: jax.device_put(x, NamedSharding(mesh, PartitionSpec("d"))))
        plain, sharded = gx.apply_updates_stochastically(p, u, KEY), jax.jit(gx.apply_updates_stochastically)(put(p), put(u), KEY)
        for x, y in zip(jax.tree.leaves(plain), jax.tree.leaves(sharded), strict=True):
            np.testing.assert_array_equal(bits(x), bits(y))

    def test_other_shapes_are_refused(self):
        with pytest.raises(gx.StructureError, match=r"apply_updates_stochastically: at '\(root\)' the parameter has shape \(3,\)"):
            gx.apply_updates_stochastically(jnp.ones(3, jnp.bfloat16), jnp.ones((3, 1)), KEY)


def start(dtype, seed=0):
    rng = np.random.default_rng(seed)
    return {"w": jnp.asarray(rng.normal(size=(8, 5)), dtype), "b": jnp.asarray(rng.normal(size=5) * 1e-3, dtype)}


def gradient(params):
    return jax.tree.map(lambda p: (p.astype(jnp.float32) - 0.37 + jnp.sin(50 * p.astype(jnp.float32))).astype(p.dtype), params)


def wide(tree):
    return jax.tree.map(lambda x: x.astype(jnp.float32), tree)


def assert_equal(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(np.asarray(x).astype(np.float64), np.asarray(y).astype(np.float64))


OPTIMIZERS = [gx.adam(1e-3), gx.sgd(1e-2, 0.9, nesterov=True), gx.adamw(1e-2, weight_decay=0.1)]


class TestMasterWeights:
    @by_dtype
    @pytest.mark.parametrize("inner", OPTIMIZERS, ids=["adam", "sgd", "adamw"])
    @pytest.mark.parametrize("apply", [gx.apply_updates, optax.apply_updates], ids=["ours", "optax"])
    def test_equals_float32_training_rounded(self, dtype, inner, apply):
        """The same gradients, taken at the narrow parameters: after each step they are the float32 run's, rounded."""
        tx, params = gx.master_weights(inner), start(dtype)
        state, reference = tx.init(params), wide(params)
        expected = inner.init(reference)
        step, other, moved = tx.update, inner.update, 0  # compiled whole, XLA may fuse -rate * x into the sum
        for _ in range(60):
            grads = gradient(params)
            u, state = step(grads, state, params)
            before, params = params, apply(params, u)
            v, expected = other(wide(grads), expected, reference)
            reference = gx.apply_updates(reference, v)
            assert_equal(params, jax.tree.map(lambda x: x.astype(dtype), reference))
            moved += sum(int((x != y).sum()) for x, y in zip(jax.tree.leaves(before), jax.tree.leaves(params), strict=True))
        assert_equal(state.master, reference)
        assert moved > 100

    @pytest.mark.fast
    @by_dtype
    def test_moves_where_narrow_training_stands_still(self, dtype):
        p, tx = jnp.ones(4, dtype), gx.master_weights(gx.sgd(1e-5))
        state, u = tx.init(p), None
        for _ in range(200):
            u, state = tx.update(jnp.ones_like(p), state, p)
            p = gx.apply_updates(p, u)
        np.testing.assert_allclose(state.master, 1 - 2e-3, rtol=1e-5)
        assert (p == state.master.astype(dtype)).all()
        assert (gx.apply_updates(jnp.ones(4, dtype), jnp.full(4, -1e-5)) == 1).all()

    @pytest.mark.fast
    @by_dtype
    def test_compiled_whole_it_is_the_same_to_rounding(self, dtype):
        tx, params = gx.master_weights(gx.adam(1e-3)), start(dtype)
        state, step = tx.init(params), jax.jit(tx.update)
        eager = state
        for _ in range(20):
            grads = gradient(params)
            u, state = step(grads, state, params)
            _, eager = tx.update(grads, eager, params)
            params = gx.apply_updates(params, u)
            assert_equal(params, jax.tree.map(lambda x: x.astype(dtype), state.master))
        for x, y in zip(jax.tree.leaves(state.master), jax.tree.leaves(eager.master), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-8)

    @by_dtype
    @pytest.mark.parametrize("key", [None, 7], ids=["nearest", "stochastic"])
    @pytest.mark.parametrize("elsewhere", [False, True], ids=["own parameters", "changed from elsewhere"])
    def test_every_step_reaches_the_rounded_copy(self, dtype, key, elsewhere):
        """Also steps across all magnitudes, for which float32 may have no update: there the copy gives way by less than 2^-23 p."""
        old, new, other = (jnp.asarray(np.clip(some_float32(50_000, jnp.float16, seed), -6e4, 6e4)) for seed in (1, 2, 3))
        tx = gx.master_weights(gx.chain(), key=key)  # the gradient is the step
        state, p = tx.init(old.astype(dtype)), (other if elsewhere else old).astype(dtype)
        near_zero = -old * (1 + 2.0**-22)  # crosses zero and all but vanishes
        target = jnp.where(jnp.arange(50_000) % 2 == 0, new, old + near_zero)

        def step(p, s):
            u, s = tx.update(target - s.master, s, p)
            return gx.apply_updates(p, u), s, u

        for run in (step, jax.jit(step)):
            q, after, u = run(p, state)
            assert u.dtype == jnp.float32
            copy, sum_ = np.asarray(after.master), np.asarray(state.master + (target - state.master))
            q = np.asarray(q)
            if key is None:
                assert (q == copy.astype(dtype)).all()
            else:
                spacing = np.maximum(np.abs(copy) * float(jnp.finfo(dtype).eps), float(jnp.finfo(dtype).smallest_subnormal))
                assert (np.abs(q.astype(np.float32) - copy) <= spacing).all()
                assert (q != copy.astype(dtype)).any()
            gave_way = copy != sum_
            assert gave_way.mean() < 0.5
            assert gave_way.any() or not elsewhere
            slack = 2.0**-23 * np.abs(np.asarray(p).astype(np.float32)) + np.abs(sum_) * float(jnp.finfo(dtype).eps)
            assert (np.abs(copy - sum_)[gave_way] <= slack[gave_way]).all()

    @pytest.mark.fast
    def test_stochastic_writes_are_unbiased_and_fresh(self):
        tx, p = gx.master_weights(gx.sgd(1.0), key=3), jnp.ones(2**14, jnp.bfloat16)
        state, means = tx.init(p), []
        for i in range(3):
            u, state = tx.update(jnp.full_like(p, 1e-3 if i == 0 else 0.0), state, p)
            p = gx.apply_updates(p, u)
            means.append(np.asarray(p))
        for x in means:
            fraction = 1e-3 * 256
            error = (x.astype(np.float64).mean() - float(state.master[0])) / (2**-8 * np.sqrt(fraction * (1 - fraction) / 2**14))
            assert abs(error) < 5
        assert (means[1] != means[2]).any()
        assert (state.master == state.master[0]).all()

    @pytest.mark.fast
    def test_only_narrow_leaves_have_a_copy(self):
        params = {
            "h": jnp.ones(3, jnp.float16),
            "f": jnp.ones(3),
            "n": jnp.arange(3),
            "none": None,
            "z": jnp.ones(2, jnp.complex64),
        }
        grads = {**params, "n": np.zeros(3, jax.dtypes.float0)}
        tx = gx.master_weights(gx.adam(0.1))
        state = tx.init(params)
        assert jax.tree.map(jnp.shape, state.master) == {**dict.fromkeys("fnz", gx.MaskedNode()), "h": (3,), "none": None}
        u, state = tx.update(grads, state, params)
        alone = gx.adam(0.1)
        expected, _ = alone.update({"f": grads["f"]}, alone.init({"f": params["f"]}))
        np.testing.assert_array_equal(u["f"], expected["f"])
        assert gx.apply_updates(params, u)["h"].dtype == jnp.float16

    @pytest.mark.fast
    def test_a_float64_copy(self, x64):
        p = {"f": jnp.ones(3), "h": jnp.ones(3, jnp.bfloat16), "z": jnp.ones(3, jnp.complex64)}
        p = jax.tree.map(lambda x: x.astype(jnp.float32) if x.dtype == jnp.float64 else x, p)
        for key in (None, 0):
            tx = gx.master_weights(gx.sgd(1e-9), jnp.float64, key)
            u, state = tx.update(p, tx.init(p), p)
            assert {k: v.dtype for k, v in state.master.items()} == {"f": "float64", "h": "float64", "z": "complex128"}
            np.testing.assert_array_equal(state.master["f"], 1 - 1e-9)
            assert gx.apply_updates(p, u)["f"].dtype == jnp.float32

    @pytest.mark.fast
    def test_in_a_partition_and_under_a_mask(self):
        params = {"a": jnp.ones(3, jnp.bfloat16), "b": jnp.ones(3, jnp.bfloat16)}
        tx = gx.partition({"m": gx.master_weights(gx.sgd(1e-4)), "p": gx.sgd(1e-4)}, {"a": "m", "b": "p"})
        u, state = tx.update(params, tx.init(params), params)
        assert (u["a"].dtype, u["b"].dtype) == (jnp.float32, jnp.bfloat16)
        np.testing.assert_allclose(state.inner_states["m"].inner_state.master["a"], 1 - 1e-4, rtol=1e-6)

    @pytest.mark.fast
    def test_the_rounding_does_not_depend_on_the_sharding(self):
        p = {"w": jnp.asarray(some_float32(64, jnp.float16).reshape(16, 4)).astype(jnp.bfloat16)}
        tx = gx.master_weights(gx.adam(1e-3), key=0)
        mesh = jax.make_mesh((8,), ("d",), axis_types=(AxisType.Auto,))
        q = jax.tree.map(lambda x: jax.device_put(x, NamedSharding(mesh, PartitionSpec("d"))), p)
        one, eight = (jax.jit(lambda p, s: tx.update(p, s, p))(x, tx.init(x)) for x in (p, q))
        assert_equal(one[0], eight[0])
        assert eight[1].master["w"].sharding.is_equivalent_to(q["w"].sharding, 2)

    @pytest.mark.fast
    def test_needs_params_and_a_wide_dtype(self):
        tx, p = gx.master_weights(gx.sgd(0.1)), jnp.ones(3, jnp.bfloat16)
        with pytest.raises(gx.MissingArgumentError, match="master_weights: needs the parameters"):
            tx.update(p, tx.init(p))
        for bad in (jnp.bfloat16, jnp.int32):
            with pytest.raises(gx.HyperparameterError, match="master_weights: `dtype` must be float32 or wider"):
                gx.master_weights(gx.sgd(0.1), bad)
        with pytest.raises(gx.StructureError, match="master_weights: expected a GradientTransformation"):
            gx.master_weights(gx.sgd)

    @pytest.mark.fast
    def test_eval_params_are_narrow(self):
        tx, p = gx.master_weights(gx.sgd(0.1, 0.9, nesterov=True)), jnp.ones(3, jnp.bfloat16)
        u, state = tx.update(p, tx.init(p), p)
        found = gx.eval_params(tx, state, gx.apply_updates(p, u))
        assert found.dtype == jnp.bfloat16
        assert (found == jnp.bfloat16(0.9)).all()  # 1 - rate g

    @pytest.mark.fast
    def test_repr(self):
        assert repr(gx.master_weights(gx.scale(-1.0))) == "master_weights(scale(-1.0))"
        assert repr(gx.master_weights(gx.scale(-1.0), "float64", 3)) == "master_weights(scale(-1.0), dtype='float64', key=3)"

    @pytest.mark.parametrize("key", [None, 0], ids=["nearest", "stochastic"])
    def test_laws(self, key):
        report = examine(gx.master_weights(gx.adam(1e-3), key=key))
        assert report.ok, report


def last_master():
    """A complete optimizer with a master copy at its end, one stage before it."""
    return gx.chain(gx.clip(100.0), gx.master_weights(gx.sgd(0.003, 0.9)))


BOTH = {"w": True, "b": True}
GROUPS = {"m": last_master(), "s": gx.sgd(0.1)}
AROUND = {
    "chain": last_master(),
    "named_chain": gx.named_chain(("one", gx.clip(9.0)), ("two", last_master())),
    "masked": gx.masked(last_master(), BOTH),
    "partition": gx.partition(GROUPS, {"w": "m", "b": "s"}),
    "flatten": gx.flatten(last_master()),
    "sam": gx.sam(last_master(), gx.sgd(0.01)),
    "sam, partition": gx.sam(gx.partition(GROUPS, {"w": "m", "b": "s"}), gx.sgd(0.01)),
    "sam, masked": gx.sam(gx.masked(last_master(), BOTH), gx.sgd(0.01)),
    "sam, accumulate": gx.sam(gx.accumulate(last_master(), 2), gx.sgd(0.01)),
    "flatten, sam": gx.flatten(gx.sam(last_master(), gx.sgd(0.01))),
    "accumulate": gx.accumulate(last_master(), 2),
    "accumulate, no branch": gx.accumulate(last_master(), 2, branch_free=True),
    "MultiSteps": gx.MultiSteps(last_master(), 2).gradient_transformation(),
    "apply_if_finite": gx.apply_if_finite(last_master(), 3),
    "conditionally_mask": gx.conditionally_mask(last_master(), lambda k: k % 2 == 0),
    "inject_hyperparams": gx.inject_hyperparams(lambda rate: gx.chain(gx.clip(9.0), gx.master_weights(gx.sgd(rate))))(0.003),
    "split_real_and_imaginary": gx.split_real_and_imaginary(last_master()),
    "with_extra_args_support": gx.with_extra_args_support(last_master()),
}


@pytest.mark.parametrize("name", AROUND)
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
def test_the_parameter_is_the_rounded_copy_whatever_is_around(name, compiled):
    """Nothing on the way out may round the difference of two narrow numbers to their own dtype."""
    tx, params, moved = AROUND[name], start("bfloat16"), 0
    state, update = tx.init(params), jax.jit(tx.update) if compiled else tx.update
    for _ in range(8):
        u, state = update(gradient(params), state, params)
        before, params = params, gx.apply_updates(params, u)
        moved += sum(int((x != y).sum()) for x, y in zip(jax.tree.leaves(before), jax.tree.leaves(params), strict=True))
    [copy] = [x for _, x in gx.tree.get_all_with_path(state, "master")]
    if "flatten" in name:
        np.testing.assert_array_equal(bits(copy.astype("bfloat16")), bits(jnp.concatenate([params["b"], params["w"].ravel()])))
    else:
        kept = {k: x for k, x in copy.items() if isinstance(x, jax.Array)}
        assert set(kept) == ({"w"} if "partition" in name else {"w", "b"})
        assert_equal(jax.tree.map(lambda x: x.astype("bfloat16"), kept), {k: params[k] for k in kept})
    assert moved > 50
    if "partition" in name:
        assert (u["w"].dtype, u["b"].dtype) == (jnp.float32, jnp.bfloat16)


@pytest.mark.fast
def test_lookahead_hands_wide_updates_on():
    """Until it goes back to the slow parameters, which the copy does not hear of."""
    tx, params = gx.lookahead(last_master(), 5, 0.5), gx.LookaheadParams.init_synced(start("bfloat16"))
    state = tx.init(params)
    for _ in range(4):
        u, state = tx.update(gradient(params.fast), state, params)
        params = gx.apply_updates(params, u)
        assert_equal(params.fast, jax.tree.map(lambda x: x.astype("bfloat16"), state.fast_state[1].master))
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(u))


# Derivatives ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.fast
@by_dtype
@pytest.mark.parametrize("key", [None, 3], ids=["nearest", "stochastic"])
def test_master_weights_pass_derivatives_through(dtype, key):
    """By a rate and by the first parameters, as they are without rounding, up to that of the derivative itself."""

    def end(rate, p, tx):
        state = tx.init(p)
        for _ in range(3):
            u, state = tx.update(jax.tree.map(lambda x: 2 * x, p), state, p)
            p = gx.apply_updates(p, u)
        return jnp.sum(p.astype(jnp.float32))

    rounded = lambda rate, p: end(rate, p, gx.master_weights(gx.sgd(rate), key=key))
    exact = lambda rate, p: end(rate, p.astype(jnp.float32), gx.sgd(rate))
    p = jnp.asarray([1.0, -3.0, 0.3], dtype)
    got, expected = (jax.grad(f, (0, 1))(0.1, p) for f in (rounded, exact))
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(np.asarray(a, float), np.asarray(b, float), rtol=0.03)


@pytest.mark.fast
@by_dtype
def test_stochastic_rounding_passes_derivatives_through(dtype):
    x = jnp.asarray([1.003, -2.7, 1e-6, 300.1])
    f = lambda x: gx.stochastic_round(x, dtype, KEY)
    primal, tangent = jax.jvp(f, (x,), (jnp.ones_like(x),))
    np.testing.assert_array_equal(np.asarray(primal, float), np.asarray(f(x), float))
    assert tangent.dtype == dtype
    np.testing.assert_array_equal(np.asarray(tangent, float), 1)
    np.testing.assert_array_equal(jax.jit(jax.grad(lambda x: f(x).astype(jnp.float32).sum()))(x), 1)
    step = lambda rate: gx.apply_updates_stochastically(jnp.ones(3, dtype), -rate * jnp.arange(3.0), KEY).astype(jnp.float32).sum()
    np.testing.assert_allclose(jax.grad(step)(0.1), -3, rtol=1e-2)
    z = jnp.asarray([1.003 + 2j])
    through = jax.vjp(lambda z: gx.stochastic_round(z, jnp.complex64, KEY), z)[1](jnp.ones_like(z))[0]
    np.testing.assert_array_equal(through, 1)
