"""Transcriptions of `scale_by_sign`, `sign_sgd` and `signum`."""

from itertools import count

import numpy as np

from oracles._arithmetic import at
from oracles._collect import array_oracle


@array_oracle
def scale_by_sign():
    """u = sign(g), and g / |g| for complex g; 0 at 0."""
    u = None
    while True:
        g, _ = yield u
        u = np.where(g == 0, 0.0, g / np.where(g == 0, 1.0, np.abs(g)))


@array_oracle
def sign_sgd(learning_rate):
    """Bernstein et al. 2018, arXiv:1802.04434, Algorithm 1; S0:211: u = −lr sign(g)."""
    u = None
    for k in count():
        g, _ = yield u
        u = -at(learning_rate, k) * np.sign(g)


@array_oracle
def signum(learning_rate, beta=0.9, weight_decay=0.0):
    """Bernstein et al. 2018, Algorithm 2; S0:215: v ← γ v + (1 − γ) g; u = −lr (sign(v) + λ w), λ being MXNet's `wd_lh`."""
    v, u = 0.0, None
    for k in count():
        g, w = yield u
        v = beta * v + (1 - beta) * g
        u = -at(learning_rate, k) * (np.sign(v) + at(weight_decay, k) * w)
