"""The optimizers and primitives of Optax that are neither Adam's nor parameter-free: what hurt there, and what must agree."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from oracles import ORACLES

import gradxform as gx
from gradxform import dialects

HALF = {
    "amsgrad": lambda: gx.amsgrad(0.1),  # optax #1754
    "yogi": lambda: gx.yogi(0.1),  # optax #1754
    "adan": lambda: gx.adan(0.1, eps_root=0.0),  # optax #1789
    "novograd": lambda: gx.novograd(0.1, eps=1e-8),  # optax #1789
    "radam": lambda: gx.radam(0.1),
    "sm3": lambda: gx.sm3(0.1),
    "rprop": lambda: gx.rprop(0.1),
    "fromage": lambda: gx.fromage(0.1),
    "optimistic_adam_v2": lambda: gx.optimistic_adam_v2(0.1),
    "normalize_by_update_norm": lambda: gx.normalize_by_update_norm(eps=1e-8),
    "scale_by_distance_over_gradients": lambda: gx.scale_by_distance_over_gradients(),
}


def noise(seed, shape=(4,)):
    return np.random.default_rng(seed).standard_normal(shape)


def run(tx, grads, params, **extra):
    """The updates along these gradients, at parameters that stay."""
    state, us = tx.init(params), []
    for g in grads:
        u, state = tx.update(g, state, params, **extra)
        us.append(u)
    return us, state


@pytest.mark.parametrize("name", HALF)
def test_zero_float16_gradients_give_finite_updates(name):
    params = {"w": jnp.ones((2, 3), jnp.float16)}
    us, state = run(HALF[name](), [jax.tree.map(jnp.zeros_like, params)] * 2, params)
    for x in jax.tree.leaves((us, state)):
        assert np.isfinite(x).all()
    assert us[1]["w"].dtype == jnp.float16


@pytest.mark.parametrize("name", HALF)
def test_none_gradients_are_holes(name):
    params = {"w": jnp.ones((2, 3)), "b": jnp.ones(3)}
    tx = HALF[name]()
    u, after = tx.update({"w": jnp.ones((2, 3)), "b": None}, tx.init(params), params)
    assert u["b"] is None
    assert jax.tree.structure(after) == jax.tree.structure(tx.init(params))


def test_amsgrad_can_be_that_of_pytorch():
    """optax #1389: PyTorch takes the maximum before the bias correction."""
    params, grads = jnp.ones(4), [jnp.asarray(noise(i) / (1 + i), jnp.float32) for i in range(6)]
    ours, _ = run(gx.amsgrad(0.1, bias_correction_nu="after"), grads, params)
    torch, _ = run(dialects.torch.adam(0.1, amsgrad=True), grads, params)
    optaxs, _ = run(gx.amsgrad(0.1), grads, params)
    np.testing.assert_allclose(ours, torch, rtol=3e-5)
    assert np.abs(np.subtract(ours, optaxs)).max() > 1e-3
    with pytest.raises(gx.HyperparameterError, match=r"scale_by_amsgrad: `bias_correction_nu` must be one of True, False, 'after'"):
        gx.scale_by_amsgrad(bias_correction_nu="before")


def test_adan_looks_ahead_with_the_papers_factor():
    """optax #1715: Optax has 1 - b2 in the place of b2, so its Adan with b2 = 0.5 is ours."""
    params, grads = jnp.ones(4), [jnp.asarray(noise(i), jnp.float32) for i in range(4)]
    for b2, agree in ((0.5, True), (0.92, False)):
        ours, theirs = run(gx.adan(0.1, b2=b2), grads, params)[0], run(optax.adan(0.1, b2=b2), grads, params)[0]
        assert np.allclose(ours, theirs, rtol=1e-5) == agree


def test_radam_keeps_its_digits():
    """In float32 the plain formula for rho, which Optax has, loses them; float64 is the truth."""
    grads = [noise(i) for i in range(12)]
    step = ORACLES["radam"](0.1)
    truth = [step([g])[0] for g in grads]
    narrow = [jnp.asarray(g, jnp.float32) for g in grads]
    ours, theirs = (np.asarray(run(o.radam(0.1), narrow, narrow[0])[0]) for o in (gx, optax))
    assert np.abs(ours / truth - 1).max() < 1e-4
    assert np.abs(theirs / truth - 1).max() > 1e-3


def test_novograd_says_that_it_needs_params():
    tx = gx.novograd(0.1)
    with pytest.raises(gx.MissingArgumentError, match="scale_by_novograd: needs the parameters"):
        tx.update(jnp.ones(3), tx.init(jnp.ones(3)))


def test_sm3_of_a_scalar_is_that_of_a_vector_of_one():
    """optax #1736"""
    grads = [jnp.float32(x) for x in (1.0, -0.5, 0.25)]
    scalar, _ = run(gx.sm3(0.1), grads, jnp.float32(1))
    vector, _ = run(gx.sm3(0.1), [g[None] for g in grads], jnp.ones(1))
    np.testing.assert_array_equal(scalar, np.ravel(vector))


@pytest.mark.parametrize("b2", [1.0, 0.9])
def test_sm3_of_tensors_is_optaxs(b2):
    shape = (3, 2, 4)
    grads = [jnp.asarray(noise(i, shape), jnp.float32) for i in range(3)]
    ours, s = run(gx.scale_by_sm3(b2=b2), grads, grads[0])
    with jax.numpy_rank_promotion("allow"):
        theirs, t = run(optax.scale_by_sm3(b2=b2), grads, grads[0])
    np.testing.assert_allclose(ours, theirs, rtol=2e-6)
    assert [x.shape for x in s.mu] == [x.shape for x in t.mu] == [(3,), (2,), (4,)]


@pytest.mark.parametrize("make", [gx.sm3, gx.rprop], ids=["sm3", "rprop"])
def test_the_rate_may_be_a_schedule(make):
    rate = gx.linear_schedule(0.1, 0.0, 4)
    grads = [jnp.ones(2)] * 2
    us, _ = run(make(rate), grads, jnp.ones(2))
    plain, _ = run(make(0.1), grads, jnp.ones(2))
    later = 0.75 if make is gx.sm3 else 1.0  # Rprop's rate is a beginning
    np.testing.assert_allclose(us, [plain[0], later * plain[1]], rtol=1e-6)


def test_rprop_is_not_late():
    """optax #1725"""
    us, _ = run(gx.rprop(0.1), [jnp.full(1, x) for x in (1.0, 1.0, 1.0, -1.0, 1.0)], jnp.zeros(1))
    np.testing.assert_allclose(np.ravel(us), [-0.1, -0.12, -0.144, 0.0, -0.072], rtol=1e-6)


def test_rprop_feels_tiny_gradients():
    """A product of two gradients would underflow, and the steps would not grow."""
    us, _ = run(gx.rprop(0.1), [jnp.full(1, 1e-30)] * 2, jnp.zeros(1))
    np.testing.assert_allclose(np.ravel(us), [-0.1, -0.12], rtol=1e-6)


def test_fromage_accepts_schedules_and_traced_rates():
    params, g = jnp.asarray(noise(0), jnp.float32), jnp.asarray(noise(1), jnp.float32)
    by_schedule, state = run(gx.fromage(gx.linear_schedule(0.5, 0.1, 2)), [g] * 2, params)
    by_number = [run(gx.fromage(rate), [g], params)[0][0] for rate in (0.5, 0.3)]
    traced = jax.jit(lambda rate: run(gx.fromage(rate), [g], params)[0][0])(0.5)
    np.testing.assert_allclose(by_schedule, by_number, rtol=1e-6)
    np.testing.assert_allclose(traced, by_number[0], rtol=1e-6)
    theirs, other = run(optax.fromage(optax.linear_schedule(0.5, 0.1, 2)), [g] * 2, params)
    np.testing.assert_allclose(by_schedule, theirs, rtol=1e-5)
    assert [len(s) for s in state] == [len(s) for s in other]


class TestPolyak:
    def test_steps_to_the_minimum_of_a_cone(self):
        p = jnp.asarray([3.0, 4.0])
        u, _ = gx.polyak_sgd(10.0).update(p / 5, gx.polyak_sgd(10.0).init(p), p, value=5.0)
        np.testing.assert_allclose(u, -p, rtol=1e-6)

    def test_variants_and_scaling_are_optaxs(self):
        g = jnp.asarray([1.0, 2.0])
        for arguments in ({"f_min": 3.0}, {"f_min": 3.0, "variant": "sps+"}, {"scaling": 0.5, "max_learning_rate": 9.0}):
            ours, theirs = (run(o.polyak_sgd(**arguments), [g], g, value=jnp.float32(1))[0] for o in (gx, optax))
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)

    def test_says_what_is_missing(self):
        tx = gx.polyak_sgd()
        with pytest.raises(gx.MissingArgumentError, match="scale_by_polyak: needs the extra argument `value`"):
            tx.update(jnp.ones(2), tx.init(jnp.ones(2)))
        with pytest.raises(gx.HyperparameterError, match=r"`variant` must be one of 'sps', 'sps\+'"):
            gx.polyak_sgd(variant="max")

    def test_a_zero_gradient_gives_zero(self):
        for value in (1.0, 0.0, -1.0):
            assert run(gx.polyak_sgd(), [jnp.zeros(2)], jnp.ones(2), value=value)[0][0].tolist() == [0, 0]


class TestDistanceOverGradients:
    def test_parameters_can_be_donated(self):
        """The state's first parameters are a copy."""
        tx, params = gx.scale_by_distance_over_gradients(), jnp.ones(3)
        step = jax.jit(lambda p, s, g: tx.update(g, s, p), donate_argnums=(0, 1))
        u, state = step(params, tx.init(params), jnp.ones(3))
        assert np.isfinite(u).all()
        assert state.init_params.tolist() == [1, 1, 1]

    def test_param_dtype(self):
        kept = lambda dtype, **arguments: (
            gx.scale_by_distance_over_gradients(**arguments).init(jnp.ones(3, dtype)).init_params.dtype
        )
        assert kept(jnp.bfloat16) == jnp.float32
        assert kept(jnp.complex64) == jnp.complex64
        assert kept(jnp.float32, param_dtype=jnp.bfloat16) == jnp.bfloat16


def test_optimism_needs_a_past():
    """optax #1082: the first update has no last gradient."""
    g = jnp.asarray([1.0, -2.0])
    us, state = run(gx.scale_by_optimistic_gradient(alpha=2.0, beta=3.0), [g, 2 * g], g)
    np.testing.assert_allclose(us, [2 * g, 2 * 2 * g + 3 * g])
    assert not state.is_initial_step


def test_optimistic_adam_is_deprecated_but_works():
    grads = [jnp.asarray(noise(i), jnp.float32) for i in range(3)]
    with pytest.warns(DeprecationWarning, match="optimistic_adam_v2"):
        ours = gx.optimistic_adam(0.1, 0.2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = optax.optimistic_adam(0.1, 0.2)
    np.testing.assert_allclose(run(ours, grads, grads[0])[0], run(theirs, grads, grads[0])[0], rtol=1e-5)
    assert isinstance(ours.init(grads[0])[1], gx.ScaleByOptimisticGradientState)


class TestApplyEvery:
    def test_sums(self):
        us, state = run(gx.apply_every(3), [jnp.full(2, float(i)) for i in range(1, 7)], jnp.zeros(2))
        assert [u[0] for u in us] == [0, 0, 6, 0, 0, 15]
        assert state.count == 0

    def test_a_nan_stays_in_its_round(self):
        us, _ = run(gx.apply_every(2), [jnp.full(1, x) for x in (jnp.nan, 1.0, 2.0, 3.0)], jnp.zeros(1))
        np.testing.assert_array_equal(np.ravel(us), [0, np.nan, 0, 5])

    def test_a_hole_begins_anew_too(self):
        ones, hole = {"a": jnp.ones(1)}, {"a": None}
        us, _ = run(gx.apply_every(2), [ones, ones, hole, ones], ones)
        assert [u["a"] if u["a"] is None else u["a"].item() for u in us] == [0, 2, None, 1]

    def test_k_is_a_count(self):
        with pytest.raises(gx.HyperparameterError, match=r"apply_every: `k` must be a whole number in \[1, inf\)"):
            gx.apply_every(0)
        assert gx.apply_every(jnp.int32(2)) == gx.apply_every(2)


class TestAdaptiveClip:
    @pytest.mark.parametrize(
        ("shape", "axis"), [((), None), ((1, 5, 1), None), ((3, 4), 1), ((2, 3, 4, 5), None), ((2, 1, 2, 1, 2), None)]
    )
    def test_units_are_optaxs(self, shape, axis):
        x = jnp.asarray(noise(1, shape), jnp.float32)
        np.testing.assert_allclose(gx.transforms.unitwise_norm(x, axis), optax.transforms.unitwise_norm(x, axis), rtol=1e-6)

    def test_too_many_axes_are_refused_with_the_leaf(self):
        x = {"w": jnp.ones((2,) * 6)}
        tx = gx.adaptive_grad_clip(0.1)
        with pytest.raises(gx.StructureError, match="more than 5 axes") as e:
            tx.update(x, tx.init(x), x)
        assert "'w'" in "".join(e.value.__notes__)
        assert gx.adaptive_grad_clip(0.1, axis=(0, 1)).update(x, tx.init(x), x)[0]["w"].shape == (2,) * 6

    def test_shapes_must_agree(self):
        with pytest.raises(gx.StructureError, match="unitwise_clip"):
            gx.transforms.unitwise_clip(jnp.ones(2), jnp.ones(2), jnp.ones(3))


PER_EXAMPLE = {"w": jnp.asarray(noise(0, (5, 2, 3)), jnp.float32), "b": jnp.asarray(noise(1, (5, 3)), jnp.float32)}


class TestPerExample:
    def test_global_norms_are_optaxs(self):
        ours, theirs = (o.per_example_global_norm_clip(PER_EXAMPLE, 2.0) for o in (gx, optax))
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5), ours, theirs)

    @pytest.mark.parametrize("uniform", [True, False])
    def test_layer_norms_are_optaxs(self, uniform):
        ours, theirs = (o.per_example_layer_norm_clip(PER_EXAMPLE, 2.0, uniform) for o in (gx, optax))
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5), ours, theirs)

    def test_float16_norms_do_not_overflow(self):
        total, clipped = gx.per_example_global_norm_clip(jnp.full((2, 4), 300.0, jnp.float16), 2.0)
        np.testing.assert_allclose(total, jnp.full(4, 2.0), rtol=1e-3)
        assert (total.dtype, int(clipped)) == (jnp.float16, 2)

    def test_a_batch_is_needed(self):
        for grads in ({"a": jnp.float32(1)}, {"a": jnp.ones((2, 3)), "b": jnp.ones((3, 3))}):
            with pytest.raises(gx.StructureError, match=r"per_example_global_norm_clip: .* batch dimension .*a: \("):
                gx.per_example_global_norm_clip(grads, 1.0)


class TestSeeds:
    def test_seed_is_deprecated_and_key_is_wanted(self):
        with pytest.warns(DeprecationWarning, match="use `key`"):
            assert gx.noisy_sgd(0.1, seed=3) == gx.noisy_sgd(0.1, key=3)
        with pytest.warns(UserWarning, match="without a `key`"):
            assert gx.noisy_sgd(0.1) == gx.noisy_sgd(0.1, key=0)
        with pytest.warns(DeprecationWarning, match="use `key`"), pytest.raises(gx.HyperparameterError, match="not both"):
            gx.add_noise(0.1, 0.5, key=1, seed=2)

    def test_the_variance_falls(self):
        us, _ = run(gx.noisy_sgd(1.0, eta=4.0, gamma=2.0, key=0), [jnp.zeros(4000)] * 2, jnp.zeros(4000))
        np.testing.assert_allclose(np.std(us, axis=1), [2.0, 1.0], rtol=0.05)


def test_parameters_stay_nonnegative():
    p, g = jnp.asarray([1.0, 1.0, -1.0]), jnp.asarray([-2.0, 0.5, 0.0])
    ours, theirs = (run(o.keep_params_nonnegative(), [g], p)[0][0] for o in (gx, optax))
    assert ours.tolist() == theirs.tolist() == [-1.0, 0.5, 1.0]


def test_states_without_a_field_have_optaxs_names():
    for name in (
        "AdaptiveGradClip",
        "AddDecayedWeights",
        "ClipByGlobalNorm",
        "Clip",
        "NonNegativeParams",
        "ScaleByTrustRatio",
        "Scale",
    ):
        assert getattr(gx, f"{name}State") is gx.EmptyState
