"""Transcriptions of `scale_by_distance_over_gradients`."""

import numpy as np

from oracles._arithmetic import norm
from oracles._collect import array_oracle


@array_oracle
def scale_by_distance_over_gradients(reps_rel=1e-6, eps=1e-8, global_scale=1.0):
    """Ivgi et al. 2023, L-DoG: η = max(r_ε, max over i <= t of ||x_i − x_0||) / √(Σ ||g_i||² + ε), r_ε = reps_rel (1 + ||x_0||)."""
    start, farthest, total, u = None, 0.0, 0.0, None
    while True:
        g, w = yield u
        start = w if start is None else start
        farthest = max(farthest, reps_rel * (1 + norm(start)), norm(w - start))
        total += norm(g) ** 2
        u = global_scale * farthest / np.sqrt(total + eps) * g
