"""Transcriptions of `splus` and `scale_by_splus`."""

from itertools import count

import numpy as np

from oracles._arithmetic import at
from oracles._collect import array_oracle
from oracles._matrices import due, gram, turned, turned_back


@array_oracle
def splus(
    learning_rate, b1=0.9, b2=0.999, eps=1e-30, weight_decay=0.01, ema_decay=0.999, nonstandard_scale=1e-3, max_precond_dim=10000,
    every=100, start=1,
):  # fmt: skip
    """Frans et al. 2025, arXiv:2506.07254, Algorithm 1; a leaf with two axes is the matrix, m x n, whichever are the outputs.

    M ← β₁ M + (1 − β₁) G;  u = −lr 2/(m + n) (Q_L sign(Q_Lᵀ M Q_R) Q_Rᵀ + λ W)
    L ← β₂ L + (1 − β₂) G Gᵀ;  R ← β₂ R + (1 − β₂) Gᵀ G;  at refreshes, after the step: Q = eigenvectors of (· + ε I);  Q = I at first

    Other leaves, and matrices with a side longer than `max_precond_dim`: u = −lr `nonstandard_scale` (sign(M) + λ W).
    The average of the parameters that evaluation reads (`ema_decay`) does not enter u: see `average`.
    """
    M, u = 0.0, None
    for t in count(1):
        G, W = yield u
        standard = G.ndim == 2 and max(G.shape) <= max_precond_dim
        if t == 1:
            S = {k: np.zeros((d, d)) for k, d in enumerate(G.shape)} if standard else {}
            Q = {k: np.eye(len(S[k])) for k in S}
        M = b1 * M + (1 - b1) * G
        scale = 2 / sum(G.shape) if standard else nonstandard_scale
        direction = turned_back(np.sign(turned(M, Q)), Q)
        u = -at(learning_rate, t - 1) * scale * (direction + at(weight_decay, t - 1) * W)
        S = {k: b2 * S[k] + (1 - b2) * gram(G, k) for k in S}
        if due(t, None, every, start):
            Q = {k: np.linalg.eigh(S[k] + eps * np.eye(len(S[k])))[1] for k in S}


@array_oracle
def scale_by_splus(*args, weight_decay=0.0, **kwargs):
    """The direction, uphill, with its scale of the shape; so the decay is in it too."""
    return splus.__wrapped__(-1.0, *args, weight_decay=weight_decay, **kwargs)


def average(ws, ema_decay=0.999):
    """What evaluation reads after as many updates as there are parameters, each as it was before its update.

    e ← β e + (1 − β) w, from 0;  e / (1 − β^t)
    """
    e = 0.0
    for w in ws:
        e = ema_decay * e + (1 - ema_decay) * w
    return e / (1 - ema_decay ** len(ws))
