"""Transcriptions of `dion2` and `scale_by_dion2`."""

import numpy as np

from oracles._collect import array_oracle
from oracles._matrices import core, matrices, orthogonalized, scale_of_shape


@array_oracle
def dion2(
    learning_rate, fraction=0.25, beta=0.95, ns_coeffs="dion2", ns_steps=5, eps=1e-8, weight_decay=0.01, shape_scale="spectral",
    adam_b1=0.9, adam_b2=0.999, adam_eps_root=0.0, adam_weight_decay=0.0, adam_learning_rate=None,
):  # fmt: skip
    """Ahn et al. 2025, arXiv:2512.16928, for leaves (inputs, outputs) = Wᵀ, W m x n; AdamW for other leaves.

    M ← M + G;  K = the max(1, ⌈`fraction` d⌉) rows of M with the largest ℓ1 norm (columns where n < m; d = min(m, n))
    u_K = √(m/n) NS(M_K), 0 elsewhere;  M_K ← β M_K
    """
    direction = _dion2(fraction, beta, ns_coeffs, ns_steps, eps, shape_scale)
    rest = adam_b1, adam_b2, adam_eps_root, adam_weight_decay, adam_learning_rate
    return matrices(direction, learning_rate, weight_decay, eps, False, *rest)


@array_oracle
def scale_by_dion2(fraction=0.25, beta=0.95, ns_coeffs="dion2", ns_steps=5, eps=1e-8):
    """The direction of matrices alone, uphill, without the scale of the shape."""
    return core(_dion2(fraction, beta, ns_coeffs, ns_steps, eps, None))


def _dion2(fraction, beta, ns_coeffs, ns_steps, eps, shape_scale):
    M, u = 0.0, None
    while True:
        G = yield u
        m, n = G.shape
        M = M + G
        u = np.zeros_like(G)
        rows, rows_of_u = (M, u) if m <= n else (M.T, u.T)
        K = np.argsort(-np.sum(np.abs(rows), axis=1), kind="stable")[: max(1, int(np.ceil(fraction * len(rows))))]
        K = np.sort(K)
        rows_of_u[K] = scale_of_shape(m, n, shape_scale) * orthogonalized(rows[K], ns_coeffs, ns_steps, eps=eps)
        rows[K] *= beta
