"""Transcriptions of `stable_adamw` and `scale_by_stable_adam`."""

from itertools import count

import numpy as np

from oracles._arithmetic import abs2, at, rms
from oracles._collect import array_oracle


@array_oracle
def stable_adamw(learning_rate, b1=0.9, b2=0.99, eps=1e-6, weight_decay=0.01):
    """Wortsman et al. 2023, arXiv:2304.13013, Algorithm 2 (StableAdamW).

    RMS = √(mean(g² / max(v̂, ε²)));  η = lr / max(1, RMS);  w ← w − η λ w − η m̂ / (√v̂ + ε)
    """
    m, v, u = 0.0, 0.0, None
    for t in count(1):
        g, w = yield u
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * abs2(g)
        m_hat, v_hat = m / (1 - b1**t), v / (1 - b2**t)
        eta = at(learning_rate, t - 1) / max(1.0, rms(g / np.sqrt(np.maximum(v_hat, eps**2))))
        u = -eta * (m_hat / (np.sqrt(v_hat) + eps) + at(weight_decay, t - 1) * w)


@array_oracle
def scale_by_stable_adam(b1=0.9, b2=0.99, eps=1e-6, weight_decay=0.0):
    """The direction alone, uphill."""
    return stable_adamw.__wrapped__(-1.0, b1, b2, eps, weight_decay)
