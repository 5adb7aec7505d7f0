"""Transcriptions of `qhadam` and `scale_by_qhadam`."""

from itertools import count

import numpy as np

from oracles._arithmetic import abs2, at
from oracles._collect import array_oracle


@array_oracle
def qhadam(learning_rate, b1=0.995, b2=0.999, nu1=0.7, nu2=1.0, eps=1e-8, weight_decay=0.0):
    """Ma & Yarats 2018, arXiv:1810.06801, section 4.4.

    w ← w − lr (((1 − ν₁) g + ν₁ m̂) / (√((1 − ν₂) g² + ν₂ v̂) + ε) + λ w)
    """
    m, v, u = 0.0, 0.0, None
    for t in count(1):
        g, w = yield u
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * abs2(g)
        above = (1 - nu1) * g + nu1 * m / (1 - b1**t)
        below = np.sqrt((1 - nu2) * abs2(g) + nu2 * v / (1 - b2**t)) + eps
        u = -at(learning_rate, t - 1) * (above / below + at(weight_decay, t - 1) * w)


@array_oracle
def scale_by_qhadam(b1=0.995, b2=0.999, nu1=0.7, nu2=1.0, eps=1e-8):
    """The direction alone, uphill."""
    return qhadam.__wrapped__(-1.0, b1, b2, nu1, nu2, eps)
