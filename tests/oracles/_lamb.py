"""Transcriptions of `lamb`."""

from itertools import count

import numpy as np

from oracles._arithmetic import abs2, at, norm
from oracles._collect import array_oracle


@array_oracle
def lamb(
    learning_rate, b1=0.9, b2=0.999, eps=1e-6, eps_root=0.0, weight_decay=0.0, lower_bound=None, upper_bound=None,
    bias_correction=True,
):  # fmt: skip
    """You et al. 2020, arXiv:1904.00962, Algorithm 2; bounds and switch as in MXNet (catalogue A.2.17).

    r = m̂ / (√v̂ + ε);  u = −lr φ(‖w‖) / ‖r + λ w‖ (r + λ w);  φ(z) = min(max(z, γ_l), γ_u); the ratio is 1 where a norm is 0
    """
    m, v, u = 0.0, 0.0, None
    for t in count(1):
        g, w = yield u
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * abs2(g)
        m_hat, v_hat = (m / (1 - b1**t), v / (1 - b2**t)) if bias_correction else (m, v)
        r = m_hat / (np.sqrt(v_hat + eps_root) + eps) + at(weight_decay, t - 1) * w
        phi = norm(w)
        phi = phi if lower_bound is None else max(phi, lower_bound)
        phi = phi if upper_bound is None else min(phi, upper_bound)
        ratio = 1.0 if phi == 0 or norm(r) == 0 else phi / norm(r)
        u = -at(learning_rate, t - 1) * ratio * r
