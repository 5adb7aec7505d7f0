"""Transcriptions of `ano` and `scale_by_ano`."""

from itertools import count

import numpy as np

from oracles._arithmetic import abs2, at
from oracles._collect import array_oracle


@array_oracle
def ano(learning_rate, b1=0.92, b2=0.99, eps=1e-8, weight_decay=0.0):
    """Kegreisz 2025, arXiv:2508.18258, Algorithm 1, with a constant β₁.

    m ← β₁ m + (1 − β₁) g;  v ← β₂ v + (1 − β₂) sign(g² − v) g²;  w ← w − lr (|g| sign(m) / √(v̂ + ε) + λ w)
    """
    m, v, u = 0.0, 0.0, None
    for t in count(1):
        g, w = yield u
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * np.sign(abs2(g) - v) * abs2(g)
        u = -at(learning_rate, t - 1) * (np.abs(g) * np.sign(m) / np.sqrt(v / (1 - b2**t) + eps) + at(weight_decay, t - 1) * w)


@array_oracle
def scale_by_ano(b1=0.92, b2=0.99, eps=1e-8):
    """The direction alone, uphill."""
    return ano.__wrapped__(-1.0, b1, b2, eps)
