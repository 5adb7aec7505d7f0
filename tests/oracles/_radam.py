"""Transcriptions of `scale_by_radam` and `radam`."""

from itertools import count

import numpy as np

from oracles._arithmetic import abs2, descent
from oracles._collect import array_oracle


@array_oracle
def scale_by_radam(b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, threshold=5.0, nesterov=False):
    """Liu et al. 2020, Algorithm 2: ρ_t = ρ_∞ − 2 t β2^t / (1 − β2^t); the form of m̂ with `nesterov` is the one of `nadam`."""
    m, v, u = 0.0, 0.0, None
    rho_end = 2 / (1 - b2) - 1
    for t in count(1):
        g, _ = yield u
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * abs2(g)
        m_hat = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t) if nesterov else m / (1 - b1**t)
        rho = rho_end - 2 * t * b2**t / (1 - b2**t)
        u = m_hat
        if rho >= threshold:
            r = np.sqrt((rho - 4) * (rho - 2) * rho_end / ((rho_end - 4) * (rho_end - 2) * rho))
            u = r * m_hat / (np.sqrt(v / (1 - b2**t) + eps_root) + eps)


@array_oracle
def radam(learning_rate, **rest):
    yield from descent(scale_by_radam.__wrapped__(**rest), learning_rate)
