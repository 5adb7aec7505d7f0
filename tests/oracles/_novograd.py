"""Transcriptions of `scale_by_novograd` and `novograd`."""

import numpy as np

from oracles._arithmetic import descent, norm
from oracles._collect import array_oracle


@array_oracle
def scale_by_novograd(b1=0.9, b2=0.25, eps=1e-8, eps_root=0.0, weight_decay=0.0):
    """Ginsburg et al. 2019, Algorithm 1: v_1 = ||g_1||², m_1 = g_1 / ||g_1|| + d w_1.

    Then v ← β2 v + (1 − β2) ||g||², m ← β1 m + (g / (√v + ε) + d w).
    """
    m = v = u = None
    while True:
        g, w = yield u
        v = norm(g) ** 2 if v is None else b2 * v + (1 - b2) * norm(g) ** 2
        step = g / (np.sqrt(v + eps_root) + eps) + weight_decay * w
        m = step if m is None else b1 * m + step
        u = m


@array_oracle
def novograd(learning_rate, b1=0.9, b2=0.25, eps=1e-6, eps_root=0.0, weight_decay=0.0):
    yield from descent(scale_by_novograd.__wrapped__(b1, b2, eps, eps_root, weight_decay), learning_rate)
