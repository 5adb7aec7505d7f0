"""Transcriptions of `adamuon` and `scale_by_adamuon`."""

import numpy as np

from oracles._arithmetic import norm
from oracles._collect import array_oracle
from oracles._matrices import core, matrices, nesterov_mean, orthogonalized, started


@array_oracle
def adamuon(
    learning_rate, ns_coeffs=(3.4445, -4.7750, 2.0315), ns_steps=5, beta=0.95, beta2=None, eps=1e-7, weight_decay=0.01, nesterov=True,
    sign=True, preconditioning="frobenius", adam_b1=0.9, adam_b2=0.999, adam_eps_root=0.0, adam_weight_decay=0.0,
    adam_learning_rate=None, consistent_rms=0.2, eps_nu=1e-8,
):  # fmt: skip
    """Si et al. 2025, arXiv:2507.11005, as the authors' repository has it, for leaves (inputs, outputs) = Wᵀ; AdamW for other leaves.

    M ← β M + (1 − β) G;  X = β M + (1 − β) G;  O = NS(sign(X)) (not `sign`: of X)
    V ← β₂ V + (1 − β₂) O² (elementwise, β₂ = β where not given, not debiased);  U = O / (√V + ε_ν);  u = 0.2 √(mn) / (‖U‖_F + ε_ν) U
    """
    beta2 = beta if beta2 is None else beta2
    direction = _adamuon(ns_coeffs, ns_steps, beta, beta2, eps, nesterov, sign, preconditioning, consistent_rms, eps_nu)
    rest = adam_b1, adam_b2, adam_eps_root, adam_weight_decay, adam_learning_rate
    return matrices(direction, learning_rate, weight_decay, eps, nesterov, *rest)


@array_oracle
def scale_by_adamuon(
    ns_coeffs=(3.4445, -4.7750, 2.0315), ns_steps=5, beta=0.95, beta2=None, eps=1e-7, nesterov=True, sign=True,
    preconditioning="frobenius", consistent_rms=0.2, eps_nu=1e-8,
):  # fmt: skip
    """The direction of matrices alone, uphill."""
    beta2 = beta if beta2 is None else beta2
    return core(_adamuon(ns_coeffs, ns_steps, beta, beta2, eps, nesterov, sign, preconditioning, consistent_rms, eps_nu))


def _adamuon(ns_coeffs, ns_steps, beta, beta2, eps, nesterov, sign, preconditioning, consistent_rms, eps_nu):
    mean, V, u = started(nesterov_mean(beta, nesterov)), 0.0, None
    while True:
        G = yield u
        X = mean.send(G)
        O_t = orthogonalized(np.sign(X) if sign else X, ns_coeffs, ns_steps, preconditioning, eps)
        V = beta2 * V + (1 - beta2) * O_t**2
        U = O_t / (np.sqrt(V) + eps_nu)
        u = consistent_rms * np.sqrt(G.size) / (norm(U) + eps_nu) * U
