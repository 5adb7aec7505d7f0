"""Transcriptions of `scale_by_infinity_norm`."""

import numpy as np

from oracles._collect import array_oracle


@array_oracle
def scale_by_infinity_norm(decay=0.999, eps=1e-8):
    """The second line of Kingma & Ba 2015, Algorithm 2, alone (catalogue A.2.10): n ← max(β n, |g|); u = g / (n + ε)."""
    n, u = 0.0, None
    while True:
        g, _ = yield u
        n = np.maximum(decay * n, np.abs(g))
        u = g / (n + eps)
