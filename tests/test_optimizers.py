"""Optimizers of one file each: what hurt users of Optax, and what must agree with it."""

import functools
import inspect
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import optax
from oracles import ORACLES
from steps import MATRIX, loss, noise, run

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


LEAFWISE = {
    "acprop": {"learning_rate": 0.1},
    "ademamix": {"learning_rate": 0.1},
    "simplified_ademamix": {"learning_rate": 0.1},
    "adopt": {"learning_rate": 0.1},
    "madgrad": {"learning_rate": 0.1},
    "cocob": {},
    "galore": {"learning_rate": 0.1, "rank": 2},
    "muon": {"learning_rate": 0.1},
    "sophia": {"learning_rate": 0.1},
}


def extra(name):
    return {"obj_fn": loss} if name == "sophia" else {}


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


@pytest.mark.parametrize("name", [*LEAFWISE, "scale_by_cocob", "scale_by_muon", "dpsgd", "split_real_and_imaginary"])
def test_arguments_are_those_of_optax(name):
    """Names and order; Optax 0.2.8 has `seed` where `dpsgd` has `key`."""
    ours, theirs = (list(inspect.signature(getattr(o, name)).parameters) for o in (gx, optax.contrib))
    assert [n if n != "key" else "seed" for n in ours][: len(theirs)] == theirs


@pytest.mark.parametrize("name", LEAFWISE)
def test_a_zero_gradient_of_float16_gives_a_finite_update(name):
    """optax #1754, #1784, #1789: NaN, also for muon, which the threads do not mention. Law 9 has more dtypes and sizes."""
    params = {"w": jnp.asarray(MATRIX, jnp.float16), "b": jnp.ones(3, jnp.float16)}
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, state = run(getattr(gx, name)(**LEAFWISE[name]), [zeros, zeros], params, **extra(name))
    for x in jax.tree.leaves((updates, state)):
        assert np.isfinite(np.asarray(x, np.float32)).all()


@pytest.mark.parametrize("name", ["cocob", "madgrad"])
def test_a_fresh_state_can_be_donated_together_with_the_parameters(name):
    """optax #1059, and lessons 5.6: "donate the same buffer twice"; madgrad's first parameters: optax d74d4796."""
    tx = getattr(gx, name)(**LEAFWISE[name])

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state):
        u, state = tx.update(params, state, params)
        return gx.apply_updates(params, u), state

    params = {"w": jnp.asarray(MATRIX)}
    params, state = step(params, tx.init(params))
    params, state = step(params, state)
    first = jax.tree.leaves(state)[0 if name == "cocob" else -1]
    np.testing.assert_array_equal(first, MATRIX, "the copy of the first parameters stays as it was")


@pytest.mark.parametrize("name", ["ademamix", "adopt", "muon", "sophia"])
def test_mu_dtype_survives_updates(name):
    """optax #1098, #1207; ademamix lost it after the first update, and stored nu in it as well."""
    tx = getattr(gx, name)(**LEAFWISE[name], mu_dtype=jnp.bfloat16)
    params = {"w": jnp.asarray(MATRIX)}
    before = tx.init(params)
    after = jax.eval_shape(lambda s: tx.update(params, s, params, **extra(name))[1], before)
    shapes = lambda state: [(x.shape, x.dtype) for x in jax.tree.leaves(state)]
    assert shapes(before) == shapes(after)
    assert sum(x.dtype == jnp.bfloat16 for x in jax.tree.leaves(before)) == (2 if name == "ademamix" else 1)


def test_moments_do_not_follow_a_gradient_of_another_dtype():
    """optax #1098, #1207."""
    params, g = {"w": jnp.ones(3, jnp.bfloat16)}, {"w": jnp.ones(3, jnp.float32)}
    for name, arguments in LEAFWISE.items():
        tx = getattr(gx, name)(**arguments)
        state = tx.init(params)
        new = jax.eval_shape(lambda s, tx=tx, name=name: tx.update(g, s, params, **extra(name))[1], state)
        assert [x.dtype for x in jax.tree.leaves(new)] == [x.dtype for x in jax.tree.leaves(state)], name


def test_acprop_does_not_explode_at_the_first_updates():
    """optax #1132: the first divisor was sqrt(eps_root)."""
    (first, second), _ = run(gx.scale_by_acprop(), [jnp.full(3, 1e-2), jnp.full(3, 2e-2)], jnp.ones(3))
    np.testing.assert_allclose(first, 1e-2, rtol=1e-6)
    np.testing.assert_allclose(second, 2.0, rtol=1e-5)


def test_the_defaults_of_alpha_are_those_of_optax():
    assert gx.entry("ademamix").parameters["alpha"].default == 5.0
    assert gx.entry("scale_by_ademamix").parameters["alpha"].default == 6.0


@pytest.mark.parametrize("name", ["ademamix", "simplified_ademamix"])
def test_a_schedule_for_alpha_leaves_the_state_as_optax_has_it(name):
    make = lambda o, c: getattr(c, name)(0.1, alpha=o.linear_schedule(0.0, 5.0, 4))
    ours, theirs = make(gx, gx), make(optax, optax.contrib)
    params, gs = jnp.asarray(MATRIX), [jnp.asarray(MATRIX[::-1]), jnp.asarray(MATRIX)]
    assert str(jax.tree.structure(ours.init(params))) == str(jax.tree.structure(theirs.init(params)))
    (u, s), (v, t) = run(ours, gs, params), run(theirs, gs, params)
    for x, y in zip(jax.tree.leaves((u, s)), jax.tree.leaves((v, t)), strict=True):
        np.testing.assert_allclose(x, y, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(
    "options", [{"nesterov": True}, {"use_clipping": False}, {"clip_value_fn": jnp.sqrt}], ids=lambda options: next(iter(options))
)
def test_adopt_agrees_with_optax(options):
    gs = [jnp.asarray(MATRIX * k) for k in (1.0, -3.0, 9.0)]
    ours, _ = run(gx.scale_by_adopt(**options), gs, gs[0])
    theirs, _ = run(optax.contrib.scale_by_adopt(**options), gs, gs[0])
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


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
    with pytest.raises(gx.MissingArgumentError, match=r"novograd \(scale_by_novograd\): needs the parameters"):
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
        with pytest.raises(gx.MissingArgumentError, match=r"scale_by_polyak\): needs the extra argument `value`"):
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


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_a_gradient_of_zero_moves_yogi_at_first(dtype):
    """Its averages do not begin at 0: mu^ / (sqrt(nu^) + eps), of mu = 0.9e-6 and nu = 1e-6."""
    p, tx = jnp.zeros(2, dtype), gx.scale_by_yogi()
    u, _ = tx.update(p, tx.init(p), p)
    expected = (0.9e-6 / 0.1) / (np.sqrt(1e-6 / 0.001) + 1e-3)
    np.testing.assert_allclose(np.asarray(u, float), expected, rtol=float(jnp.finfo(dtype).eps) + 1e-5)
