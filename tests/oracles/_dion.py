"""Transcriptions of `dion` and `scale_by_dion`."""

import numpy as np

from oracles._collect import array_oracle
from oracles._matrices import core, matrices, pseudonormal, scale_of_shape


@array_oracle
def dion(
    learning_rate, rank_fraction=1.0, beta=0.95, eps=1e-8, weight_decay=0.01, shape_scale="spectral", orthogonalization="qr",
    adam_b1=0.9, adam_b2=0.999, adam_eps_root=0.0, adam_weight_decay=0.0, adam_learning_rate=None, key=0, sampler=pseudonormal,
):  # fmt: skip
    """Ahn et al. 2025, arXiv:2504.05295, Algorithm 1, for leaves (inputs, outputs) = Wᵀ, W m x n; AdamW for other leaves.

    M ← M + G;  P = orth(M Q);  R = Mᵀ P;  M ← M − (1 − β) P Rᵀ;  Q = R, its columns divided by (their norm + ε);  u = √(m/n) P Qᵀ

    Q is n x r, r = ⌈`rank_fraction` min(m, n)⌉, at first `sampler(key, (n, r), dtype)`. P is any orthonormal basis of M Q: both
    products are independent of which (`orthogonalization` says only how it is found). M = 0 gives u = 0.
    """
    direction = _dion(rank_fraction, beta, eps, shape_scale, key, sampler)
    rest = adam_b1, adam_b2, adam_eps_root, adam_weight_decay, adam_learning_rate
    return matrices(direction, learning_rate, weight_decay, eps, False, *rest)


@array_oracle
def scale_by_dion(rank_fraction=1.0, beta=0.95, eps=1e-8, orthogonalization="qr", key=0, sampler=pseudonormal):
    """The direction of matrices alone, uphill, without the scale of the shape."""
    return core(_dion(rank_fraction, beta, eps, None, key, sampler))


def _dion(rank_fraction, beta, eps, shape_scale, key, sampler):
    M, Q, u = 0.0, None, None
    while True:
        G = yield u
        m, n = G.shape
        if Q is None:
            Q = np.asarray(sampler(key, (n, int(np.ceil(rank_fraction * min(m, n)))), np.float64))
        M = M + G
        if not np.any(M):
            u = np.zeros_like(G)
            continue
        P = np.linalg.qr(M @ Q)[0]
        R = M.T @ P
        M = M - (1 - beta) * P @ R.T
        Q = R / (np.sqrt(np.sum(R**2, axis=0)) + eps)
        u = scale_of_shape(m, n, shape_scale) * P @ Q.T
