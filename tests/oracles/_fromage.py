"""Transcriptions of `fromage`."""

from itertools import count

import numpy as np

from oracles._arithmetic import at, norm
from oracles._collect import array_oracle


@array_oracle
def fromage(learning_rate, min_norm=1e-6):
    """Bernstein et al. 2020, Algorithm 1: W ← (W − η ||W|| / ||g|| g) / √(1 + η²); Optax bounds the norms from below."""
    u = None
    for k in count():
        g, w = yield u
        eta = at(learning_rate, k)
        ratio = max(norm(w), min_norm) / max(norm(g), min_norm)
        u = (w - eta * ratio * g) / np.sqrt(1 + eta**2) - w
