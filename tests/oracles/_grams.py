"""Transcriptions of `grams` and `scale_by_grams`."""

from itertools import count

import numpy as np

from oracles._arithmetic import abs2, at
from oracles._collect import array_oracle


@array_oracle
def grams(learning_rate, b1=0.9, b2=0.999, eps=1e-6, weight_decay=0.0):
    """Cao et al. 2024, arXiv:2412.17107, Algorithm 1, in the order of the authors' code: ε is added to the root of v itself.

    û = sign(g) |m / (√v + ε) · √(1 − β₂ᵗ) / (1 − β₁ᵗ)|;  w ← w − lr (û + λ w)
    """
    m, v, u = 0.0, 0.0, None
    for t in count(1):
        g, w = yield u
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * abs2(g)
        size = np.abs(m / (np.sqrt(v) + eps)) * np.sqrt(1 - b2**t) / (1 - b1**t)
        u = -at(learning_rate, t - 1) * (np.sign(g) * size + at(weight_decay, t - 1) * w)


@array_oracle
def scale_by_grams(b1=0.9, b2=0.999, eps=1e-6):
    """The direction alone, uphill."""
    return grams.__wrapped__(-1.0, b1, b2, eps)
