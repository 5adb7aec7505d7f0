"""Transcriptions of `scale_by_belief` and `adabelief`."""

from itertools import count

import numpy as np

from oracles._arithmetic import abs2, at
from oracles._collect import array_oracle


@array_oracle
def scale_by_belief(b1=0.9, b2=0.999, eps=1e-16, eps_root=1e-16, nesterov=False):
    """Zhuang et al. 2020, arXiv:2010.07468, Algorithm 2: s ← β2 s + (1 − β2) |g − m|² + ε_s; u = m̂ / (√ŝ + ε), m the new one.

    The paper has one ε for both places. Nesterov as in `scale_by_adam`.
    """
    m, s, u = 0.0, 0.0, None
    for t in count(1):
        g, _ = yield u
        m = b1 * m + (1 - b1) * g
        s = b2 * s + (1 - b2) * abs2(g - m) + eps_root
        m_hat = m / (1 - b1**t)
        if nesterov:
            m_hat = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
        u = m_hat / (np.sqrt(s / (1 - b2**t)) + eps)


@array_oracle
def adabelief(learning_rate, b1=0.9, b2=0.999, eps=1e-16, eps_root=1e-16, nesterov=False):
    """Zhuang et al. 2020, arXiv:2010.07468, Algorithm 2: −lr times `scale_by_belief`."""
    direction, u = scale_by_belief.__wrapped__(b1, b2, eps, eps_root, nesterov), None
    next(direction)
    for k in count():
        g, w = yield u
        u = -at(learning_rate, k) * direction.send((g, w))
