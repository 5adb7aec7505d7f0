"""Transcriptions of `scale_by_amsgrad` and `amsgrad`."""

from itertools import count

import numpy as np

from oracles._arithmetic import abs2, descent
from oracles._collect import array_oracle


@array_oracle
def scale_by_amsgrad(b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, bias_correction_mu=True, bias_correction_nu=True):
    """Reddi et al. 2018, Algorithm 2: v̂_t = max(v̂_{t-1}, v_t); the corrections are Adam's, that of v before the maximum."""
    m, v, v_hat, u = 0.0, 0.0, 0.0, None
    for t in count(1):
        g, _ = yield u
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * abs2(g)
        v_hat = np.maximum(v_hat, v / (1 - b2**t) if bias_correction_nu is True else v)
        divisor = v_hat / (1 - b2**t) if bias_correction_nu == "after" else v_hat
        u = (m / (1 - b1**t) if bias_correction_mu else m) / (np.sqrt(divisor + eps_root) + eps)


@array_oracle
def amsgrad(learning_rate, **rest):
    yield from descent(scale_by_amsgrad.__wrapped__(**rest), learning_rate)
