"""Transcriptions of `lans`."""

from itertools import count

import numpy as np

from oracles._arithmetic import abs2, at, norm
from oracles._collect import array_oracle


@array_oracle
def lans(learning_rate, b1=0.9, b2=0.999, eps=1e-6, weight_decay=0.0, lower_bound=None, upper_bound=None):
    """Zheng et al. 2020, arXiv:2006.13484, Algorithm 2.

    g̃ = g / ‖g‖;  m, v ← the EMAs of g̃, g̃²;  r = m̂ / (√v̂ + ε) + λ w;  c = g̃ / (√v̂ + ε) + λ w
    u = −lr φ(‖w‖) (β1 r / ‖r‖ + (1 − β1) c / ‖c‖),  φ(z) = min(max(z, γ_l), γ_u);  a ratio φ/‖·‖ is 1 where either is 0
    """
    m, v, u = 0.0, 0.0, None
    for t in count(1):
        g, w = yield u
        g = g / norm(g) if norm(g) > 0 else g
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * abs2(g)
        denominator = np.sqrt(v / (1 - b2**t)) + eps
        r = m / (1 - b1**t) / denominator + at(weight_decay, t - 1) * w
        c = g / denominator + at(weight_decay, t - 1) * w
        phi = norm(w) if lower_bound is None else max(norm(w), lower_bound)
        phi = phi if upper_bound is None else min(phi, upper_bound)
        ratio_r, ratio_c = (1.0 if phi == 0 or norm(x) == 0 else phi / norm(x) for x in (r, c))
        u = -at(learning_rate, t - 1) * (b1 * ratio_r * r + (1 - b1) * ratio_c * c)
