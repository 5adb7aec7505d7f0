"""The transcriptions of matrix optimizers against the references' golden values (`golden/make_matrices.py`) and what the papers promise."""

import functools
import pathlib

import numpy as np
import pytest
from golden.matrices import KEPT, LR, MAX_LOGITS, SETTINGS, STEPS, normal, problem
from oracles import ORACLES
from oracles import _matrices as matrices
from oracles._arithmetic import norm, rms
from oracles._kl_shampoo import KLFactors
from oracles._psgd_kron import (
    _balanced,
    _estimated_norm,
    _from_longest_column,
    _preconditioned,
    _pro,
    _rotated,
    _triangular,
    psgd_gap,
)
from oracles._splus import average

pytestmark = pytest.mark.fast

HERE = pathlib.Path(__file__).parent / "golden"
SHAPES = [(4, 4), (3, 5), (5, 3), (1, 6), (6, 1), (7,), (), (2, 3, 4), (3, 3, 2, 4)]
CASES = [
    ("soap", {}), ("soap", {"precondition_1d": True, "block_size": 2, "merge_dims": 6, "every": 2}), ("soap", {"max_precond_dim": 4}),
    ("shampoo", {}), ("shampoo", {"graft": "adam", "b2": 0.9, "block_size": 2, "every": 3}), ("shampoo", {"max_precond_dim": 4}),
    ("normuon", {}), ("normuon", {"consistent_rms": 0.2, "ns_coeffs": "turbo", "preconditioning": "aol"}),
    ("scion", {}), ("psgd_kron", {}), ("psgd_kron", {"form": "triangular", "balance_every": 2}), ("psgd_kron", {"diagonal": "largest"}),
    ("psgd_kron", {"every": 3, "block_size": 2, "clip_value": 1.0, "max_skew": 0.5}), ("adamuon", {}), ("dion", {}),
    ("dion", {"rank_fraction": 0.3}), ("dion2", {}), ("splus", {"every": 4}), ("asgo", {}), ("asgo", {"every": 3, "start": None}),
    ("kl_shampoo", {}), ("kl_shampoo", {"max_precond_dim": 4, "every": 3}), ("kl_soap", {}), ("kl_soap", {"block_size": 2}),
]  # fmt: skip


def gradients(shape, steps=STEPS, seed=0):
    rng = np.random.RandomState(seed)
    return [rng.standard_normal(shape) for _ in range(steps)]


def directions(name, gs, **arguments):
    """The direction of each update of one leaf, uphill."""
    step = ORACLES[name](1.0, weight_decay=0.0, **arguments) if name not in ("scion",) else ORACLES[name](1.0, **arguments)
    return [-step([g], [np.zeros_like(g)])[0] for g in gs]


def polar(G):
    U, _, Vt = np.linalg.svd(G, full_matrices=False)
    return U @ Vt


def close(x, y, tolerance=1e-9):
    np.testing.assert_allclose(x, y, rtol=0, atol=tolerance * max(1e-300, float(np.max(np.abs(y)))))


@pytest.mark.parametrize(("name", "arguments"), CASES, ids=str)
def test_twelve_updates_are_finite_and_move(name, arguments):
    step = ORACLES[name](0.1, **arguments)
    ws = [np.ones(shape) for shape in SHAPES]
    for k in range(STEPS):
        us = step([gradients(shape, seed=k)[0] for shape in SHAPES], ws)
        ws = [w + u for w, u in zip(ws, us, strict=True)]
        assert all(np.all(np.isfinite(w)) for w in ws)
    assert all(np.any(u != 0) for u in us)


@pytest.mark.parametrize(("name", "arguments"), [c for c in CASES if "start" not in c[1]], ids=str)
def test_a_gradient_of_zeros_gives_an_update_of_zeros(name, arguments):
    arguments = arguments if name == "scion" else {**arguments, "weight_decay": 0.0}
    step = ORACLES[name](0.1, **arguments)
    zeros = [np.zeros(shape) for shape in SHAPES]
    with np.errstate(all="ignore"):
        for _ in range(3):
            assert all(np.all(u == 0) for u in step(zeros, zeros))


@functools.cache
def golden():
    with np.load(HERE / "matrices.npz") as file:
        return dict(file)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: f"{s[0]}, {s[1]}")
def test_the_references_go_the_same_way(setting):
    name, title, _, _, arguments, leaves, tolerance = setting
    first, gs = problem()
    for leaf in leaves:
        step = ORACLES[name](LR, **arguments) if name != "clip_qk" else clipped_adamw(arguments)
        if name == "psgd_kron":
            step = ORACLES[name](LR, sampler=normal, **arguments)
        elif "weight_decay" not in arguments and name in ("soap", "splus"):
            step = ORACLES[name](LR, weight_decay=0.0, **arguments)
        w, kept = first[leaf], []
        for k, g in enumerate(gs):
            w = w + step([g[leaf]], [w])[0]
            kept += [w] if k in KEPT else []
        theirs = golden()[f"{name}/{title}/{leaf}"]
        assert np.max(np.abs(kept - theirs)) <= tolerance * np.max(np.abs(theirs[-1] - first[leaf]))


def clipped_adamw(arguments):
    adamw, clip = ORACLES["adamw"](LR, 0.9, 0.95, 1e-8, weight_decay=0.0), ORACLES["clip_qk"](**arguments)
    return lambda g, w: clip(adamw(g, w), w, max_logits=[MAX_LOGITS])


def test_every_golden_value_is_compared():
    assert set(golden()) == {f"{s[0]}/{s[1]}/{leaf}" for s in SETTINGS for leaf in s[5]}


IMAGES = {
    "standard": (5, 0.47, 1.21), "dion": (5, 0.97, 1.04), "polar_express": (8, 0.9999, 1.0001), "deepseek_v4": (5, 0.9999, 1.001),
    "cans": (5, 0.88, 1.13), "cubic": (5, 0.4, 1.35), "dion2": (5, 0.8, 1.15),
}  # fmt: skip


@pytest.mark.parametrize("table", IMAGES)
def test_newton_schulz_brings_singular_values_to_about_one(table):
    steps, least, most = IMAGES[table]
    U, V = np.linalg.qr(np.random.RandomState(0).randn(6, 6))[0], np.linalg.qr(np.random.RandomState(1).randn(9, 6))[0]
    G = (U * np.geomspace(0.02, 1, 6)) @ V.T
    for X in (G, G.T):
        s = np.linalg.svd(matrices.orthogonalized(X, table, steps), compute_uv=False)
        assert least < s.min() <= s.max() < most
        close(matrices.orthogonalized(3.7 * X, table, steps, eps=0.0), matrices.orthogonalized(X, table, steps, eps=0.0))


def test_the_table_turbo_turns_singular_values_near_one_around():
    """As published it has a zero at 0.884: what AOL leaves above that, as of a row or of an orthogonal matrix, comes out negative."""
    a, b, c = matrices.TABLES["turbo"][0]
    assert a + b * 0.88**2 + c * 0.88**4 > 0 > a + b * 0.89**2 + c * 0.89**4
    (g,) = gradients((1, 6), 1)
    assert np.sum(g * matrices.orthogonalized(g, "turbo", preconditioning="aol")) < -0.9 * norm(g)


@pytest.mark.parametrize("how", ["frobenius", "spectral", "schatten", "aol"])
def test_preconditioning_leaves_no_singular_value_above_one(how):
    for G in gradients((4, 7), 5):
        X = matrices.orthogonalized(G, (1.0, 0.0, 0.0), 1, how, eps=0.0)
        assert np.linalg.norm(X, 2) <= 1 + 1e-12


def test_polar_express_divides_all_rows_but_the_tables_last():
    table = matrices.TABLES["polar_express"]
    assert matrices.rows("polar_express", 10)[7:] == 3 * [(1.875, -1.25, 0.375)]
    assert matrices.rows("polar_express", 5)[4] == (table[4][0] / 1.01, table[4][1] / 1.01**3, table[4][2] / 1.01**5)


@pytest.mark.parametrize(
    ("shape", "merge_dims", "joined"),
    [
        ((2, 3, 4), None, (2, 3, 4)), ((2, 3, 4), 6, (6, 4)), ((2, 3, 4), 24, (24,)), ((2, 3, 4), 5, (2, 3, 4)),
        ((1, 7, 1, 2), 7, (7, 2)), ((1, 1), 4, (1,)), ((), 4, ()), ((9, 1, 2, 2), 4, (9, 4)),
    ],
)  # fmt: skip
def test_axes_are_joined_from_the_front(shape, merge_dims, joined):
    assert matrices.merged(shape, merge_dims) == joined


@pytest.mark.parametrize(
    ("every", "start", "when"),
    [(3, None, [3, 6, 9, 12]), (3, 1, [1, 3, 6, 9, 12]), (4, 5, [5, 8, 12]), (1, None, [*range(1, 13)]), (100, 1, [1])],
)
def test_refreshes_are_due_at_start_and_then_at_multiples(every, start, when):
    assert [t for t in range(1, 13) if matrices.due(t, None, every, start)] == when


@pytest.mark.parametrize("name", ["soap", "shampoo", "kl_shampoo", "kl_soap", "psgd_kron"])
def test_blocks_are_leaves_of_their_own(name):
    gs = gradients((5, 4), seed=3)
    whole = directions(name, gs, block_size=3)
    for rows in (slice(0, 3), slice(3, 6)):
        for columns in (slice(0, 3), slice(3, 6)):
            alone = directions(name, [g[rows, columns] for g in gs])
            for x, y in zip(whole, alone, strict=True):
                close(x[rows, columns], y, 1e-6)


@pytest.mark.parametrize("name", ["soap", "kl_soap"])
def test_without_bases_soap_is_adam_one_gradient_late(name):
    """Adam with ε where √(1 − β₂ᵗ) multiplies it, the first gradient thrown away."""
    gs = gradients((4, 3))
    found = directions(name, gs, b1=0.9, b2=0.8, eps=0.0, max_precond_dim=0)
    assert not np.any(found[0])
    adam = ORACLES["adam"](-1.0, 0.9, 0.8, eps=0.0)
    for u, g in zip(found[1:], gs[1:], strict=True):
        close(u, adam([g])[0])


@pytest.mark.parametrize("name", ["soap", "shampoo", "splus", "asgo", "dion"])
def test_turned_gradients_give_turned_updates(name):
    """U G Vᵀ gives U u Vᵀ: what Adam lacks and these have, sign and square roots taken in bases that turn with G."""
    U, V = (np.linalg.qr(np.random.RandomState(seed).randn(4, 4))[0] for seed in (1, 2))
    gs = gradients((4, 4), seed=5)
    arguments = {"dion": {"sampler": lambda key, shape, dtype: np.eye(4)}, "splus": {"every": 2}}.get(name, {})
    turned_arguments = {"dion": {"sampler": lambda key, shape, dtype: U}}.get(name, arguments)
    skip = {"splus": 1}.get(name, 0)  # its first bases are I
    plain, turned = directions(name, gs, **arguments), directions(name, [U @ g @ V.T for g in gs], **turned_arguments)
    for x, y in list(zip(plain, turned, strict=True))[skip:]:
        close(y, U @ x @ V.T, 1e-6)


def test_the_tie_break_leaves_square_leaves_alone_and_makes_others_reproducible():
    for x, y in zip(directions("soap", gradients((4, 4))), directions("soap", gradients((4, 4)), tie_break=1e-14), strict=True):
        close(x, y, 1e-6)
    tall, noise = gradients((6, 3)), gradients((6, 3), seed=9)
    perturbed = [g * (1 + 1e-14 * n) for g, n in zip(tall, noise, strict=True)]
    apart = {
        delta: norm(sum(directions("soap", tall, tie_break=delta)) - sum(directions("soap", perturbed, tie_break=delta)))
        for delta in (0.0, 1e-6)
    }
    assert apart[0.0] > 1e-3
    assert apart[1e-6] < 1e-8


def test_shampoos_first_step_is_the_polar_factor():
    """L^-¼ G R^-¼ = (G Gᵀ)^-½ G = U Vᵀ for one gradient of full rank; a vector's is g / ‖g‖."""
    (G,) = gradients((4, 4), 1)
    close(directions("shampoo", [G], eps=0.0)[0], polar(G))
    close(directions("shampoo", [G], eps=0.0, exponents=(0.5, None))[0], polar(G))
    close(directions("shampoo", [G], eps=0.0, exponents=(None, 0.5))[0], polar(G))
    close(directions("shampoo", [G], eps=1e-30, exponents=(0.25, None))[0], matrices.power(G @ G.T, -0.25) @ G)
    close(directions("shampoo", [G[0]], eps=1e-13)[0], G[0] / norm(G[0]), 1e-5)


def test_shampoo_divides_by_roots_of_sums():
    gs = gradients((3, 5), 6)
    L, R = sum(g @ g.T for g in gs), sum(g.T @ g for g in gs)
    found = directions("shampoo", gs, b1=0.0, eps=1e-9)[-1]
    close(found, matrices.power(L + 1e-9 * np.eye(3), -0.25) @ gs[-1] @ matrices.power(R + 1e-9 * np.eye(5), -0.25))


def test_shampoo_of_a_side_that_is_too_long_is_one_sided_with_the_exponent_of_both():
    gs = gradients((3, 5), 6)
    L = sum(g @ g.T for g in gs)
    found = directions("shampoo", gs, b1=0.0, eps=1e-9, max_precond_dim=4)[-1]
    close(found, matrices.power(L + 1e-9 * np.eye(3), -0.25) @ gs[-1])


GRAFTS = {
    "sgd": lambda f, gs: f,
    "adagrad": lambda f, gs: f / (np.sqrt(sum(g**2 for g in gs)) + 1e-10),
    "rmsprop": lambda f, gs: f / (np.sqrt(sum(0.2 * 0.8**k * g**2 for k, g in enumerate(gs[::-1]))) + 1e-10),
    "adam": lambda f, gs: f / (np.sqrt(sum(0.2 * 0.8**k * g**2 for k, g in enumerate(gs[::-1])) / (1 - 0.8 ** len(gs))) + 1e-10),
}
"""Of the filtered gradient and of the raw ones, of which the second moments are."""


@pytest.mark.parametrize("b1", [0.0, 0.7])
@pytest.mark.parametrize("graft", GRAFTS)
def test_grafting_takes_the_norm_and_until_the_first_root_the_step(graft, b1):
    gs = gradients((4, 3), 5)
    grafted = directions("shampoo", gs, b1=b1, graft=graft, graft_b2=0.8, every=4)
    plain = directions("shampoo", gs, b1=b1, every=4)
    filtered = directions("shampoo", gs, b1=b1, exponents=(None, None))
    for k in range(5):
        step = GRAFTS[graft](filtered[k], gs[: k + 1])
        close(grafted[k], step if k < 3 else norm(step) * plain[k] / norm(plain[k]))


def test_normuon_evens_out_the_outputs_and_keeps_the_norm():
    (g,) = gradients((5, 3), 1)  # 3 outputs of 5 inputs
    authors, paper = (directions("normuon", [g], consistent_rms=c)[0] for c in (None, 0.2))
    O_t = directions("muon", [g], eps=1e-7, nesterov=False)[0]
    close(norm(authors), norm(O_t), 1e-6)  # 5 > 3: no scale of the shape
    close(rms(paper), 0.2)
    for u in (authors, paper):
        close(np.sum(u**2, axis=0), np.full(3, np.sum(u**2) / 3))


def test_adamuon_has_the_rms_of_adam_and_ignores_sizes():
    for shape in ((5, 3), (3, 8), (4, 4)):
        for u in directions("adamuon", gradients(shape)):
            close(rms(u), 0.2, 1e-6)
    (g,) = gradients((4, 3), 1)
    close(directions("adamuon", [g])[0], directions("adamuon", [np.sign(g)])[0])


NORMS = {
    "spectral": lambda W: np.linalg.norm(W, 2) * np.sqrt(W.shape[1] / W.shape[0]),
    "spectral_max": lambda W: np.linalg.norm(W, 2) / max(1, np.sqrt(W.shape[0] / W.shape[1])),
    "sign": lambda W: np.max(np.abs(W)) * W.shape[1],
    "column": lambda W: np.max(np.sqrt(np.mean(W**2, axis=0))),
    "row": lambda W: np.max(np.sqrt(np.sum(W**2, axis=1))) * np.sqrt(W.shape[1]),
    "bias": rms,
}


@pytest.mark.parametrize("name", NORMS)
def test_scion_steps_to_the_sphere_of_its_norm_and_stays_in_the_ball(name):
    for shape in ((4, 3), (3, 6), (4, 4)):
        gs = gradients(shape)
        arguments = {"norm": name, "radius": 3.0, "ns_coeffs": "polar_express", "ns_steps": 12}
        for u in directions("scion", gs, constrained=False, **arguments):
            close(NORMS[name](u.T), 3.0, 1e-4)
        step, w = ORACLES["scion"](0.3, **arguments), np.zeros(shape)
        for g in gs:
            w = w + step([g], [w])[0]
            assert NORMS[name](w.T) <= 3.0 * (1 + 1e-4)


def test_scion_points_where_the_linear_function_is_least():
    """<g, lmo(g)> is the dual norm: no other step of the same norm does better."""
    (g,) = gradients((4, 3), 1)
    for name, size in NORMS.items():
        u = directions("scion", [g], norm=name, constrained=False, ns_coeffs="polar_express", ns_steps=12)[0]
        for x in gradients((4, 3), 200, seed=1):
            assert np.sum(g * x) / size(x.T) <= np.sum(g * u) / size(u.T) * (1 + 1e-6)


def test_scion_takes_a_norm_and_a_radius_for_each_leaf():
    gs = [gradients((4, 3), 1)[0], gradients((3, 3), 1)[0], gradients((5,), 1)[0]]
    both = ORACLES["scion"](1.0, norm=["sign", "spectral", "auto"], radius=[2.0, 3.0, 1.0])(gs, gs)
    for u, g, name, radius in zip(both, gs, ("sign", "spectral", "bias"), (2.0, 3.0, 1.0), strict=True):
        close(u, ORACLES["scion"](1.0, norm=name, radius=radius)([g], [g])[0])


def test_dions_steps_have_the_rank_and_the_size_of_q():
    for u in directions("dion", gradients((4, 6)), rank_fraction=0.5):
        assert np.linalg.matrix_rank(u, tol=1e-9) == 2
        close(norm(u), np.sqrt(2 * 6 / 4), 1e-6)  # √(m/n) of 6 outputs and 4 inputs; both factors have columns of length 1
    assert all(np.linalg.matrix_rank(u, tol=1e-9) == 2 for u in directions("dion", gradients((4, 6)), rank_fraction=0.3))
    a, b = gradients((4,), 2)
    for u in directions("dion", 3 * [np.outer(a, b)], rank_fraction=0.25):
        close(u, polar(np.outer(a, b)[:, :1]) @ polar(np.outer(a, b)[:1]) * np.sign(a[0] * b[0]), 1e-6)


def test_dion_of_full_rank_forgets_evenly_and_whitens():
    """P spans everything, so M decays as a whole; u = √(m/n) P Qᵀ = P D⁻¹ Pᵀ M, D the lengths of the rows of Pᵀ M."""
    M = 0.0
    for u, g in zip(directions("dion", gradients((4, 4)), beta=0.9), gradients((4, 4)), strict=True):
        M = 0.9 * M + g.T
        A = u.T @ np.linalg.inv(M)
        close(A, A.T, 1e-6)
        assert np.linalg.eigvalsh(A).min() > 0


def test_dion2_of_all_rows_is_muon_and_of_some_leaves_the_others():
    gs, M = gradients((4, 3)), 0.0
    for u, g in zip(directions("dion2", gs, fraction=1.0, beta=0.9), gs, strict=True):
        M = 0.9 * M + g.T
        close(u.T, np.sqrt(3 / 4) * matrices.orthogonalized(M, "dion2"), 1e-6)
    for shape, axis in (((6, 4), 0), ((4, 6), 1), ((5, 5), 0)):
        for u in directions("dion2", gradients(shape), fraction=0.3):
            chosen = np.any(u != 0, axis=axis)
            assert np.sum(chosen) == 2
            assert len(chosen) == min(shape)


def test_dion2_chooses_the_largest_and_keeps_what_it_has_not_stepped():
    G = np.diag([3.0, 2.0, 1.0])
    chosen = [int(np.argmax(np.any(u != 0, axis=0))) for u in directions("dion2", [G, *5 * [0 * G]], fraction=0.1, beta=0.5)]
    assert chosen == [0, 1, 0, 1, 2, 0]  # 3, 2 | 1.5, 2 | 1.5, 1, 1: of equals the first


def test_dion2_compares_sums_of_absolute_values():
    (u,) = directions("dion2", [np.array([[3.0, 0, 0, 0], [1.0, 1, 1, 1]])], fraction=0.5)
    assert not np.any(u[0])
    assert np.all(u[1] > 0)


def test_dions_own_table_is_for_a_norm_with_a_margin():
    (G,) = gradients((3, 5), 1)
    close(matrices.orthogonalized(G, "dion2", eps=0.0), matrices.orthogonalized(G, matrices.TABLES["dion2"], eps=0.02 * norm(G)))


def test_splus_begins_with_the_sign_and_always_has_the_same_norm():
    gs = gradients((4, 4))
    found = directions("splus", gs, every=3)
    close(found[0], np.sign(gs[0]) * 2 / 8)
    for u in found:
        close(norm(u), 4 * 2 / 8)
    close(directions("splus", [gs[0][0]])[0], 1e-3 * np.sign(gs[0][0]))
    close(directions("splus", gs, max_precond_dim=3)[0], 1e-3 * np.sign(gs[0]))


def test_splus_decays_by_the_scaled_rate():
    for shape, scale in (((2, 6), 2 / 8), ((5,), 1e-3)):
        close(ORACLES["splus"](0.1, weight_decay=0.3)([np.zeros(shape)], [np.ones(shape)])[0], -0.1 * scale * 0.3 * np.ones(shape))


def test_the_average_of_splus_is_that_of_the_parameters():
    close(average(5 * [np.ones(3)]), np.ones(3))
    close(average([np.zeros(1), np.ones(1)], 0.5), np.array([2 / 3]))


def test_asgos_first_step_is_the_polar_factor_on_either_side():
    for shape in ((3, 5), (5, 3), (4, 4)):
        (G,) = gradients(shape, 1)
        close(directions("asgo", [G], consistent_rms=None, eps=0.0)[0], (1 - 0.9) / np.sqrt(1 - 0.8) * polar(G))
        for u in directions("asgo", gradients(shape)):
            close(rms(u), 0.2)


def test_kl_shampoos_factors_find_a_kronecker_covariance():
    rng = np.random.RandomState(0)
    A, B = rng.standard_normal((3, 3)), rng.standard_normal((4, 4)) + 2 * np.eye(4)
    factors = KLFactors((3, 4), 0.998, 1e-12, 0.1, 100, 2, None)
    for t in range(2, 2000):
        factors.update(t, A @ rng.standard_normal((3, 4)) @ B.T)
    found, truth = np.kron(factors.S[0], factors.S[1]), np.kron(A @ A.T, B @ B.T)
    assert norm(found - truth) < 0.1 * norm(truth)  # with its size: both divide by the number of the other side's directions
    close(np.max(np.abs(factors.S[0])), np.max(np.abs(factors.S[1])))
    for k in (0, 1):
        off = factors.Q[k].T @ factors.S[k] @ factors.Q[k]
        assert norm(off - np.diag(np.diag(off))) < 0.05 * norm(off)


def test_a_refresh_keeps_the_numbering_of_the_bases():
    """So a second moment in them may stay: of S that Q diagonalizes already, in whatever order, nothing turns."""
    factors = KLFactors((3, 4), 0.95, 1e-8, 0.1, 10, 1, None)
    factors.S = {0: np.diag([1.0, 3.0, 2.0]), 1: np.diag([2.0, 1.0, 4.0, 3.0])}
    factors.update(10, np.zeros((3, 4)))
    for k in (0, 1):
        close(np.abs(factors.Q[k]), np.eye(3 + k))


def test_kl_shampoo_begins_with_a_multiple_of_the_gradient():
    gs = gradients((3, 5), 3)
    found = directions("kl_shampoo", gs)
    assert not np.any(found[0])
    close(found[1], 0.1 * gs[1] / 0.1)  # S = 0.1 I on both sides, to the power −1/2 each; 1 − β₁ = 0.1


@pytest.mark.parametrize("form", ["pro", "triangular"])
def test_psgds_preconditioner_converges_to_the_inverse_root_of_the_covariance(form):
    """The fitted P is E[g gᵀ]^-½: what whitens the gradients."""
    rng = np.random.RandomState(0)
    A, B = rng.standard_normal((3, 3)) + 2 * np.eye(3), rng.standard_normal((3, 3)) + 3 * np.eye(3)
    gs = [3.0 * np.outer(a, b) for a in A.T for b in B]
    truth = matrices.power(sum(np.outer(g.ravel(), g.ravel()) for g in gs) / len(gs), -0.5)
    Q, ell = [np.eye(3), np.eye(3)], [0.0, 0.0]
    for k in range(1500):
        g, rate = gs[rng.randint(9)], 0.3 * 0.996**k + 0.003
        if form == "pro":
            Q, ell = _pro(Q, ell, g, rate, rng.standard_normal)
        else:
            Q = _triangular(Q, g, rate, lambda shape: rng.standard_normal(shape))
    P = np.kron(Q[0].T @ Q[0], Q[1].T @ Q[1])
    assert norm(P - truth) < 0.15 * norm(truth)


def test_psgds_inverse_free_step_in_one_formula():
    """Q_k − lr / L_k (T_k − c_k I) Q_k, then turned; L_k falls by a tenth of the way, and rises at once."""
    rng = np.random.RandomState(0)
    normal = np.random.RandomState(1).standard_normal
    A, B = np.eye(3) + 0.2 * rng.standard_normal((3, 3)), np.eye(4) + 0.2 * rng.standard_normal((4, 4))
    (x,) = gradients((3, 4), 1)
    P = A.T @ A @ x @ B.T @ B
    new, ell = _pro([A, B], [0.0, 1e6], x, 0.1, normal)
    for k, (q, T, c) in enumerate(((A, P @ P.T, 4), (B, P.T @ P, 3))):
        if k == 0:
            assert 0.9 * np.linalg.norm(T, 2) + c < ell[k] <= np.linalg.norm(T, 2) + c + 1e-6
        else:
            assert 0.9e6 + 0.09 * np.linalg.norm(T, 2) < ell[k] - 0.1 * c <= 0.9e6 + 0.1 * np.linalg.norm(T, 2) + 1e-6
        step = q - 0.1 / ell[k] * (T - c * np.eye(len(q))) @ q
        close(new[k].T @ new[k], step.T @ step, 1e-3)  # a rotation from the left, but for a³
        close(new[k], _rotated(step, normal), 0.05)  # the estimate of its length differs with the numbers drawn


def test_psgds_rotation_is_one_and_makes_q_more_symmetric():
    for q in gradients((4, 4), 20):
        q = 2 * np.eye(4) + 0.3 * q
        turned = _rotated(q, np.random.RandomState(0).standard_normal)
        close(turned.T @ turned, q.T @ q, 1e-3)  # (1/8)⁴ / 4 and less
        assert norm(turned - turned.T) < norm(q - q.T)
        assert np.trace(turned) > np.trace(q)
    for q in (np.eye(3), -np.eye(3)):
        close(_rotated(q, np.random.RandomState(0).standard_normal), q)
    away = np.array([[-1.0, 0.5], [0.0, -1.0]])  # tr(R R Q) > 0: the longest step
    (values,) = {round(float(np.linalg.norm(_rotated(away, lambda s: np.ones(s)) - away)), 12)}
    assert values == pytest.approx(np.linalg.norm((1 / 8 * J + J @ J / 128) @ away), rel=1e-9)


J = np.array([[0.0, -1.0], [1.0, 0.0]])
"""A quarter turn, of norm 1."""


def test_psgds_damping_bounds_the_preconditioner():
    """Of a gradient of zeros 1e-9 v is left; of another, 2⁻⁵² of each element more."""
    ones = lambda shape: np.ones(shape)
    for x, damped in ((0.0, 1e-9), (1.0, 1.0 + 1e-9)):
        _, (ell,) = _pro([1e5 * np.ones(3)], [0.0], np.full(3, x), 0.1, ones)
        assert ell == pytest.approx(1 + (1e10 * damped) ** 2, rel=1e-6)


def test_psgd_of_a_number_whitens_it():
    """A gradient of constant size 100: P → 1 / 100 in both forms."""
    for form in ("pro", "triangular"):
        u = directions("psgd_kron", 400 * [np.full((), 100.0)], form=form, sampler=lambda *_: np.ones(1))[-1]
        close(u, 1.0, 0.05)


def test_psgd_balances_without_changing_the_preconditioner():
    Q = [3.0 * np.triu(np.ones((3, 3))), 0.01 * np.ones(4), 7.0 * np.eye(2)]
    (x,) = gradients((3, 4, 2), 1)
    close(_preconditioned(_balanced(Q), x), _preconditioned(Q, x))
    sizes = [np.max(np.abs(q)) for q in _balanced(Q)]
    close(sizes, np.full(3, (3.0 * 0.01 * 7.0) ** (1 / 3)))


def test_psgds_estimate_is_that_of_a_fourth_power():
    """From the rows V, turned towards the longest of A: the largest |V A⁴| / |V A³|."""
    A = np.diag([1.0, 0.7, 0.2])
    V = np.random.RandomState(0).standard_normal((32, 3))
    W = A[0] + np.sign(V[:, :1]) * V
    lengths = [np.sqrt(np.sum((W @ np.linalg.matrix_power(A, k)) ** 2, axis=1)) for k in (3, 4)]
    close(_estimated_norm(5.0 * A, 5.0, np.random.RandomState(0).standard_normal), 5.0 * np.max(lengths[1] / lengths[0]))


def test_psgds_norms_are_lower_bounds_and_good_ones():
    for A in gradients((6, 6), 20):
        spd, skew = A @ A.T, A - A.T
        for found, truth in (
            (_estimated_norm(spd, np.max(np.diag(spd)), np.random.RandomState(0).standard_normal), np.linalg.norm(spd, 2)),
            (_estimated_norm(skew, np.max(np.abs(skew)), np.random.RandomState(0).standard_normal), np.linalg.norm(skew, 2)),
            (_from_longest_column(spd), np.linalg.norm(spd, 2)),
        ):
            assert 0.7 * truth <= found <= truth * (1 + 1e-12)


@pytest.mark.parametrize(
    ("shape", "arguments", "diagonal"),
    [
        ((4, 4), {}, [False, False]), ((3, 5), {}, [False, True]), ((3, 5), {"max_skew": 2.0}, [False, False]),
        ((3, 5), {"form": "triangular"}, [False, False]), ((3, 5), {"form": "triangular", "diagonal": "largest"}, [False, True]),
        ((1, 5), {"form": "triangular"}, [True, False]), ((5,), {"form": "triangular"}, [True]), ((5,), {}, [True]),
        ((4, 4), {"diagonal": "all"}, [True, True]), ((4, 4), {"max_precond_dim": 3}, [True, True]),
        ((2, 3, 4), {"form": "triangular", "max_precond_dim": 3}, [False, False, True]),
    ],
)  # fmt: skip
def test_psgds_axes_have_a_diagonal_factor_by_size(shape, arguments, diagonal):
    """A dense factor mixes an axis: the update of a gradient that is 0 but in one place along it has others too."""
    gs = gradients(shape, 6)
    for k, expected in enumerate(diagonal):
        last = np.zeros(shape)
        last[tuple(0 if j == k else slice(None) for j in range(len(shape)))] = 1.0
        u = directions("psgd_kron", [*gs, last], b1=0.0, clip_rms=None, every=lambda t: 1 if t < 6 else 10**9, **arguments)[-1]
        elsewhere = np.delete(u, 0, axis=k)
        assert np.all(elsewhere == 0) == expected


def test_psgds_gap_grows_from_one_to_a_thirty_third():
    gap = psgd_gap()
    assert [gap(k) for k in (0, 100, 499)] == [1.0, 1.0, 1.0]
    np.testing.assert_allclose([gap(1499), gap(10**4)], [np.e, 1 / 0.03])


def test_psgd_clips_the_rms_and_then_the_elements():
    gs = [1e3 * g for g in gradients((4, 4))]
    assert rms(directions("psgd_kron", gs)[0]) == pytest.approx(1.1)
    assert np.max(np.abs(directions("psgd_kron", gs, clip_rms=2.0, clip_value=2.5)[0])) == 2.5


def test_clip_qk_brings_the_logits_down_to_the_threshold():
    rng = np.random.RandomState(0)
    q, k = rng.standard_normal((2, 5, 3, 4))  # inputs, heads, dimensions
    x = 10 * rng.standard_normal((20, 5))
    logits = lambda q, k: np.max(np.einsum("ai,ihd,bj,jhd->hab", x, q, x, k), axis=(1, 2))
    S = logits(q, k)
    threshold = float(np.median(S))
    step = ORACLES["clip_qk"]([1, 1, None], threshold)
    zeros, other = np.zeros_like(q), np.ones(2)
    uq, uk, u = step([zeros, zeros, other], [q, k, other], max_logits=[S, S, None])
    close(logits(q + uq, k + uk), np.minimum(S, threshold))
    assert np.all(u == other)


def test_clip_qk_leaves_heads_alone_whose_logits_are_small_or_negative():
    g = np.ones((2, 3))
    (u,) = ORACLES["clip_qk"]([0], 100.0)([g], [g], max_logits=[np.array([-200.0, 0.0])])
    close(u, g)


def test_leaves_that_are_no_matrix_get_adamw_in_muons_family():
    gs = gradients((5,))
    for name, eps, nesterov in (("normuon", 1e-7, True), ("adamuon", 1e-7, True), ("dion", 1e-8, False), ("dion2", 1e-8, False)):
        step = ORACLES[name](0.1, adam_b1=0.8, adam_weight_decay=0.2, adam_learning_rate=0.3)
        adamw = ORACLES["adamw"](0.3, 0.8, eps=eps, weight_decay=0.2, nesterov=nesterov)
        for g in gs:
            close(step([g], [g])[0], adamw([g], [g])[0])


@pytest.mark.parametrize(("name", "late", "eps"), [("asgo", 0, 1e-8), ("kl_shampoo", 1, 1e-5)])
def test_leaves_that_are_no_matrix_get_adam_in_others(name, late, eps):
    gs = gradients((5,))
    arguments = {"eps": eps} if name == "kl_shampoo" else {}
    adam = ORACLES["adam"](-1.0, 0.8, 0.999, eps)
    for u, g in list(zip(directions(name, gs, b1=0.8, **arguments), gs, strict=True))[late:]:
        close(u, adam([g])[0])


@pytest.mark.parametrize("name", ["soap", "shampoo", "psgd_kron", "asgo", "kl_shampoo", "kl_soap"])
def test_the_core_is_the_optimizer_without_rate_and_decay(name):
    gs, w = gradients((3, 4)), np.ones((3, 4))
    whole, core = ORACLES[name](lambda k: 0.1 / (k + 1), weight_decay=0.2), ORACLES[f"scale_by_{name}"]()
    for k, g in enumerate(gs):
        close(whole([g], [w])[0], -0.1 / (k + 1) * (core([g], [w])[0] + 0.2 * w))


@pytest.mark.parametrize(
    ("name", "shape_scale"), [("normuon", "original"), ("adamuon", None), ("dion", "spectral"), ("dion2", "spectral")]
)
def test_the_cores_of_muons_family_lack_the_scale_of_the_shape_too(name, shape_scale):
    gs, w = gradients((3, 4)), np.ones((3, 4))  # 4 outputs of 3 inputs
    whole, core = ORACLES[name](0.1, weight_decay=0.2), ORACLES[f"scale_by_{name}"]()
    for g in gs:
        close(whole([g], [w])[0], -0.1 * (matrices.scale_of_shape(4, 3, shape_scale) * core([g], [w])[0] + 0.2 * w))


def test_the_core_of_splus_decays():
    gs, w = gradients((4, 4)), np.ones((4, 4))
    whole, core = ORACLES["splus"](0.1, weight_decay=0.2), ORACLES["scale_by_splus"](weight_decay=0.2)
    for g in gs:
        close(whole([g], [w])[0], -0.1 * core([g], [w])[0])


def test_shampoos_momentum_looks_one_step_further():
    """f has weight 1 − β₃ on g and β₃ on the mean before it; debiased, a constant gradient is its own f."""
    gs = gradients((3, 2), 6)
    found = directions("shampoo", gs, b1=0.8, b3=0.6, exponents=(None, None))
    for t, f in enumerate(found, 1):
        before = sum(0.2 * 0.8 ** (t - 2 - k) * g for k, g in enumerate(gs[: t - 1]))
        close(f, (0.4 * gs[t - 1] + 0.6 * before) / (1 - 0.6 * 0.8 ** (t - 1)))
    for f in directions("shampoo", 4 * gs[:1], b3=0.6, exponents=(None, None)):
        close(f, gs[0])


@pytest.mark.parametrize("bias_correction", [True, False])
def test_shampoos_means_are_debiased(bias_correction):
    gs = gradients((3, 5), 6)
    L = sum(0.2 * 0.8 ** (5 - k) * g @ g.T for k, g in enumerate(gs)) / (1 - 0.8**6 if bias_correction else 1)
    found = directions("shampoo", gs, b1=0.0, b2=0.8, eps=1e-9, exponents=(0.3, None), bias_correction=bias_correction)[-1]
    close(found, matrices.power(L + 1e-9 * np.eye(3), -0.3) @ gs[-1])


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4)])
def test_asgo_divides_by_the_root_of_a_mean_on_the_shorter_side(shape):
    gs = gradients(shape, 6)
    k = int(shape[0] > shape[1])
    V = sum(0.2 * 0.8 ** (5 - t) * matrices.gram(g, k) for t, g in enumerate(gs))
    m = sum(0.1 * 0.9 ** (5 - t) * g for t, g in enumerate(gs))
    for every, at_ in ((1, V), (4, (V - sum(0.2 * 0.8 ** (5 - t) * matrices.gram(gs[t], k) for t in (4, 5))) / 0.8**2)):
        X = np.linalg.inv(matrices.power(at_, 0.5) + 0.3 * np.eye(len(V)))
        close(directions("asgo", gs, eps=0.3, consistent_rms=None, every=every)[-1], matrices.along(m, X, k))


def test_kl_soap_is_adam_in_the_bases_of_kl_shampoo():
    """The mean kept in the original coordinates instead: the same, as bases are orthogonal."""
    gs = gradients((3, 5))
    factors, m, v = KLFactors((3, 5), 0.95, 1e-8, 0.1, 10, 3, None), 0.0, 0.0
    for t, (u, g) in enumerate(zip(directions("kl_soap", gs, b1=0.8, b2=0.7, every=3)[1:], gs[1:], strict=True), 2):
        m = 0.8 * m + 0.2 * g
        v = 0.7 * v + 0.3 * matrices.turned(g, factors.Q) ** 2
        x = matrices.turned(m, factors.Q) / (np.sqrt(v) + 1e-8) * np.sqrt(1 - 0.7 ** (t - 1)) / (1 - 0.8 ** (t - 1))
        close(u, matrices.turned_back(x, factors.Q), 1e-7)
        factors.update(t, g)


def test_psgd_may_whiten_gradients_and_precondition_their_mean():
    """With Q diagonal and never updated but once, u is the debiased mean times what one update of Q from g alone gives."""
    gs = gradients((4,), 3)
    once = {"every": lambda k: 1 if k == 0 else 10**9, "clip_rms": None}
    for form in ("pro", "triangular"):
        first, *others = directions("psgd_kron", gs, form=form, whiten="gradient", b1=0.5, **once)
        P = first / gs[0]
        m = 0.5 * gs[0]
        for t, (u, g) in enumerate(zip(others, gs[1:], strict=True), 2):
            m = 0.5 * m + 0.5 * g
            close(u, P * m / (1 - 0.5**t))
    different = [directions("psgd_kron", gs, whiten=whiten)[-1] for whiten in ("gradient", "momentum")]
    assert norm(different[0] - different[1]) > 1e-3 * norm(different[0])
