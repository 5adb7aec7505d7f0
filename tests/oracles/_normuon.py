"""Transcriptions of `normuon` and `scale_by_normuon`."""

import numpy as np

from oracles._arithmetic import norm
from oracles._collect import array_oracle
from oracles._matrices import core, matrices, nesterov_mean, orthogonalized, scale_of_shape, started


@array_oracle
def normuon(
    learning_rate, ns_coeffs=(3.4445, -4.7750, 2.0315), ns_steps=5, beta=0.95, beta2=0.95, eps=1e-7, weight_decay=0.0, nesterov=True,
    preconditioning="frobenius", adam_b1=0.9, adam_b2=0.999, adam_eps_root=0.0, adam_weight_decay=0.0, adam_learning_rate=None,
    shape_scale="original", consistent_rms=None, eps_nu=1e-10,
):  # fmt: skip
    """Li et al. 2025, arXiv:2510.05491, Algorithm 1, for leaves (inputs, outputs) = Wᵀ, W m x n; AdamW for other leaves.

    M ← β M + (1 − β) G;  X = β M + (1 − β) G (not `nesterov`: M);  O = NS(X)
    v_i ← β₂ v_i + (1 − β₂) mean_j O_ij²;  Ô_ij = O_ij / (√v_i + ε_ν)
    the authors' repository:  u = √max(1, m/n) ‖O‖_F / (‖Ô‖_F + ε_ν) Ô;  the paper (`consistent_rms` = 0.2):  u = 0.2 √(mn) Ô / ‖Ô‖_F
    """
    direction = _normuon(ns_coeffs, ns_steps, beta, beta2, eps, nesterov, preconditioning, shape_scale, consistent_rms, eps_nu)
    rest = adam_b1, adam_b2, adam_eps_root, adam_weight_decay, adam_learning_rate
    return matrices(direction, learning_rate, weight_decay, eps, nesterov, *rest)


@array_oracle
def scale_by_normuon(
    ns_coeffs=(3.4445, -4.7750, 2.0315), ns_steps=5, beta=0.95, beta2=0.95, eps=1e-7, nesterov=True, preconditioning="frobenius",
    consistent_rms=None, eps_nu=1e-10,
):  # fmt: skip
    """The direction of matrices alone, uphill, without the scale of the shape."""
    return core(_normuon(ns_coeffs, ns_steps, beta, beta2, eps, nesterov, preconditioning, None, consistent_rms, eps_nu))


def _normuon(ns_coeffs, ns_steps, beta, beta2, eps, nesterov, preconditioning, shape_scale, consistent_rms, eps_nu):
    mean, v, u = started(nesterov_mean(beta, nesterov)), 0.0, None
    while True:
        G = yield u
        m, n = G.shape
        O_t = orthogonalized(mean.send(G), ns_coeffs, ns_steps, preconditioning, eps)
        v = beta2 * v + (1 - beta2) * np.mean(O_t**2, axis=1)
        O_hat = O_t / (np.sqrt(v) + eps_nu)[:, None]
        if consistent_rms is None:
            u = scale_of_shape(m, n, shape_scale) * norm(O_t) / (norm(O_hat) + eps_nu) * O_hat
        else:
            u = consistent_rms * np.sqrt(m * n) * O_hat / (norm(O_hat) or 1.0)
