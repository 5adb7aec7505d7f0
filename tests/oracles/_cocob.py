"""Transcriptions of `cocob` and `scale_by_cocob`."""

from itertools import count

import numpy as np

from oracles._arithmetic import at
from oracles._collect import array_oracle


@array_oracle
def cocob(learning_rate=1.0, alpha=100.0, eps=1e-8, weight_decay=0.0):
    """Orabona & Tommasi 2017, arXiv:1705.07795, Algorithm 2, in their letters: g is the negative gradient.

    L ← max(L, |g|);  G ← G + |g|;  Reward ← max(Reward + (w − w_1) g, 0);  θ ← θ + g
    w = w_1 + θ / (L max(G + L, α L)) (L + Reward)
    """
    L, G, reward, theta, w1, u = eps, 0.0, 0.0, 0.0, None, None
    for k in count():
        gradient, w = yield u
        w1 = w if w1 is None else w1
        g = -at(learning_rate, k) * (gradient + weight_decay * w)
        L = np.maximum(L, np.abs(g))
        G = G + np.abs(g)
        reward = np.maximum(reward + (w - w1) * g, 0)
        theta = theta + g
        u = w1 + theta / (L * np.maximum(G + L, alpha * L)) * (L + reward) - w


@array_oracle
def scale_by_cocob(alpha=100.0, eps=1e-8):
    """The same without decay and weights."""
    return cocob.__wrapped__(1.0, alpha, eps)
