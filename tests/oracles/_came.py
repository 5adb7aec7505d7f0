"""Transcriptions of `came` and `scale_by_came`."""

from itertools import count

import numpy as np

from oracles._arithmetic import abs2, at, rms
from oracles._collect import array_oracle


def over_root(x, row, col):
    """x / √(row ⊗ col / mean(row)), over the last two axes."""
    return x / np.sqrt((row / np.mean(row, axis=-1, keepdims=True))[..., :, None] * col[..., None, :])


@array_oracle
def came(learning_rate, b1=0.9, b2=0.999, b3=0.9999, eps=1e-30, eps2=1e-16, clip_threshold=1.0, weight_decay=0.0):
    """Luo et al. 2023, arXiv:2307.02047, Algorithm 2, as the authors run it: nothing is debiased, vectors have no confidence.

    R ← β₂ R + (1 − β₂)(g² + ε₁) 1 / n;  C ← β₂ C + (1 − β₂) 1ᵀ (g² + ε₁) / m;  û = g / √(R C / mean R)
    û ← û / max(1, rms(û) / d);  m ← β₁ m + (1 − β₁) û;  U = (û − m)² + ε₂
    the same means of U with β₃ give R', C';  w ← w − η (m / √(R' C' / mean R') + λ w)
    """
    m, means, u = 0.0, [0.0] * 5, None
    for k in count():
        g, w = yield u
        sq = abs2(g) + eps
        if g.ndim >= 2:
            means[0] = b2 * means[0] + (1 - b2) * np.mean(sq, axis=-1)
            means[1] = b2 * means[1] + (1 - b2) * np.mean(sq, axis=-2)
            u_hat = over_root(g, means[0], means[1])
        else:
            means[4] = b2 * means[4] + (1 - b2) * sq
            u_hat = g / np.sqrt(means[4])
        u_hat = u_hat / max(1.0, rms(u_hat) / clip_threshold)
        m = b1 * m + (1 - b1) * u_hat
        direction = m
        if g.ndim >= 2:
            U = abs2(u_hat - m) + eps2
            means[2] = b3 * means[2] + (1 - b3) * np.mean(U, axis=-1)
            means[3] = b3 * means[3] + (1 - b3) * np.mean(U, axis=-2)
            direction = over_root(m, means[2], means[3])
        u = -at(learning_rate, k) * (direction + at(weight_decay, k) * w)


@array_oracle
def scale_by_came(b1=0.9, b2=0.999, b3=0.9999, eps=1e-30, eps2=1e-16, clip_threshold=1.0):
    """The direction alone, uphill."""
    return came.__wrapped__(-1.0, b1, b2, b3, eps, eps2, clip_threshold)
