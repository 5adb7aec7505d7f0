"""Transcriptions of `lion` and `scale_by_lion`."""

from itertools import count

import numpy as np

from oracles._arithmetic import at
from oracles._collect import array_oracle


@array_oracle
def lion(learning_rate, b1=0.9, b2=0.99, weight_decay=1e-3):
    """Chen et al. 2023, arXiv:2302.06675, Algorithm 2: c = β1 m + (1 − β1) g; u = −lr (sign(c) + λ w); m ← β2 m + (1 − β2) g."""
    m, u = 0.0, None
    for k in count():
        g, w = yield u
        c = b1 * m + (1 - b1) * g
        u = -at(learning_rate, k) * (np.sign(c) + at(weight_decay, k) * w)
        m = b2 * m + (1 - b2) * g


@array_oracle
def scale_by_lion(b1=0.9, b2=0.99):
    """Chen et al. 2023, arXiv:2302.06675, Program 1: u = sign(β1 m + (1 − β1) g); then m ← β2 m + (1 − β2) g."""
    m, u = 0.0, None
    while True:
        g, _ = yield u
        u = np.sign(b1 * m + (1 - b1) * g)
        m = b2 * m + (1 - b2) * g
