"""The contributed optimizers: defects of Optax's that are mended here, and agreement with it where it is right."""

import functools
import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax.contrib
import pytest

import gradxform as gx

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
MATRIX = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)


def loss(params):
    return sum(jnp.sum(jnp.abs(x.astype(jnp.float32)) ** 4) for x in jax.tree.leaves(params))


def extra(name):
    return {"obj_fn": loss} if name == "sophia" else {}


def run(tx: Any, params: Any, gradients: Any, **extra: Any) -> Any:
    state, updates = tx.init(params), []
    for g in gradients:
        u, state = tx.update(g, state, params, **extra)
        updates.append(u)
    return updates, state


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
    updates, state = run(getattr(gx, name)(**LEAFWISE[name]), params, [zeros, zeros], **extra(name))
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
    (first, second), _ = run(gx.scale_by_acprop(), jnp.ones(3), [jnp.full(3, 1e-2), jnp.full(3, 2e-2)])
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
    (u, s), (v, t) = run(ours, params, gs), run(theirs, params, gs)
    for x, y in zip(jax.tree.leaves((u, s)), jax.tree.leaves((v, t)), strict=True):
        np.testing.assert_allclose(x, y, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(
    "options", [{"nesterov": True}, {"use_clipping": False}, {"clip_value_fn": jnp.sqrt}], ids=lambda options: next(iter(options))
)
def test_adopt_agrees_with_optax(options):
    gs = [jnp.asarray(MATRIX * k) for k in (1.0, -3.0, 9.0)]
    ours, _ = run(gx.scale_by_adopt(**options), gs[0], gs)
    theirs, _ = run(optax.contrib.scale_by_adopt(**options), gs[0], gs)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"ns_coeffs": "standard", "adaptive": True},
        {"ns_coeffs": "dion", "nesterov": False},
        {"preconditioning": "aol", "consistent_rms": 0.2},
        {"preconditioning": "spectral"},
        {"preconditioning": "schatten", "weight_decay": 0.1, "adam_learning_rate": 0.5},
        {"muon_weight_dimension_numbers": {"b": None, "w": (0, 1)}},
    ],
    ids=str,
)
def test_muon_agrees_with_optax(options):
    params = {"b": jnp.ones(3), "w": jnp.asarray(MATRIX)}
    gs = [params, {"b": jnp.array([1.0, -2.0, 3.0]), "w": jnp.asarray(MATRIX[::-1])}]

    def updates(o):
        given = dict(options)
        if "muon_weight_dimension_numbers" in given:
            given["muon_weight_dimension_numbers"] = {"b": None, "w": o.MuonDimensionNumbers(0, 1)}
        return run(o.muon(0.1, **given), params, gs)[0]

    for x, y in zip(jax.tree.leaves(updates(gx)), jax.tree.leaves(updates(optax.contrib)), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=2e-5 * float(jnp.abs(y).max()))


def test_muon_names_its_presets():
    """Optax's docstring says `muon`, its table `standard`."""
    with pytest.raises(gx.HyperparameterError, match="standard, dion"):
        gx.muon(0.1, ns_coeffs="muon")
    assert '"standard" and "dion"' in (gx.muon.__doc__ or "")


class TestGalore:
    def test_a_full_rank_projection_is_none(self):
        gs = [jnp.asarray(MATRIX), jnp.asarray(MATRIX[::-1])]
        u, _ = run(gx.scale_by_galore(4, 1, base_optimizer=gx.identity()), gs[0], gs)
        np.testing.assert_allclose(u, gs, atol=1e-5)

    def test_extra_arguments_reach_the_inner_optimizer(self):
        """Lessons 5.18: Optax's drops them."""
        tx = gx.chain(gx.scale_by_galore(2, base_optimizer=_by_value))
        u, _ = run(tx, jnp.ones(3), [jnp.ones(3)], value=jnp.float32(7.0))
        np.testing.assert_allclose(u[0], 7.0)

    def test_complex_matrices_are_projected_onto_their_singular_vectors(self):
        """Optax computes the singular vectors of the real part, and transposes without conjugating."""
        rng = np.random.default_rng(3)
        column, row = (rng.standard_normal(n) + 1j * rng.standard_normal(n) for n in (4, 6))
        for g in (np.outer(column, row), np.outer(row, column)):
            u, _ = run(
                gx.scale_by_galore(1, base_optimizer=gx.identity()), jnp.asarray(g, jnp.complex64), [jnp.asarray(g, jnp.complex64)]
            )
            np.testing.assert_allclose(u[0], g, atol=1e-5)

    def test_a_batch_of_matrices_is_projected_one_by_one(self):
        dims = gx.GaLoreDimensionNumbers(1, 2)
        gs = jnp.stack([jnp.asarray(MATRIX), jnp.asarray(MATRIX[::-1] ** 2)])
        one = gx.scale_by_galore(2)
        many, state = run(gx.scale_by_galore(2, weight_dimension_numbers=dims), gs, [gs])
        assert state.projector.shape == (2, 6, 2)
        for i, g in enumerate(gs):
            np.testing.assert_allclose(many[0][i], run(one, g, [g])[0][0], rtol=1e-5, atol=1e-5)

    def test_what_needs_the_parameters_says_so(self):
        with pytest.raises(gx.MissingArgumentError, match="params"):
            run(gx.scale_by_galore(2, base_optimizer=gx.adamw(0.1)), jnp.asarray(MATRIX), [jnp.asarray(MATRIX)])
        with pytest.raises(gx.HyperparameterError, match="rank"):
            gx.galore(0.1, rank=0)
        with pytest.raises(gx.StructureError, match=r"shape \(3,\)"):
            gx.scale_by_galore(weight_dimension_numbers=lambda tree: gx.GaLoreDimensionNumbers()).init(jnp.ones(3))


@gx.elementwise(needs=("value",))
def scale_by_value(g, s, p, c):
    """u = value g"""
    return c.value * g, s


_by_value = scale_by_value()


class TestSophia:
    def test_hutchinson_is_exact_for_a_separable_objective(self):
        params = {"w": jnp.asarray(MATRIX), "n": jnp.arange(3), "none": None}
        g = {"w": jnp.zeros_like(params["w"]), "n": np.zeros(3, jax.dtypes.float0), "none": None}
        obj_fn = lambda p: jnp.sum(p["w"] ** 4) * p["n"].size
        (u,), _ = run(gx.hutchinson_estimator_diag_hessian(), params, [g], obj_fn=obj_fn)
        np.testing.assert_allclose(u["w"], 36 * MATRIX**2, rtol=1e-5)
        assert u["n"].dtype == jax.dtypes.float0
        assert u["none"] is None

    def test_hutchinson_is_unbiased(self):
        a = jnp.array([[2.0, 1.0], [1.0, -3.0]])
        p = jnp.ones(2)
        tx = gx.hutchinson_estimator_diag_hessian(1)
        step = lambda state, _: tx.update(p, state, p, obj_fn=lambda x: x @ a @ x / 2)[::-1]
        _, u = jax.lax.scan(step, tx.init(p), length=64)
        values = {(float(x), float(y)) for x, y in u}
        assert values == {(3.0, -2.0), (1.0, -4.0)}, "each of the two estimates, whose mean is the diagonal"

    def test_complex_parameters_get_the_mean_of_both_second_derivatives(self):
        z = jnp.array([1.0 + 2.0j, 3.0 - 1.0j])
        obj_fn = lambda z: jnp.sum(z.real**2 + 2 * z.imag**2)
        (u,), _ = run(gx.hutchinson_estimator_diag_hessian(), z, [z], obj_fn=obj_fn)
        np.testing.assert_allclose(u, 3.0, rtol=1e-5)

    @pytest.mark.parametrize("seed", [None, 3, jax.random.PRNGKey(3), jax.random.key(3)], ids=repr)
    def test_a_given_key_is_copied(self, seed):
        tx = gx.hutchinson_estimator_diag_hessian(seed)
        key = tx.init(jnp.ones(2)).key
        assert key is not seed
        if seed is not None:
            np.testing.assert_array_equal(jax.random.key_data(key), jax.random.key_data(jax.random.key(3)))

    def test_it_agrees_with_optax_over_an_interval(self):
        params = {"w": jnp.asarray(MATRIX), "b": jnp.ones(3)}
        gs = [jax.grad(loss)(params)] * 4
        make = lambda o: o.sophia(0.1, update_interval=3, clip_threshold=None, gamma=0.5)
        ours, theirs = (run(make(o), params, gs, obj_fn=loss) for o in (gx, optax.contrib))
        for x, y in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)

    def test_the_win_rate_is_printed(self, capsys):
        tx = gx.sophia(0.1, verbose=True, print_win_rate_every_n_steps=2, update_interval=1)
        run(tx, jnp.ones(4), [jnp.ones(4)] * 2, obj_fn=loss)
        jax.effects_barrier()
        assert capsys.readouterr().out.count("win rate") == 1

    def test_what_is_missing_is_named(self):
        tx, p = gx.sophia(0.1), jnp.ones(2)
        state = tx.init(p)
        with pytest.raises(gx.MissingArgumentError, match="obj_fn"):
            tx.update(p, state, p)
        with pytest.raises(gx.MissingArgumentError, match="params"):
            tx.update(p, state, obj_fn=loss)


class TestSplitRealAndImaginary:
    def test_complex_is_a_pair(self):
        z, g = jnp.array([1.0 + 2.0j, -3.0j]), jnp.array([0.5 - 1.0j, 2.0 + 0.0j])
        pair = lambda x: (x.real, x.imag)
        (u,), state = run(gx.split_real_and_imaginary(gx.adam(0.1)), {"z": z, "x": jnp.ones(2)}, [{"z": g, "x": jnp.ones(2)}])
        (v,), _ = run(gx.adam(0.1), pair(z), [pair(g)])
        np.testing.assert_allclose(u["z"], v[0] + 1j * v[1], rtol=1e-6)
        assert state.inner_state[0].mu["z"].real.dtype == jnp.float32
        theirs = optax.contrib.split_real_and_imaginary(optax.adam(0.1)).init({"z": z, "x": jnp.ones(2)})
        assert [x.shape for x in jax.tree.leaves(theirs)] == [x.shape for x in jax.tree.leaves(state)]

    def test_extra_arguments_are_forwarded_and_split(self):
        """Lessons 5.18: Optax's drops them."""
        z = jnp.array([1.0 + 2.0j, -3.0j])
        seen = {}

        def update(g, state, params=None, **extra):
            seen.update(extra)
            return g, state

        tx = gx.split_real_and_imaginary(gx.GradientTransformationExtraArgs(lambda p: gx.EmptyState(), update))
        value_fn = lambda z: jnp.sum(z.real + 2 * z.imag)
        tx.update(z, tx.init(z), z, value=jnp.float32(2.0), grad=z, value_fn=value_fn)
        assert float(seen["value"]) == 2.0
        np.testing.assert_array_equal(seen["grad"].imaginary, z.imag)
        slope = jax.grad(seen["value_fn"])(seen["grad"])
        np.testing.assert_array_equal(slope.imaginary, 2.0)

    def test_the_parameters_to_evaluate_with_are_those_of_the_pairs(self):
        z, inner = jnp.array([1.0 + 2.0j, -3.0j]), gx.sgd(0.1, 0.9, nesterov=True)
        tx, pair = gx.split_real_and_imaginary(inner), (z.real, z.imag)
        _, state = run(tx, z, [z, z])
        _, inner_state = run(inner, pair, [pair, pair])
        found = gx.eval_params(inner, inner_state, pair)
        np.testing.assert_allclose(gx.eval_params(tx, state, z), found[0] + 1j * found[1], rtol=1e-6)

    def test_absent_gradients_and_abstract_parameters(self):
        z = {"z": jnp.array([1.0 + 2.0j]), "x": jnp.ones(2)}
        tx = gx.split_real_and_imaginary(gx.adam(0.1))
        state = tx.init(z)
        u, after = tx.update({"z": None, "x": z["x"]}, state, z)
        assert u["z"] is None
        np.testing.assert_array_equal(after.inner_state[0].mu["z"].real, 0.0)
        abstract = jax.eval_shape(tx.init, jax.eval_shape(lambda: z))
        assert jax.tree.structure(abstract) == jax.tree.structure(state)


PER_EXAMPLE = {"a": MATRIX, "b": np.arange(4, dtype=np.float32)}


class TestPrivacy:
    def test_it_agrees_with_optax(self):
        ours = gx.differentially_private_aggregate(0.5, 1.1, 3)
        theirs = optax.contrib.differentially_private_aggregate(0.5, 1.1, 3)
        (u, s), (v, t) = run(ours, None, [PER_EXAMPLE] * 2), run(theirs, None, [PER_EXAMPLE] * 2)
        for x, y in zip(jax.tree.leaves(u), jax.tree.leaves(v), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(jax.random.key_data(s.rng_key), jax.random.key_data(t.rng_key))

    def test_without_noise_and_bound_it_is_the_mean(self):
        (u,), _ = run(gx.dpsgd(1.0, jnp.finfo(jnp.float32).max, 0.0, 0), None, [PER_EXAMPLE])
        np.testing.assert_allclose(u["a"], -MATRIX.mean(0), rtol=1e-5, atol=1e-6)

    def test_momentum_follows(self):
        plain, heavy = (gx.dpsgd(0.1, 1.0, 0.0, 0, momentum) for momentum in (None, 0.9))
        params = jax.tree.map(lambda g: jnp.zeros(g.shape[1:]), PER_EXAMPLE)
        (u, _), (_, v) = run(plain, params, [PER_EXAMPLE] * 2)[0], run(heavy, params, [PER_EXAMPLE] * 2)[0]
        np.testing.assert_allclose(v["a"], 1.9 * u["a"], rtol=1e-5)

    def test_complex_noise_has_the_full_deviation_in_each_part(self):
        g = jnp.zeros((1, 4000), jnp.complex64)
        (u,), _ = run(gx.differentially_private_aggregate(2.0, 3.0, 0), None, [g])
        for part in (u.real, u.imag):
            np.testing.assert_allclose(jnp.std(part), 6.0, rtol=0.05)

    def test_absent_leaves_and_narrow_ones(self):
        g = {"a": jnp.full((5, 2), 2.0**-9, jnp.bfloat16), "b": None}
        (u,), _ = run(gx.differentially_private_aggregate(1.0, 0.0, 0), None, [g])
        assert u["b"] is None
        assert u["a"].dtype == jnp.bfloat16
        np.testing.assert_array_equal(u["a"].astype(jnp.float32), 2.0**-9)

    def test_what_is_wrong_is_said(self):
        tx = gx.differentially_private_aggregate(1.0, 1.0, 0)
        with pytest.raises(gx.StructureError, match=r"differentially_private_aggregate.*b: \(\)"):
            tx.update({"a": jnp.ones((3, 2)), "b": jnp.ones(())}, tx.init(None))
        with pytest.raises(gx.HyperparameterError, match="l2_norm_clip"):
            gx.dpsgd(0.1, -1.0, 1.0, 0)
        with pytest.raises(gx.HyperparameterError, match="schedule"):
            gx.differentially_private_aggregate(1.0, lambda k: 1.0, 0)
        with pytest.warns(DeprecationWarning, match="seed"):
            gx.dpsgd(0.1, 1.0, 1.0, seed=1)
        with pytest.warns(UserWarning, match="without a `key`"):
            gx.differentially_private_aggregate(1.0, 1.0)
        with pytest.warns(DeprecationWarning, match="seed"), pytest.raises(gx.HyperparameterError, match="not both"):
            gx.differentially_private_aggregate(1.0, 1.0, 0, seed=1)
