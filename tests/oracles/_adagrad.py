"""Transcriptions of `adagrad`."""

from itertools import count

import numpy as np

from oracles._arithmetic import abs2, at
from oracles._collect import array_oracle


@array_oracle
def adagrad(learning_rate, initial_accumulator_value=0.1, eps=1e-7, eps_in_sqrt=True):
    """Duchi et al. 2011, figure 1, diagonal; catalogue A.2.4 (E1, E2 mended): G ← G + g²; u = −lr g / √(G + ε), 0 where G = 0.

    `eps_in_sqrt=False`: −lr g / (√G + ε) (S2:39, S3:11, MXNet 2).
    """
    G, u = initial_accumulator_value, None
    for k in count():
        g, _ = yield u
        G = G + abs2(g)
        root = np.sqrt(G + eps) if eps_in_sqrt else np.sqrt(G) + eps
        u = -at(learning_rate, k) * np.where(G == 0, 0.0, g / np.where(G == 0, 1.0, root))
