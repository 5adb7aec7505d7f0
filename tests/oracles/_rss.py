"""Transcriptions of `scale_by_rss`."""

import numpy as np

from oracles._arithmetic import abs2
from oracles._collect import array_oracle


@array_oracle
def scale_by_rss(initial_accumulator_value=0.1, eps=1e-7, eps_in_sqrt=True):
    """Duchi et al. 2011, figure 1, diagonal; catalogue A.2.4: G ← G + |g|²; u = g / √(G + ε), and 0 where G = 0.

    The sum is taken first and its root divides (E1: S0:95 says "multiplies"; E2: S0:100 leaves G without its index).
    `eps_in_sqrt=False`: g / (√G + ε) (S2:39, S3:11).
    """
    G, u = initial_accumulator_value, None
    while True:
        g, _ = yield u
        G = G + abs2(g)
        denominator = np.sqrt(G + eps) if eps_in_sqrt else np.sqrt(G) + eps
        u = np.where(G == 0, 0.0, g / np.where(G == 0, 1.0, denominator))
