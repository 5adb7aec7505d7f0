"""The transcriptions of matrix optimizers: they run, go where the references go (`golden/make_matrices.py`), and share what they say."""

import functools
import pathlib

import numpy as np
import pytest
from golden.matrices import KEPT, LR, MAX_LOGITS, SETTINGS, STEPS, normal, problem
from matrix_directions import close, directions, gradients
from oracles import ORACLES
from oracles import _matrices as matrices
from oracles._arithmetic import norm
from steps import plain

pytestmark = pytest.mark.fast

HERE = pathlib.Path(__file__).parent / "golden"
SHAPES = [(4, 4), (3, 5), (5, 3), (1, 6), (6, 1), (7,), (), (2, 3, 4), (3, 3, 2, 4)]
CASES = [
    ("soap", {}), ("soap", {"precondition_1d": True, "block_size": 2, "merge_dims": 6, "every": 2}), ("soap", {"max_precond_dim": 4}),
    ("shampoo", {"eps": 1e-6}), ("shampoo", {"graft": "adam", "b2": 0.9, "block_size": 2, "every": 3}),
    ("shampoo", {"max_precond_dim": 4, "eps": 1e-6}),
    ("shampoo", {"graft": "sgd", "b3": 0.7, "bias_correction": False, "start": 2, "every": 3, "eps": 1e-6}),
    ("shampoo", {"graft": "adagrad", "eps": 1e-6}), ("shampoo", {"exponents": (0.5, None), "eps": 1e-6}),
    ("shampoo", {"graft": "rmsprop", "b2": 0.9, "merge_dims": 6, "max_precond_dim": 4, "every": 2, "eps": 1e-6}),
    ("shampoo", {"roots": "newton", "eps": 0.1}), ("shampoo", {"roots": "newton_db", "eps": 0.1, "merge_dims": 12, "block_size": 4}),
    ("shampoo", {"exponents": (0.3, 0.1), "weight_decay": 0.1, "eps": 1e-6}),
    ("normuon", {}), ("normuon", {"consistent_rms": 0.2, "ns_coeffs": "turbo", "preconditioning": "aol"}),
    ("scion", {}), ("psgd_kron", {}), ("psgd_kron", {"form": "triangular", "balance_every": 2}), ("psgd_kron", {"diagonal": "largest"}),
    ("psgd_kron", {"every": 3, "block_size": 2, "clip_value": 1.0, "max_skew": 0.5}), ("adamuon", {}), ("dion", {}),
    ("dion", {"rank_fraction": 0.3}), ("dion2", {}), ("splus", {"every": 4}), ("asgo", {}), ("asgo", {"every": 3, "start": None}),
    ("mars", {}), ("mars", {"kind": "lion", "optimize_1d": True}), ("mars", {"kind": "muon", "clip_threshold": 0.5, "gamma": 0.2}),
    ("mars", {"kind": "muon", "optimize_1d": True, "ns_coeffs": "dion"}), ("came", {}), ("came", {"clip_threshold": 0.3, "b3": 0.9}),
    ("adamp", {}), ("adamp", {"delta": 2.5, "wd_ratio": 0.3, "weight_decay": 0.1}), ("adamp", {"delta": 9.0, "nesterov": True}),
    ("adam_mini", {}), ("adam_mini", {"blocks": "input"}), ("adam_mini", {"blocks": "leaf"}), ("adam_mini", {"blocks": "output"}),
    ("stable_adamw", {"weight_decay": 0.1}), ("apollo", {"rank": 2, "every": 5}), ("apollo", {"scale_type": "tensor", "every": 4}),
    ("apollo", {"scale_front": True, "scale": 4.0, "rank": 1, "every": 1}), ("apollo", {"limiter": None}), ("apollo_mini", {}),
    ("splus", {"max_precond_dim": 4, "nonstandard_scale": 0.1, "weight_decay": 0.1}), ("splus", {"b1": 0.8, "b2": 0.9, "every": 1}),
    ("asgo", {"eps": 1e-12, "roots": "newton"}), ("asgo", {"eps": 1e-12, "roots": "newton_db", "consistent_rms": None, "every": 2}),
    ("kl_shampoo", {}), ("kl_shampoo", {"max_precond_dim": 4, "every": 3}), ("kl_shampoo", {"merge_dims": 6, "init_factor": 0.5}),
    ("kl_shampoo", {"every": lambda k: 2 + k // 4, "start": 1}), ("kl_soap", {}), ("kl_soap", {"block_size": 2, "every": 1}),
    ("kl_soap", {"b1": 0.8, "b2": 0.9, "shampoo_beta": 0.7, "every": 3, "merge_dims": 8, "weight_decay": 0.1}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments"), CASES, ids=plain)
def test_twelve_updates_are_finite_and_move(name, arguments):
    step = ORACLES[name](0.1, **arguments)
    ws = [np.ones(shape) for shape in SHAPES]
    for k in range(STEPS):
        us = step([gradients(shape, seed=k)[0] for shape in SHAPES], ws)
        ws = [w + u for w, u in zip(ws, us, strict=True)]
        assert all(np.all(np.isfinite(w)) for w in ws)
    assert all(np.any(u != 0) for u in us)


@pytest.mark.parametrize(("name", "arguments"), [c for c in CASES if "start" not in c[1]], ids=plain)
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


def test_dions_own_table_is_for_a_norm_with_a_margin():
    (G,) = gradients((3, 5), 1)
    close(matrices.orthogonalized(G, "dion2", eps=0.0), matrices.orthogonalized(G, matrices.TABLES["dion2"], eps=0.02 * norm(G)))


def test_leaves_that_are_no_matrix_get_adamw_in_muons_family():
    gs = gradients((5,))
    for name, eps, nesterov in (("normuon", 1e-7, True), ("adamuon", 1e-7, True), ("dion", 1e-8, False), ("dion2", 1e-8, False)):
        step = ORACLES[name](0.1, adam_b1=0.8, adam_weight_decay=0.2, adam_learning_rate=0.3)
        adamw = ORACLES["adamw"](0.3, 0.8, eps=eps, weight_decay=0.2, nesterov=nesterov)
        for g in gs:
            close(step([g], [g])[0], adamw([g], [g])[0])


@pytest.mark.parametrize("name", ["soap", "shampoo", "kl_shampoo", "kl_soap", "psgd_kron"])
def test_joined_axes_are_one(name):
    gs = gradients((2, 2, 1, 4), seed=3)
    for x, y in zip(directions(name, gs, merge_dims=4), directions(name, [g.reshape(4, 4) for g in gs]), strict=True):
        close(x, y.reshape(x.shape))


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
