"""Transcriptions of `scale_by_yogi` and `yogi`."""

from itertools import count

import numpy as np

from oracles._arithmetic import abs2, descent
from oracles._collect import array_oracle


@array_oracle
def scale_by_yogi(b1=0.9, b2=0.999, eps=1e-3, eps_root=0.0, initial_accumulator_value=1e-6):
    """Zaheer et al. 2018, Algorithm 2: v ← v − (1 − β2) sign(v − g²) g²; both moments begin at one value, and are corrected."""
    m = v = initial_accumulator_value
    u = None
    for t in count(1):
        g, _ = yield u
        m = b1 * m + (1 - b1) * g
        v = v - (1 - b2) * np.where(v > abs2(g), 1, -1) * abs2(g)
        u = m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t) + eps_root) + eps)


@array_oracle
def yogi(learning_rate, **rest):
    yield from descent(scale_by_yogi.__wrapped__(**rest), learning_rate)
