"""Transcriptions of `madgrad` and `scale_by_madgrad`."""

from itertools import count

import numpy as np

from oracles._arithmetic import abs2, at
from oracles._collect import array_oracle


@array_oracle
def madgrad(learning_rate, momentum=0.9, weight_decay=0.0, eps=1e-6):
    """Defazio & Jelassi 2021, arXiv:2101.11075, Algorithm 1, with c = 1 − momentum; ε is also added to the rate, as their program does.

    λ_k = γ √(k + 1);  s ← s + λ g;  ν ← ν + λ g²;  z = x_0 − s / (∛ν + ε);  x ← (1 − c) x + c z
    """
    s, v, x0, u = 0.0, 0.0, None, None
    for k in count():
        g, w = yield u
        x0 = w if x0 is None else x0
        g = g + weight_decay * w
        step = (at(learning_rate, k) + eps) * np.sqrt(k + 1)
        s = s + step * g
        v = v + step * abs2(g)
        z = x0 - s / (np.cbrt(v) + eps)
        u = momentum * w + (1 - momentum) * z - w


@array_oracle
def scale_by_madgrad(learning_rate, momentum=0.9, eps=1e-6):
    """The same without decay."""
    return madgrad.__wrapped__(learning_rate, momentum, 0.0, eps)
