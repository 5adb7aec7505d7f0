"""Transcriptions of `adaptive_grad_clip`."""

import numpy as np

from oracles._arithmetic import norm
from oracles._collect import array_oracle


@array_oracle
def adaptive_grad_clip(clipping, eps=1e-3):
    """Brock et al. 2021, equation 3: g_i ← λ max(||W_i||, ε) / ||g_i|| g_i where ||g_i|| / max(||W_i||, ε) > λ, i an output's column."""
    u = None
    while True:
        g, w = yield u
        u = np.array(g)
        columns = [()] if g.ndim < 2 else [(..., j) for j in range(g.shape[-1])]
        for i in columns:
            most = clipping * max(norm(w[i]), eps)
            u[i] = g[i] * min(1.0, most / norm(g[i]))
