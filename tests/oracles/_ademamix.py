"""Transcriptions of `ademamix`, `scale_by_ademamix`, `simplified_ademamix` and `scale_by_simplified_ademamix`."""

from itertools import count

import numpy as np

from oracles._arithmetic import abs2, at
from oracles._collect import array_oracle


@array_oracle
def ademamix(learning_rate, b1=0.9, b2=0.999, b3=0.9999, alpha=5.0, eps=1e-8, eps_root=0.0, weight_decay=0.0):
    """Pagliardini et al. 2024, arXiv:2409.03137, Algorithm 1: only the fast momentum and ν are debiased."""
    m1, m2, v, u = 0.0, 0.0, 0.0, None
    for t in count(1):
        g, w = yield u
        m1 = b1 * m1 + (1 - b1) * g
        m2 = at(b3, t - 1) * m2 + (1 - at(b3, t - 1)) * g
        v = b2 * v + (1 - b2) * abs2(g)
        m_hat, v_hat = m1 / (1 - b1**t), v / (1 - b2**t)
        direction = (m_hat + at(alpha, t - 1) * m2) / (np.sqrt(v_hat + eps_root) + eps)
        u = -at(learning_rate, t - 1) * (direction + weight_decay * w)


@array_oracle
def scale_by_ademamix(b1=0.9, b2=0.999, b3=0.9999, alpha=6.0, eps=1e-8, eps_root=0.0):
    """The direction alone, uphill."""
    return ademamix.__wrapped__(-1.0, b1, b2, b3, alpha, eps, eps_root)


@array_oracle
def simplified_ademamix(learning_rate, b1=0.99, b2=0.95, alpha=0.0, eps=1e-8, eps_root=0.0, weight_decay=0.0):
    """Morwani et al. 2025, arXiv:2502.02431: m ← β1 m + g without the factor 1 − β1, and α g added."""
    m, n, u = 0.0, 0.0, None
    for t in count(1):
        g, w = yield u
        m = b1 * m + g
        n = b2 * n + (1 - b2) * abs2(g)
        direction = (m + at(alpha, t - 1) * g) / (np.sqrt(n / (1 - b2**t) + eps_root) + eps)
        u = -at(learning_rate, t - 1) * (direction + weight_decay * w)


@array_oracle
def scale_by_simplified_ademamix(b1=0.99, b2=0.95, alpha=0.0, eps=1e-8, eps_root=0.0):
    """The direction alone, uphill."""
    return simplified_ademamix.__wrapped__(-1.0, b1, b2, alpha, eps, eps_root)
