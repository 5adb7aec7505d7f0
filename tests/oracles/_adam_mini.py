"""Transcriptions of `adam_mini` and `scale_by_adam_mini`."""

from itertools import count

import numpy as np

from oracles._arithmetic import abs2, at
from oracles._collect import array_oracle


@array_oracle
def adam_mini(learning_rate, b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.0, blocks=None):
    """Zhang et al. 2024, arXiv:2406.16793, Algorithm 1, for leaves (inputs, outputs).

    v_b ← β₂ v_b + (1 − β₂) mean(g_b²) for each block b;  w_b ← w_b − η (m̂_b / (√v̂_b + ε) + λ w_b)
    """
    m, v, u = 0.0, {}, None
    for t in count(1):
        g, w = yield u
        kind = blocks or ("output" if g.ndim == 2 else "leaf")
        numbers = np.arange(g.size).reshape(g.shape)  # which element
        if g.ndim:
            outputs = np.broadcast_to(np.arange(g.shape[-1]), g.shape)
            h = kind[1] if isinstance(kind, tuple) else None
            block = outputs * h // g.shape[-1] if h else {
                "element": numbers, "output": outputs, "input": numbers // g.shape[-1], "leaf": 0 * numbers
            }[kind]  # fmt: skip
        else:
            block = numbers
        m = b1 * m + (1 - b1) * g
        u = np.empty_like(g)
        for b in np.unique(block):
            here = block == b
            v[b] = b2 * v.get(b, 0.0) + (1 - b2) * np.mean(abs2(g[here]))
            direction = m[here] / (1 - b1**t) / (np.sqrt(v[b] / (1 - b2**t)) + eps)
            u[here] = -at(learning_rate, t - 1) * (direction + at(weight_decay, t - 1) * w[here])


@array_oracle
def scale_by_adam_mini(b1=0.9, b2=0.999, eps=1e-8, blocks=None):
    """The direction alone, uphill."""
    return adam_mini.__wrapped__(-1.0, b1, b2, eps, blocks=blocks)
