"""Transcriptions of `laprop` and `scale_by_laprop`."""

from itertools import count

import numpy as np

from oracles._arithmetic import abs2, at
from oracles._collect import array_oracle


@array_oracle
def laprop(learning_rate, b1=0.9, b2=0.999, eps=1e-15, weight_decay=0.0):
    """Ziyin, Wang & Ueda 2020, arXiv:2002.04839, Algorithm 1, the rate outside the momentum.

    n ← ν n + (1 − ν) g²;  m ← µ m + (1 − µ) g / (√(n / (1 − νᵗ)) + ε);  w ← w − lr (m / (1 − µᵗ) + λ w)
    """
    m, n, u = 0.0, 0.0, None
    for t in count(1):
        g, w = yield u
        n = b2 * n + (1 - b2) * abs2(g)
        m = b1 * m + (1 - b1) * g / (np.sqrt(n / (1 - b2**t)) + eps)
        u = -at(learning_rate, t - 1) * (m / (1 - b1**t) + at(weight_decay, t - 1) * w)


@array_oracle
def scale_by_laprop(b1=0.9, b2=0.999, eps=1e-15):
    """The direction alone, uphill."""
    return laprop.__wrapped__(-1.0, b1, b2, eps)
