"""Transcriptions of `scale_by_acprop` and `acprop`."""

from itertools import count

import numpy as np

from oracles._arithmetic import abs2, at
from oracles._collect import array_oracle


@array_oracle
def scale_by_acprop(b1=0.9, b2=0.999, eps=1e-16, eps_root=1e-16):
    """Zhuang et al. 2021, arXiv:2110.05454, Algorithm 2: the denominator of step t is the one that step t - 1 left behind.

    m_t = β1 m + (1 − β1) g;  s_t = β2 s + (1 − β2) (g − m_{t−1})² + ε_root;  direction g / (√ŝ_{t−1} + ε), ŝ_0 := 1
    """
    m, s_hat, s, u = 0.0, 1.0, 0.0, None
    for t in count(1):
        g, _ = yield u
        surprise = abs2(g - m)
        m = b1 * m + (1 - b1) * g
        u = g / (np.sqrt(s_hat) + eps)
        s = b2 * s + (1 - b2) * surprise + eps_root
        s_hat = s / (1 - b2**t)


@array_oracle
def acprop(learning_rate, b1=0.9, b2=0.999, eps=1e-16, eps_root=1e-16, weight_decay=0.0):
    """The same as a descent, with decoupled decay."""
    direction, u = scale_by_acprop.__wrapped__(b1, b2, eps, eps_root), None
    next(direction)
    for k in count():
        g, w = yield u
        u = -at(learning_rate, k) * (direction.send((g, w)) + weight_decay * w)
