"""The transcription of `cautious`."""

import numpy as np

from oracles._adam import adam
from oracles._collect import array_oracle


@array_oracle
def cautious(base_optimizer=None, min_share=1e-3):
    """Liang et al. 2024, arXiv:2411.16085, Algorithm 1, around Adam at the rate 0.1, the registry's example.

    φ = 1[u g < 0];  u ← φ u / max(mean φ, 10⁻³)
    """
    base = adam.__wrapped__(0.1)
    next(base)
    u = None
    while True:
        g, w = yield u
        u = base.send((g, w))
        mask = u * g < 0
        u = mask * u / max(np.mean(mask), min_share)
