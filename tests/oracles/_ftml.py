"""Transcriptions of `ftml`."""

from itertools import count

import numpy as np

from oracles._arithmetic import abs2, at
from oracles._collect import array_oracle


@array_oracle
def ftml(learning_rate=0.0025, b1=0.6, b2=0.999, eps=1e-8):
    """Zheng & Kwok 2017, "Follow the moving leader", Algorithm 1; S0:289-292, S4:11 (E12: g_j under the sum in S0:283).

    v ← β2 v + (1 − β2) g²;  d_t = (1 − β1^t) / lr (√(v / (1 − β2^t)) + ε)
    z ← β1 z + (1 − β1) g − (d_t − β1 d_{t−1}) w;  w' = −z / d_t;  u = w' − w
    """
    v, d, z, u = 0.0, 0.0, 0.0, None
    for t in count(1):
        g, w = yield u
        v = b2 * v + (1 - b2) * abs2(g)
        d_before, d = d, (1 - b1**t) / at(learning_rate, t - 1) * (np.sqrt(v / (1 - b2**t)) + eps)
        z = b1 * z + (1 - b1) * g - (d - b1 * d_before) * w
        u = -z / d - w
