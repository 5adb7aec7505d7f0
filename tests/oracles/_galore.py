"""Transcriptions of `galore` and `scale_by_galore`."""

from itertools import count

import numpy as np

from oracles._arithmetic import at
from oracles._collect import oracle


@oracle
def galore(learning_rate, rank=128, update_proj_gap=200, scale=1.0, weight_decay=0.0, b1=0.9, b2=0.999, eps=1e-8):
    """Zhao et al. 2024, arXiv:2403.03507, Algorithm 2, with Adam inside; other leaves than matrices get plain Adam.

    R = Pᵀ G (P: left singular vectors) or G P (right ones, where G is wide);  W ← W − η α P Adam(R)
    """
    states, u = {}, None
    for k in count():
        g, w = yield u
        u = []
        for i, (gi, wi) in enumerate(zip(g, w, strict=True)):
            m, v, P = states.get(i, (0.0, 0.0, None))
            matrix, tall = gi.ndim == 2, gi.ndim == 2 and gi.shape[0] >= gi.shape[1]
            if matrix and k % update_proj_gap == 0:
                U, _, Vt = np.linalg.svd(gi, full_matrices=False)
                P = U[:, :rank] if tall else Vt.T[:, :rank]
            r = gi if not matrix else P.T @ gi if tall else gi @ P
            m, v = b1 * m + (1 - b1) * r, b2 * v + (1 - b2) * r**2
            n = m / (1 - b1 ** (k + 1)) / (np.sqrt(v / (1 - b2 ** (k + 1))) + eps)
            direction = n if not matrix else scale * (P @ n if tall else n @ P.T)
            states[i] = m, v, P
            u.append(-at(learning_rate, k) * (direction + weight_decay * wi))


@oracle
def scale_by_galore(rank=128, update_proj_gap=200, scale=1.0):
    """The direction alone, uphill."""
    return galore.__wrapped__(-1.0, rank, update_proj_gap, scale)
