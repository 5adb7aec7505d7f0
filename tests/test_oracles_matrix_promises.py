"""The transcriptions of matrix optimizers do what the papers promise: closed forms, fixed points, invariances."""

import numpy as np
import pytest
from matrix_directions import close, directions, gradients, polar
from oracles import ORACLES
from oracles import _matrices as matrices
from oracles._arithmetic import norm, rms
from oracles._kl_shampoo import KLFactors
from oracles._splus import average

pytestmark = pytest.mark.fast


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
