"""Transcriptions of `group_adagrad`."""

from itertools import count

import numpy as np

from oracles._arithmetic import abs2, at
from oracles._collect import array_oracle


@array_oracle
def group_adagrad(learning_rate, initial_accumulator_value=0.0, eps=1e-6):
    """AdaGrad with one rate per row (MXNet 2, catalogue A.2.17): h ← h + mean over a row of |g|²; u = −lr g / (√h + ε).

    A row is g[i]; an array of fewer than two dimensions has rows of one element. 0 where h = 0.
    """
    h, u = initial_accumulator_value, None
    for k in count():
        g, _ = yield u
        h = h + np.mean(abs2(g), axis=tuple(range(1, g.ndim)), keepdims=True)
        u = -at(learning_rate, k) * np.where(h == 0, 0.0, g / np.where(h == 0, 1.0, np.sqrt(h) + eps))
