"""Dion and Dion2: their transcriptions, what stays in the momentum, odd and complex matrices, and one choice of rows on any mesh."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matrix_directions import close, gradients, polar
from oracles import ORACLES
from oracles._matrices import pseudonormal

import gradxform as gx
from gradxform.linear_algebra._factorizations import orthonormal

SHAPES = {"square": (4, 4), "wide": (3, 5), "tall": (6, 3), "row": (1, 6), "column": (6, 1), "one": (1, 1), "long": (12, 30)}
CASES = [
    *(("dion", {"orthogonalization": by, **more}) for by in ("qr", "cholesky") for more in ({}, {"rank_fraction": 0.3})),
    ("dion", {"rank_fraction": 0.7, "beta": 0.8, "eps": 1e-3}),
    ("dion2", {}), ("dion2", {"fraction": 1.0, "beta": 0.5}), ("dion2", {"fraction": 0.01, "ns_coeffs": "polar_express", "ns_steps": 8}),
    ("dion2", {"fraction": 0.5, "eps": 0.3, "ns_coeffs": (2.0, -1.5, 0.5), "ns_steps": 3}),
]  # fmt: skip


def drawn(name):
    return {"sampler": pseudonormal} if name == "dion" else {}


def run(tx, gs):
    """All updates, and the last state."""
    state, out = tx.init(jax.tree.map(jnp.zeros_like, gs[0])), []
    update = jax.jit(tx.update)
    for g in gs:
        u, state = update(g, state)
        out.append(u)
    return out, state


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_a_dozen_updates_are_those_of_the_transcription(name, options, x64):
    gs = [list(some) for some in zip(*(gradients(shape) for shape in SHAPES.values()), strict=True)]
    core = f"scale_by_{name}"
    found, _ = run(getattr(gx, core)(**options, **drawn(name)), [list(map(jnp.asarray, some)) for some in gs])
    step = ORACLES[core](**options, **drawn(name))
    for us, some in zip(found, gs, strict=True):
        for u, expected in zip(us, step(some, some), strict=True):
            close(u, expected)


@pytest.mark.fast
def test_what_does_not_go_out_stays(x64):
    """mu = M - (1 - beta) M P P*: of M, all that an update's columns do not reach, and beta of the rest."""
    gs = [jnp.asarray(g) for g in gradients((6, 8), 5)]
    tx = gx.scale_by_dion(rank_fraction=0.3, beta=0.8, sampler=pseudonormal)
    us, state = run(tx, gs)
    _, before = run(tx, gs[:-1])
    M = np.asarray(before.mu + gs[-1])
    P = np.linalg.svd(us[-1])[2][:2].T
    close(state.mu, M - 0.2 * M @ P @ P.T)
    assert state.q.shape == (6, 2)
    np.testing.assert_allclose(np.linalg.norm(state.q, axis=0), 1, rtol=1e-6)


@pytest.mark.fast
def test_of_one_gradient_dion_finds_its_polar_factor(x64):
    """By the power iteration of one matrix: the singular vectors of full rank, where singular values differ."""
    g, tx = jnp.asarray(gradients((3, 4), 1)[0]), gx.scale_by_dion(beta=0.0, sampler=pseudonormal)
    us, _ = run(tx, 60 * [g])
    close(us[-1], polar(np.asarray(g)), 1e-6)


ODD = {
    "rank 1": lambda: np.outer([1.0, -2.0, 3.0], [1.0, 0.5, 2.0, -1.0]), "a dead output": lambda: np.array([[1.0, 0.0], [2.0, 0.0]]),
    "1 x n": lambda: np.array([[1.0, -2.0, 3.0]]), "n x 1": lambda: np.array([[1.0], [-2.0], [3.0]]), "1 x 1": lambda: np.array([[-2.0]]),
    "a batch of one": lambda: np.random.default_rng(0).normal(size=(1, 3, 4)), "equal rows": lambda: np.ones((3, 4)),
}  # fmt: skip
MAKE = {
    "dion": lambda **more: gx.scale_by_dion(rank_fraction=0.3, sampler=pseudonormal, **more),
    "dion, cholesky": lambda **more: gx.scale_by_dion(
        orthogonalization="cholesky", rank_fraction=0.3, sampler=pseudonormal, **more
    ),
    "dion2": gx.scale_by_dion2,
}


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
@pytest.mark.parametrize("name", MAKE)
def test_odd_matrices(name, dtype, x64):
    """Of each as of float64, as far as the dtype goes."""
    tx = MAKE[name](weight_dimension_numbers="flax")
    for what, make in ODD.items():
        x = jnp.asarray(make()).astype(dtype)
        wide = x.astype(float)
        (u, state), (v, _) = (tx.update({"w": g}, tx.init({"w": g})) for g in (x, wide))
        assert u["w"].dtype == dtype
        if x.ndim == 3:
            alone, _ = MAKE[name]().update({"w": wide[0]}, MAKE[name]().init({"w": wide[0]}))
            np.testing.assert_allclose(v["w"][0], alone["w"], rtol=1e-12, atol=0, err_msg=what)
        error = {jnp.bfloat16: 2**-7, jnp.float32: 3e-5}[dtype]
        np.testing.assert_allclose(u["w"].astype(float), v["w"], rtol=0, atol=error * float(jnp.max(jnp.abs(v["w"]))), err_msg=what)
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(state))


@pytest.mark.fast
@pytest.mark.parametrize("name", MAKE)
def test_zeros_give_zeros_and_what_comes_then_is_as_at_first(name):
    g = {"w": jnp.asarray(gradients((3, 4), 1)[0], jnp.float32)}
    zeros = jax.tree.map(jnp.zeros_like, g)
    late, _ = run(MAKE[name](), [zeros, zeros, g])
    first, _ = run(MAKE[name](), [g])
    assert not np.any(late[0]["w"])
    assert not np.any(late[1]["w"])
    np.testing.assert_array_equal(late[2]["w"], first[0]["w"])


@pytest.mark.fast
@pytest.mark.parametrize("orthogonalization", ["qr", "cholesky"])
def test_a_matrix_of_low_rank_wakes_up(orthogonalization):
    """Columns of Q for which a gradient of rank 1 has nothing find what later ones have."""
    one, *others = (jnp.asarray(g, jnp.float32) for g in gradients((4, 4), 12))
    tx = gx.scale_by_dion(orthogonalization=orthogonalization)
    us, state = run(tx, [jnp.outer(one[0], one[1])] * 3 + others)
    np.testing.assert_allclose(np.linalg.norm(state.q, axis=0), 1, rtol=1e-3)
    assert np.linalg.matrix_rank(us[-1]) == 4


@pytest.mark.parametrize("name", MAKE)
def test_complex_matrices(name, x64):
    """As real ones where they are real; and a phase of all gradients is one of all updates."""
    gs = [jnp.asarray(a + 1j * b) for a, b in zip(gradients((3, 5)), gradients((3, 5), seed=1), strict=True)]
    (plain, _), (turned, _) = (run(MAKE[name](), [z * g for g in gs]) for z in (1, np.exp(0.7j)))
    (real, _), (as_complex, _) = (run(MAKE[name](), [g.real.astype(dtype) for g in gs]) for dtype in (float, complex))
    for u, v, x, y in zip(plain, turned, real, as_complex, strict=True):
        close(v, np.exp(0.7j) * u)
        close(y, x)


@pytest.mark.fast
def test_complex_dion_as_the_paper_has_it(x64):
    gs = [a + 1j * b for a, b in zip(gradients((4, 6)), gradients((4, 6), seed=1), strict=True)]
    found, _ = run(gx.scale_by_dion(rank_fraction=0.5, sampler=pseudonormal), list(map(jnp.asarray, gs)))
    M, Q = 0.0, pseudonormal(0, (4, 2), complex)
    for u, g in zip(found, gs, strict=True):
        M = M + g
        P = np.linalg.qr(M.conj().T @ Q)[0]
        R = M @ P
        M = M - 0.05 * R @ P.conj().T
        Q = R / (np.linalg.norm(R, axis=0) + 1e-8)
        close(u, Q @ P.conj().T)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64, jnp.complex64])
@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
def test_cholesky_finds_the_basis_that_qr_finds(dtype, scale, x64):
    """But for signs; up to the condition that the precision allows."""
    rng = np.random.default_rng(0)
    U, _, V = np.linalg.svd(rng.standard_normal((60, 20)), full_matrices=False)
    for condition in (1e1, 1e3):
        x = jnp.asarray((scale * U * np.geomspace(1, 1 / condition, 20)) @ V, dtype)
        p, q = orthonormal(x, "cholesky"), orthonormal(x)
        places = float(jnp.finfo(dtype).eps)
        np.testing.assert_allclose(p.conj().T @ p, np.eye(20), rtol=0, atol=20 * places)
        np.testing.assert_allclose(np.abs(jnp.sum(p.conj() * q, 0)), 1, rtol=0, atol=200 * places * condition)


@pytest.mark.fast
def test_the_key_alone_decides_how_q_begins_and_it_may_be_traced():
    params = {"a": jnp.ones((3, 4)), "b": jnp.ones((2, 3, 4))}
    made = lambda key: gx.scale_by_dion(key=key, weight_dimension_numbers="flax").init(params).q
    one, other = made(0), made(jax.random.key(1))
    np.testing.assert_array_equal(one["a"], jax.random.normal(jax.random.key(0), (3, 3)))
    np.testing.assert_array_equal(one["b"], jnp.stack(2 * [one["a"]]))
    assert np.all(np.asarray(one["a"]) != np.asarray(other["a"]))
    traced = jax.jit(made)(jnp.int32(1))
    np.testing.assert_array_equal(traced["a"], other["a"])
    tx = lambda key: gx.scale_by_dion(key=key, weight_dimension_numbers="flax")
    stepped = jax.jit(lambda key: tx(key).update(params, tx(key).init(params))[0])(jnp.int32(1))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5), stepped, tx(1).update(params, tx(1).init(params))[0])


@pytest.mark.parametrize("spec", [("x", None), (None, "x"), ("x", "y")])
def test_the_same_rows_are_chosen_however_they_are_sharded(spec):
    devices = jax.make_mesh((2, 4), ("x", "y"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    gs = [jnp.asarray(g, jnp.float32) for g in gradients((8, 16), 4)]
    place = jax.sharding.NamedSharding(devices, jax.sharding.PartitionSpec(*spec))
    for tx in (gx.scale_by_dion2(), gx.scale_by_dion(rank_fraction=0.25)):
        (alone, _), (spread, _) = (run(tx, some) for some in (gs, [jax.device_put(g, place) for g in gs]))
        for u, v in zip(alone, spread, strict=True):
            np.testing.assert_array_equal(np.any(u != 0, 1), np.any(v != 0, 1))
            np.testing.assert_allclose(u, v, rtol=0, atol=1e-4 * float(jnp.max(jnp.abs(u))))


@pytest.mark.fast
def test_the_least_part_of_the_rows_is_one():
    g = {"w": jnp.asarray(gradients((5, 7), 1)[0])}
    for fraction, rows in ((1e-9, 1), (0.2, 1), (0.21, 2), (1.0, 5)):
        (u,), _ = run(gx.scale_by_dion2(fraction=fraction), [g])
        assert np.count_nonzero(np.any(u["w"] != 0, 1)) == rows
