"""Transcriptions of `adahessian` and `scale_by_adahessian`."""

from itertools import count

import numpy as np

from oracles._arithmetic import at
from oracles._collect import array_oracle


@array_oracle
def adahessian(learning_rate, b1=0.9, b2=0.999, eps=1e-8, hessian_power=1.0, weight_decay=0.0):
    """Yao et al. 2020, arXiv:2006.00719, Algorithm 1, without spatial averaging, on the loss Σ w⁴ / 12, whose Hessian is diag(w²).

    m ← β₁ m + (1 − β₁) g;  v ← β₂ v + (1 − β₂) D²;  w ← w − η (m̂ / (v̂^{k/2} + ε) + λ w)
    """
    m, v, u = 0.0, 0.0, None
    for t in count(1):
        g, w = yield u
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * w**4
        direction = m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) ** hessian_power + eps)
        u = -at(learning_rate, t - 1) * (direction + at(weight_decay, t - 1) * w)


@array_oracle
def scale_by_adahessian(b1=0.9, b2=0.999, eps=1e-8, hessian_power=1.0):
    """The direction alone, uphill."""
    return adahessian.__wrapped__(-1.0, b1, b2, eps, hessian_power)
