"""Transcriptions of `scale_by_adan` and `adan`."""

from itertools import count

import numpy as np

from oracles._arithmetic import abs2, at
from oracles._collect import array_oracle


@array_oracle
def scale_by_adan(b1=0.98, b2=0.92, b3=0.99, eps=1e-8, eps_root=0.0):
    """Xie et al. 2022, Algorithm 1, in the paper's betas, which are 1 − b; with bias corrections as in its authors' `adan.py`."""
    beta1, beta2, beta3 = 1 - b1, 1 - b2, 1 - b3
    m, v, n, before, u = 0.0, 0.0, 0.0, None, None
    for t in count(1):
        g, _ = yield u
        change = 0 * g if before is None else g - before
        m = (1 - beta1) * m + beta1 * g
        v = (1 - beta2) * v + beta2 * change
        n = (1 - beta3) * n + beta3 * abs2(g + (1 - beta2) * change)
        m_hat, v_hat, n_hat = m / (1 - b1**t), v / (1 - b2**t), n / (1 - b3**t)
        u = (m_hat + (1 - beta2) * v_hat) / (np.sqrt(n_hat + eps_root) + eps)
        before = g


@array_oracle
def adan(learning_rate, b1=0.98, b2=0.92, b3=0.99, eps=1e-8, eps_root=1e-8, weight_decay=0.0):
    direction = scale_by_adan.__wrapped__(b1, b2, b3, eps, eps_root)
    next(direction)
    u = None
    for k in count():
        g, w = yield u
        u = -at(learning_rate, k) * (direction.send((g, w)) + at(weight_decay, k) * w)
