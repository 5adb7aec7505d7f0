"""The transcriptions of PSGD do what its author promises: P becomes the inverse root of the covariance, by steps of known form."""

import numpy as np
import pytest
from matrix_directions import close, directions, gradients
from oracles import _matrices as matrices
from oracles._arithmetic import norm, rms
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

pytestmark = pytest.mark.fast


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
