"""Transcriptions of `adopt` and `scale_by_adopt`."""

from itertools import count

import numpy as np

from oracles._arithmetic import abs2, at
from oracles._collect import array_oracle


@array_oracle
def adopt(learning_rate, b1=0.9, b2=0.9999, eps=1e-6, nesterov=False, use_clipping=True):
    """Taniguchi et al. 2024, arXiv:2411.02853, Algorithm 2: v_0 = g_0², and from then on

    m_t = β1 m + (1 − β1) clip(g / max(√v_{t−1}, ε), t^¼);  v_t = β2 v + (1 − β2) g²;  w ← w − lr m_t
    """
    g, _ = yield None
    m, v, u = np.zeros_like(g), abs2(g), np.zeros_like(g)
    for k in count(1):
        g, _ = yield u
        r = g / np.maximum(np.sqrt(v), eps)
        r = np.clip(r, -(k**0.25), k**0.25) if use_clipping else r
        m = b1 * m + (1 - b1) * r
        v = b2 * v + (1 - b2) * abs2(g)
        u = -at(learning_rate, k) * (b1 * m + (1 - b1) * r if nesterov else m)


@array_oracle
def scale_by_adopt(b1=0.9, b2=0.9999, eps=1e-6, nesterov=False, use_clipping=True):
    """The direction alone, uphill."""
    return adopt.__wrapped__(-1.0, b1, b2, eps, nesterov, use_clipping)
