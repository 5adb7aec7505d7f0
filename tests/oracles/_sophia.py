"""Transcriptions of `sophia` and `scale_by_sophia`."""

from itertools import count

import numpy as np

from oracles._arithmetic import at
from oracles._collect import array_oracle


@array_oracle
def sophia(learning_rate, b1=0.965, b2=0.99, eps=1e-8, weight_decay=1e-4, gamma=0.01, clip_threshold=1.0, update_interval=10):
    """Liu et al. 2023, arXiv:2305.14342, Algorithm 3, on the loss Σ w⁴ / 12, for which Hutchinson's estimate is exactly w².

    m ← β1 m + (1 − β1) g;  h ← β2 h + (1 − β2) ĥ every k steps;  w ← w − η λ w − η clip(m̂ / max(γ h, ε), ρ)

    As Optax: m is debiased, and a new h counts from the next step on.
    """
    m, h, u = 0.0, 0.0, None
    for k in count():
        g, w = yield u
        m = b1 * m + (1 - b1) * g
        direction = np.clip(m / (1 - b1 ** (k + 1)) / np.maximum(gamma * h, eps), -clip_threshold, clip_threshold)
        if k % update_interval == 0:
            h = b2 * h + (1 - b2) * w**2
        u = -at(learning_rate, k) * (direction + weight_decay * w)


@array_oracle
def scale_by_sophia(b1=0.965, b2=0.99, eps=1e-8, gamma=0.01, clip_threshold=1.0, update_interval=10):
    """The direction alone, uphill."""
    return sophia.__wrapped__(-1.0, b1, b2, eps, 0.0, gamma, clip_threshold, update_interval)
