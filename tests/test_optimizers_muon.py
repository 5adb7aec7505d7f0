"""`muon`: every option of Optax's, and its presets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracle import optax
from steps import MATRIX, run

import gradxform as gx
from gradxform.linear_algebra._polynomials import polynomials


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
        return run(o.muon(0.1, **given), gs, params)[0]

    for x, y in zip(jax.tree.leaves(updates(gx)), jax.tree.leaves(updates(optax.contrib)), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=2e-5 * float(jnp.abs(y).max()))


MAKE = {
    "muon": lambda o, dims: o.muon(0.1, muon_weight_dimension_numbers={"w": o.MuonDimensionNumbers(*dims)}),
    "galore": lambda o, dims: o.galore(0.1, rank=2, weight_dimension_numbers={"w": o.GaLoreDimensionNumbers(*dims)}),
}


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize(
    ("dims", "shape"),
    [((0, 3), (3, 4)), ((2, 3), (3, 4)), ((-1, -4), (3, 4)), ((0, (1, 5)), (2, 3, 4)), ((-6, (4, -1)), (2, 3, 4))],
)
def test_axes_count_modulo_those_of_the_leaf(name, dims, shape):
    params = {"w": jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)}
    (ours,), (theirs,) = (run(MAKE[name](o, dims), [params], params)[0] for o in (gx, optax.contrib))
    np.testing.assert_allclose(ours["w"], theirs["w"], rtol=0, atol=2e-5 * float(jnp.abs(theirs["w"]).max()))


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize(
    ("dims", "shape", "message"),
    [
        ((0, 2), (3, 4), r"\(3, 4\).*names \[0\] twice"),
        ((0, (1, 3)), (3, 4), r"names \[1\] twice"),
        (((0, 1), (4, 2)), (2, 3, 4), r"names \[1\] twice"),
        ((0, 1), (4,), r"two axes or more.*shape \(4,\)"),
        ((0, 1), (), r"two axes or more.*shape \(\)"),
    ],
)
def test_axes_that_make_no_matrix_are_refused(name, dims, shape, message):
    params = {"w": jnp.ones(shape)}
    tx = MAKE[name](gx, dims)
    with pytest.raises(gx.StructureError, match=f"{name}.*{message}"):
        tx.update(params, tx.init(params), params)


SCALES = {
    "original": lambda m, n: max(1, n / m) ** 0.5,
    "spectral": lambda m, n: (n / m) ** 0.5,
    "match_rms_adamw": lambda m, n: 0.2 * max(m, n) ** 0.5,
    None: lambda m, n: 1.0,
}


@pytest.mark.parametrize("shape", [(2, 8), (8, 2), (3, 3)])
@pytest.mark.parametrize("scale", SCALES)
def test_shape_scales(scale, shape, x64):
    g = {"w": jnp.asarray(np.random.default_rng(0).normal(size=shape))}
    step = lambda tx: tx.update(g, tx.init(g), g)[0]["w"]
    u = step(gx.scale_by_muon())
    np.testing.assert_allclose(step(gx.muon(0.5, shape_scale=scale)), -0.5 * SCALES[scale](*shape) * u, rtol=1e-12)
    rms = step(gx.muon(0.5, shape_scale=scale, consistent_rms=0.3))
    np.testing.assert_allclose(rms, -0.5 * 0.3 * max(shape) ** 0.5 * u, rtol=1e-12)


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("correct", [True, False])
@pytest.mark.parametrize("ema", [True, False])
@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4), (1, 6)])
def test_momenta(nesterov, correct, ema, shape, x64):
    """Of twelve updates, in NumPy; an eps that is seen, as the momenta differ by their size alone but for the first steps."""
    rng, beta, eps, mu = np.random.default_rng(1), 0.9, 0.3, np.zeros(shape)
    tx = gx.scale_by_muon(beta=beta, eps=eps, nesterov=nesterov, bias_correction=correct, ema=ema)
    state = tx.init({"w": jnp.asarray(mu)})
    for t in range(1, 13):
        g = rng.normal(size=shape)
        u, state = tx.update({"w": jnp.asarray(g)}, state)
        weight, missing = (1 - beta if ema else 1), lambda t: 1 - beta**t if correct else 1
        mu = beta * mu + weight * g
        x = beta * mu / missing(t + 1) + weight * g / missing(t) if nesterov else mu / missing(t)
        x = x / (np.linalg.norm(x) + eps)
        for _ in range(5):
            a = x @ x.T
            x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
        np.testing.assert_allclose(u["w"], x, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(state.mu["w"], mu, rtol=1e-9)


TABLES = ("standard", "dion", "polar_express", "deepseek_v4", "cans", "cubic", "turbo", "dion2")


def test_muon_names_its_tables():
    """Optax's docstring says `muon`, its table `standard`."""
    for make in (lambda name: gx.muon(0.1, ns_coeffs=name), lambda name: gx.orthogonalize_via_newton_schulz(jnp.eye(2), name)):
        with pytest.raises(gx.HyperparameterError, match="'muon'; there are standard, dion"):
            make("muon")
    assert all(f'"{name}"' in (gx.muon.__doc__ or "") for name in TABLES)


@pytest.mark.parametrize("gram", [False, True])
@pytest.mark.parametrize("steps", [2, 5, 11])
@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_used_whole(name, steps, gram, x64):
    """By singular values: each goes through the polynomials of the table, however many steps are asked for; but "polar_express"."""
    u, s, v = np.linalg.svd(np.random.default_rng(0).normal(size=(3, 7)), full_matrices=False)
    expected = s / np.linalg.norm(s)
    rows = np.reshape(polynomials("f", name, steps), (-1, 3))
    assert len(rows) == {"standard": 1, "polar_express": steps, "deepseek_v4": 10, "turbo": 4}.get(name, 5)
    for a, b, c in rows if name != "standard" else np.tile(rows, (steps, 1)):
        expected = a * expected + b * expected**3 + c * expected**5
    g = {"w": jnp.asarray(u * s @ v)}
    tx = gx.scale_by_muon(name, steps, eps=0.0, gram=gram)
    for x in (tx.update(g, tx.init(g))[0]["w"], gx.orthogonalize_via_newton_schulz(g["w"], name, steps, eps=0.0, gram=gram)):
        np.testing.assert_allclose(x, u * expected @ v, rtol=0, atol=1e-9 * abs(expected).max())


def test_the_state_has_the_rows_of_the_table():
    shapes = {name: gx.scale_by_muon(name).init({"w": jnp.eye(2)}).ns_coeffs.shape for name in TABLES}
    assert shapes == dict.fromkeys(TABLES, (5, 3)) | {"standard": (3,), "deepseek_v4": (10, 3), "turbo": (4, 3)}


def test_dimension_numbers_have_optaxs_name_too():
    by_one, by_other = gx.muon(0.1, weight_dimension_numbers="equinox"), gx.muon(0.1, muon_weight_dimension_numbers="equinox")
    assert by_one == by_other != gx.muon(0.1)


@pytest.mark.parametrize("preconditioning", ["aol", "frobenius"])
def test_the_table_turbo_turns_large_singular_values_around(preconditioning, x64):
    """Of the published polynomials the first has a zero at 0.884, and none after it turns back; many steps change nothing."""
    row = {"w": jnp.asarray(np.random.default_rng(0).normal(size=(1, 6)))}
    for steps in (4, 5):
        tx = gx.scale_by_muon("turbo", steps, preconditioning=preconditioning)
        u = tx.update(row, tx.init(row))[0]["w"]
        np.testing.assert_allclose(u, -0.9935212 * row["w"] / jnp.linalg.norm(row["w"]), rtol=1e-6)
    tx, rest = (
        gx.scale_by_muon((1.0, 0.0, 0.0), preconditioning=preconditioning),
        gx.scale_by_muon("turbo", preconditioning=preconditioning),
    )
    for seed in range(20):
        g = {"w": jnp.asarray(np.random.default_rng(seed).normal(size=(3, 4 + seed)))}
        u, scaled = (np.asarray(one.update(g, one.init(g))[0]["w"]) for one in (rest, tx))
        left, s, right = np.linalg.svd(scaled, full_matrices=False)
        assert np.array_equal(np.diag(left.T @ u @ right.T) < 0, s > 0.88369806)


def test_cautious_decay_acts_where_the_step_shrinks_the_weight(x64):
    """Half of a matrix of random signs: p' = p - rate (o + wd p [o p >= 0])."""
    p, g = (jnp.asarray(np.random.default_rng(seed).normal(size=(4, 6))) for seed in (0, 1))
    plain, cautious, none = (
        tx.update(g, tx.init(p), p)[0]
        for tx in (gx.muon(0.1, weight_decay=0.2), gx.muon(0.1, weight_decay=0.2, weight_decay_policy="cautious"), gx.muon(0.1))
    )
    shrinks = none * p <= 0
    assert 4 < np.sum(shrinks) < 20
    np.testing.assert_allclose(cautious, np.where(shrinks, plain, none), rtol=1e-12)
