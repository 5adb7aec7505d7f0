"""Master weights whose copy is the parameter and the bits below it."""

import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from oracle import optax

import gradxform as gx
from gradxform.precision._low_bits import join, split
from gradxform.testing import examine

by_bits = pytest.mark.parametrize("bits", [16, 8])
SPLIT, JOIN = jax.jit(split, static_argnums=1), jax.jit(join)
OPTIMIZERS = {"adam": gx.adam(1e-3), "nesterov": gx.sgd(1e-2, 0.9, nesterov=True), "adamw": gx.adamw(1e-2, weight_decay=0.1)}


def patterns(x):
    return np.asarray(x).view({2: np.uint16, 4: np.uint32}[np.asarray(x).dtype.itemsize])


def numbers(n=200_000, low=-126, high=127, seed=0):
    """Of every magnitude and both signs, and those at the ends."""
    rng = np.random.default_rng(seed)
    x = np.ldexp(rng.uniform(1, 2, n).astype(np.float32), rng.integers(low, high + 1, n)) * rng.choice([-1, 1], n)
    odd = [0.0, -0.0, np.inf, -np.inf, np.finfo(np.float32).max, 3.39e38, 1e-45, -1e-45, 1e-40, -3e-39, 1 + 2**-8, -1 - 2**-8]
    return np.concatenate([x, odd]).astype(np.float32)


def nearest(x):
    """The bfloat16 next to a float32, ties away from zero."""
    u = patterns(np.asarray(x)).astype(np.uint64)
    return ((u + 0x8000) >> np.uint64(16)).astype(np.uint16).view(jnp.bfloat16)


def start(seed=0):
    rng = np.random.default_rng(seed)
    return {"w": jnp.asarray(rng.normal(size=(16, 8)), jnp.bfloat16), "b": jnp.asarray(rng.normal(size=24), jnp.bfloat16)}


def gradient(p):
    return jax.tree.map(lambda x: (x.astype(jnp.float32) - 0.37 + jnp.sin(50 * x.astype(jnp.float32))).astype(x.dtype), p)


def wide(tree):
    return jax.tree.map(lambda x: x.astype(jnp.float32), tree)


def same(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(np.atleast_1d(x).view(np.uint8), np.atleast_1d(y).view(np.uint8))


def copy_of(params, state):
    return jax.tree.map(join, params, state.low)


@pytest.mark.fast
class TestTheParts:
    def test_sixteen_bits_are_exact(self):
        x = numbers()
        p, low = SPLIT(x, 16)
        assert (p.dtype, low.dtype) == (jnp.bfloat16, jnp.int16)
        np.testing.assert_array_equal(patterns(p), patterns(nearest(x)))
        np.testing.assert_array_equal(patterns(JOIN(p, low)), patterns(x))
        assert (patterns(p) == patterns(x.astype(jnp.bfloat16))).mean() > 0.9999  # but for ties, which go to even there

    def test_eight_bits_are_exact_to_two_to_the_minus_sixteen(self):
        x = numbers(high=126)
        x = x[np.isfinite(x) & (np.abs(x) > 2e-38) & (np.abs(x) < 3e38)]
        p, low = SPLIT(x, 8)
        assert low.dtype == jnp.int8
        m = JOIN(p, low)
        assert (np.abs(np.asarray(m, np.float64) - x) <= 2.0**-16 * np.abs(x.astype(np.float64))).all()
        np.testing.assert_array_equal(patterns(p), patterns(nearest(np.asarray(m))))
        again = SPLIT(m, 8)
        same((p, low), again)

    def test_eight_bits_at_random_are_unbiased(self):
        n = 2**18
        for x in np.float32([1.0 + 2.0**-19, -3.14159, 255.77, 1e-20]):
            noise = gx.counter_bits((n,), 5)
            m = np.asarray(JOIN(*SPLIT(jnp.full(n, x), 8, noise)), np.float64)
            values = np.unique(m)
            assert len(values) == 2
            spread = np.sqrt((x - values[0]) * (values[1] - x) / n)
            assert abs(m.mean() - np.float64(x)) < 4 * spread

    @by_bits
    def test_what_is_no_number_stays_so(self, bits):
        x = np.array([0x7FC00000, 0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001], np.uint32).view(np.float32)
        p, low = SPLIT(x, bits)
        assert np.isnan(np.asarray(p, np.float32)).all()
        assert np.isnan(JOIN(p, low)).all()

    @by_bits
    def test_beside_any_parameter_they_are_a_small_part_of_it(self, bits):
        """Of one that was changed from elsewhere: no zero turns negative or NaN, no infinity finite or NaN."""
        every = np.arange(2**16, dtype=np.uint16).view(jnp.bfloat16)
        p = every[np.isfinite(every.astype(np.float32)) | np.isinf(every.astype(np.float32))]
        for low in np.iinfo(f"int{bits}").min, -1, 1, np.iinfo(f"int{bits}").max:
            m = np.asarray(JOIN(p, jnp.full(p.shape, low, f"int{bits}")), np.float64)
            x = p.astype(np.float64)
            ordinary = np.isfinite(x) & (np.abs(x) > 2e-38) & (np.abs(x) < 3e38)
            assert (np.abs(m[ordinary] - x[ordinary]) <= 2.0**-8 * np.abs(x[ordinary])).all()
            assert not np.isnan(m).any()
            assert (np.signbit(m) == np.signbit(x)).all()
            assert (np.abs(m[x == 0]) < 1e-40).all()
            if low > 0:
                np.testing.assert_array_equal(m[np.isinf(x)], x[np.isinf(x)])


class TestTraining:
    @pytest.mark.parametrize("apply", [gx.apply_updates, optax.apply_updates], ids=["ours", "optax"])
    @pytest.mark.parametrize("name", OPTIMIZERS)
    def test_sixteen_bits_train_as_float32_does(self, name, apply):
        """The copy is the float32 run's, bit for bit, and the parameters are that, rounded."""
        inner, params, moved = OPTIMIZERS[name], start(), 0
        tx = gx.master_weights(inner, bits=16)
        state, reference = tx.init(params), wide(params)
        expected = inner.init(reference)
        for _ in range(60):
            grads = gradient(params)
            u, state = tx.update(grads, state, params)
            before, params = params, apply(params, u)
            v, expected = inner.update(wide(grads), expected, reference)
            reference = gx.apply_updates(reference, v)
            same(params, jax.tree.map(lambda x: jnp.asarray(nearest(np.asarray(x))), reference))
            same(copy_of(params, state), reference)
            moved += sum(int((x != y).sum()) for x, y in zip(jax.tree.leaves(before), jax.tree.leaves(params), strict=True))
        assert moved > 100

    def test_eight_bits_train_nearly_as_float32_does(self):
        inner, params = gx.adam(1e-3), start()
        tx, reference = gx.master_weights(inner, bits=8), wide(start())
        state, expected = tx.init(params), inner.init(wide(start()))
        for i in range(60):
            grads = jax.tree.map(lambda x, i=i: jnp.sin(i + jnp.arange(x.size, dtype=jnp.float32)).reshape(x.shape), params)
            u, state = tx.update(grads, state, params)
            params = gx.apply_updates(params, u)
            v, expected = inner.update(grads, expected, reference)
            reference = gx.apply_updates(reference, v)
        for x, y in zip(jax.tree.leaves(copy_of(params, state)), jax.tree.leaves(reference), strict=True):
            assert (np.abs(x - y) <= 60 * 2.0**-16 * np.maximum(np.abs(x), np.abs(y)) + 1e-8).all()
            assert (x != y).any()

    def test_eight_bits_and_a_key_lose_no_update(self):
        """An update of 2^-20 of the parameter is below their last bit: to nearest it is lost, at random it arrives in the mean."""
        p = {n: jnp.ones(2**14, jnp.bfloat16) for n in (None, 3)}
        m = {}
        for key in p:
            tx = gx.master_weights(gx.sgd(1.0), bits=8, key=key)
            step = lambda carry, _, tx=tx: (_stepped(tx, *carry, lambda p: jnp.full_like(p, -(2.0**-20))), None)
            (q, state), _ = jax.lax.scan(step, (p[key], tx.init(p[key])), None, 64)
            m[key] = np.asarray(join(q, state.low), np.float64)
        np.testing.assert_array_equal(m[None], 1)
        assert abs(m[3].mean() - (1 + 64 * 2.0**-20)) < 5 * 2.0**-15 * np.sqrt(64 * 2.0**-5 / 2**14)

    @by_bits
    def test_every_step_reaches_the_rounded_copy(self, bits):
        """Also across all magnitudes, for which float32 may have no update: there the copy gives way by less than 2^-23 p."""
        old, new = (jnp.asarray(np.clip(numbers(50_000, -40, 15, seed), -6e4, 6e4)) for seed in (1, 2))
        tx = gx.master_weights(gx.chain(), bits=bits)  # the gradient is the step
        p = old.astype(jnp.bfloat16)
        state = tx.init(p)._replace(low=jnp.asarray(np.random.default_rng(0).integers(-128, 128, p.shape), f"int{bits}"))
        m = join(p, state.low)
        near_zero = m * 2.0**-22  # crosses zero and all but vanishes
        target = jnp.where(jnp.arange(len(new)) % 2 == 0, new, near_zero)
        for run in (tx.update, jax.jit(tx.update)):
            u, after = run(target - m, state, p)
            q = gx.apply_updates(p, u)
            copy, wanted = np.asarray(join(q, after.low)), np.asarray(m + (target - m))
            np.testing.assert_array_equal(patterns(q), patterns(nearest(copy)))
            slack = 2.0**-23 * np.abs(np.asarray(m)) + (2.0**-16 if bits == 8 else 0) * np.abs(wanted)
            kept = np.asarray(after.low) != 0
            assert (np.abs(copy - wanted)[kept] <= slack[kept]).all()
            assert (np.abs(copy - wanted) <= slack + 2.0**-8 * np.abs(wanted)).all()
            assert kept[::2].mean() > 0.2

    @by_bits
    def test_a_parameter_changed_from_elsewhere_moves_the_copy(self, bits):
        """Where an own copy undoes the change."""
        p, tx = start()["b"], gx.master_weights(gx.sgd(1e-3), bits=bits)
        u, state = tx.update(gradient(p), tx.init(p), p)
        p = gx.apply_updates(p, u)
        other = (p * 0.75).astype(jnp.bfloat16)
        u, _ = tx.update(jnp.zeros_like(p), state, other)
        np.testing.assert_array_equal(gx.apply_updates(other, u), other)
        own = gx.master_weights(gx.sgd(1e-3))
        v, old = own.update(gradient(p), own.init(p), p)
        back, _ = own.update(jnp.zeros_like(p), old, other)
        np.testing.assert_array_equal(gx.apply_updates(other, back), gx.apply_updates(p, v))
        pruned, _ = tx.update(jnp.zeros_like(p), state, jnp.zeros_like(p))
        assert (np.abs(gx.apply_updates(jnp.zeros_like(p), pruned)) < 1e-40).all()


def _stepped(tx, p, state, gradient):
    u, state = tx.update(gradient(p), state, p)
    return gx.apply_updates(p, u), state


class TestAround:
    @pytest.mark.fast
    @by_bits
    def test_only_narrow_leaves_keep_bits(self, bits):
        params = {
            "h": jnp.ones(3, jnp.bfloat16),
            "f": jnp.ones(3),
            "n": jnp.arange(3),
            "none": None,
            "z": jnp.ones(2, jnp.complex64),
        }
        tx = gx.master_weights(gx.adam(0.1), bits=bits)
        state = tx.init(params)
        assert jax.tree.map(jnp.shape, state.low) == {**dict.fromkeys("fnz", gx.MaskedNode()), "h": (3,), "none": None}
        grads = {**params, "n": np.zeros(3, jax.dtypes.float0)}
        u, state = tx.update(grads, state, params)
        alone = gx.adam(0.1)
        np.testing.assert_array_equal(u["f"], alone.update({"f": grads["f"]}, alone.init({"f": params["f"]}))[0]["f"])

    @by_bits
    def test_what_is_not_the_half_of_a_float32_has_a_copy_of_its_own(self, bits):
        """float16 has other exponents; its leaves are as with bits=32, and bfloat16 leaves beside them are not."""
        params = {"b": start()["b"], "h": start()["b"].astype(jnp.float16)}
        tx, own = gx.master_weights(gx.adam(1e-3), bits=bits), gx.master_weights(gx.adam(1e-3))
        state, reference = tx.init(params), own.init({"h": params["h"]})
        assert jax.tree.map(lambda x: str(x.dtype), state.low) == {"b": f"int{bits}", "h": gx.MaskedNode()}
        assert jax.tree.map(lambda x: str(x.dtype), state.master) == {"b": gx.MaskedNode(), "h": "float32"}
        for _ in range(5):
            grads = gradient(params)
            v, reference = own.update({"h": grads["h"]}, reference, {"h": params["h"]})
            u, state = tx.update(grads, state, params)
            same(u["h"], v["h"])
            params = gx.apply_updates(params, u)
            same(state.master["h"], reference.master["h"])
            same(params["h"], state.master["h"].astype(jnp.float16))
        found = gx.eval_params(tx, state, params)
        assert found["h"].dtype == jnp.float16

    @by_bits
    @pytest.mark.parametrize("axis_type", [AxisType.Auto, AxisType.Explicit], ids=lambda a: a.name)
    def test_does_not_depend_on_the_sharding(self, bits, axis_type):
        p = {"w": jnp.asarray(numbers(52, -8, 8).reshape(16, 4), jnp.bfloat16)}
        tx = gx.master_weights(gx.adam(1e-3), bits=bits, key=3 if bits == 8 else None)
        mesh = jax.make_mesh((8,), ("d",), axis_types=(axis_type,))
        q = jax.tree.map(lambda x: jax.device_put(x, NamedSharding(mesh, PartitionSpec("d", None))), p)
        step = jax.jit(lambda p, s: tx.update(p, s, p))
        one, eight = (step(x, step(x, tx.init(x))[1]) for x in (p, q))
        same(one, eight)
        assert eight[1].low["w"].sharding.is_equivalent_to(q["w"].sharding, 2)
        assert tx.init(q).low["w"].sharding.is_equivalent_to(q["w"].sharding, 2)

    @by_bits
    def test_one_compilation_donated_and_scanned(self, bits):
        p, tx, traces = start(), gx.master_weights(gx.adam(1e-3), bits=bits), []

        @functools.partial(jax.jit, donate_argnums=(0, 1))
        def step(p, state):
            traces.append(0)
            return _stepped(tx, p, state, gradient)

        q, state = start(), tx.init(p)
        for _ in range(4):
            q, state = step(q, state)
        assert len(traces) == 1
        (scanned, last), _ = jax.lax.scan(lambda carry, _: (_stepped(tx, *carry, gradient), None), (p, tx.init(p)), None, 4)
        same((q, state.low), (scanned, last.low))

    @by_bits
    def test_a_run_goes_on_from_files(self, bits):
        flax = pytest.importorskip("flax")
        p, tx = start(), gx.master_weights(gx.adam(1e-3), bits=bits, key=7 if bits == 8 else None)
        p, state = _stepped(tx, p, tx.init(p), gradient)
        expected = _stepped(tx, p, state, gradient)
        pickled = pickle.loads(pickle.dumps((tx, p, state)))
        assert pickled[0] == tx
        same(_stepped(*pickled, gradient), expected)
        packed = flax.serialization.msgpack_serialize(flax.serialization.to_state_dict(state))
        restored = flax.serialization.from_state_dict(tx.init(p), flax.serialization.msgpack_restore(packed))
        same(_stepped(tx, p, restored, gradient), expected)

    @by_bits
    def test_evaluation_resuming_and_members_of_vmap(self, bits):
        tx, p = gx.master_weights(gx.sgd(0.1, 0.9, nesterov=True), bits=bits), jnp.ones(3, jnp.bfloat16)
        q, state = _stepped(tx, p, tx.init(p), lambda p: p)
        found = gx.eval_params(tx, state, q)
        assert found.dtype == jnp.bfloat16
        assert (found == jnp.bfloat16(0.9)).all()
        same(gx.resume_at(tx, state, 5).low, state.low)
        several = jnp.stack([start(i)["b"] for i in range(3)])
        together = jax.vmap(lambda p: _stepped(tx, p, tx.init(p), gradient))(several)
        for i in range(3):
            alone = _stepped(tx, several[i], tx.init(several[i]), gradient)
            same(jax.tree.map(lambda x, i=i: x[i], together), alone)

    @by_bits
    def test_laws(self, bits):
        for key in (None, 0) if bits == 8 else (None,):
            report = examine(gx.master_weights(gx.adam(1e-3), bits=bits, key=key))
            assert report.ok, str(report)

    @by_bits
    def test_derivatives_pass_through(self, bits):
        def end(rate, p, tx):
            state = tx.init(p)
            for _ in range(3):
                u, state = tx.update(jax.tree.map(lambda x: 2 * x, p), state, p)
                p = gx.apply_updates(p, u)
            return jnp.sum(p.astype(jnp.float32))

        p = jnp.asarray([1.0, -3.0, 0.3], jnp.bfloat16)
        got = jax.grad(lambda rate, p: end(rate, p, gx.master_weights(gx.sgd(rate), bits=bits)), (0, 1))(0.1, p)
        expected = jax.grad(lambda rate, p: end(rate, p.astype(jnp.float32), gx.sgd(rate)), (0, 1))(0.1, p)
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_allclose(np.asarray(a, float), np.asarray(b, float), rtol=0.03)

    @pytest.mark.fast
    def test_shown_and_compared(self):
        assert repr(gx.master_weights(gx.scale(-1.0), bits=16)) == "master_weights(scale(-1.0), bits=16)"
        assert gx.master_weights(gx.scale(-1.0), bits=16) == gx.master_weights(gx.scale(-1.0), bits=16)
        assert gx.master_weights(gx.scale(-1.0), bits=16) != gx.master_weights(gx.scale(-1.0), bits=8)


LABELS = {"w": "m", "b": "s"}
AROUND = {
    "chain": lambda tx: gx.chain(gx.clip(100.0), tx),
    "masked": lambda tx: gx.masked(tx, {"w": True, "b": False}),
    "partition": lambda tx: gx.partition({"m": tx, "s": gx.sgd(0.1)}, LABELS),
    "flatten": gx.flatten,
    "sam": lambda tx: gx.sam(tx, gx.sgd(0.01)),
    "accumulate": lambda tx: gx.accumulate(tx, 2),
    "MultiSteps": lambda tx: gx.MultiSteps(tx, 2).gradient_transformation(),
    "apply_if_finite": lambda tx: gx.apply_if_finite(tx, 3),
    "conditionally_mask": lambda tx: gx.conditionally_mask(tx, lambda k: k % 2 == 0),
}


@pytest.mark.parametrize("name", AROUND)
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
def test_as_with_a_copy_of_its_own_whatever_is_around(name, compiled):
    ends = []
    for bits in (32, 16):
        tx, params = AROUND[name](gx.master_weights(gx.sgd(0.003, 0.9), bits=bits)), start()
        state, update = tx.init(params), jax.jit(tx.update) if compiled else tx.update
        for _ in range(6):
            u, state = update(gradient(params), state, params)
            params = gx.apply_updates(params, u)
        ends.append(params)
    same(*ends)
    assert (ends[0]["w"] != start()["w"]).any()


def test_transfer_keeps_the_bits_and_never_reads_them_as_other_ones():
    p = start()
    tx = lambda bits, rate=1e-3: gx.master_weights(gx.adam(rate), bits=bits)
    p, state = _stepped(tx(16), p, tx(16).init(p), gradient)
    there = gx.transfer_state(tx(16), state, gx.chain(gx.clip(1.0), tx(16, 2e-3)), p)
    same(there.state[1].low, state.low)
    for bits in (8, 32):
        moved = gx.transfer_state(tx(16), state, tx(bits), p)
        expected = tx(bits).init(p)
        field = "low" if bits == 8 else "master"
        same(getattr(moved.state, field), getattr(expected, field))
        assert f"master_weights.{field}" in moved.fresh
        same(moved.state.inner_state[0].mu, state.inner_state[0].mu)


REFUSED = {
    "a key": (lambda: gx.master_weights(gx.sgd(0.1), bits=16, key=0), gx.HyperparameterError, "nothing is left to round at random"),
    "float64": (lambda: gx.master_weights(gx.sgd(0.1), "float64", bits=16), gx.HyperparameterError, "`dtype` is 'float64'"),
    "12 bits": (lambda: gx.master_weights(gx.sgd(0.1), bits=12), gx.HyperparameterError, "`bits` must be one of 32, 16, 8"),
    "other params": (
        lambda: _update("float16"),
        gx.StructureError,
        r"at 'a/w' the state keeps the bits below a bfloat16.*is float16",
    ),
    "no params": (lambda: _update(None), gx.MissingArgumentError, "master_weights: needs the parameters"),
}


def _init(dtype, bits=16):
    return gx.master_weights(gx.sgd(0.1), bits=bits).init({"a": {"w": jnp.ones(2, dtype)}})


def _update(dtype):
    p = None if dtype is None else {"a": {"w": jnp.ones(2, dtype)}}
    return gx.master_weights(gx.sgd(0.1), bits=16).update({"a": {"w": jnp.ones(2, "bfloat16")}}, _init("bfloat16"), p)


@pytest.mark.fast
@pytest.mark.parametrize("what", REFUSED)
def test_refusals(what):
    call, error, message = REFUSED[what]
    with pytest.raises(error, match=message):
        call()
