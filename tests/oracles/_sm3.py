"""Transcriptions of `scale_by_sm3` and `sm3`."""

import numpy as np

from oracles._arithmetic import abs2, descent
from oracles._collect import array_oracle


@array_oracle
def scale_by_sm3(b1=0.9, b2=1.0, eps=1e-8):
    """Anil et al. 2019, Algorithm SM3-II: ν(i) = min over r with i ∈ S_r of µ(r) + g(i)²; µ(r) = max over i ∈ S_r of ν(i).

    The sets are the slices along each axis (co-dimension 1); element by element, as the paper has it. Momentum: section 4.
    """
    mu, m, u = {}, 0.0, None
    while True:
        g, _ = yield u
        nu, last, mu = np.zeros(g.shape), mu, {}
        for i in np.ndindex(*g.shape):
            slices = list(enumerate(i)) or [()]
            grown = abs2(g[i]) if b2 == 1 else (1 - b2) * abs2(g[i])
            nu[i] = b2 * min(last.get(r, 0.0) for r in slices) + grown
            for r in slices:
                mu[r] = max(mu.get(r, 0.0), nu[i])
        m = b1 * m + (1 - b1) * np.where(nu > 0, g / np.sqrt(np.where(nu > 0, nu + eps, 1)), 0)
        u = m


@array_oracle
def sm3(learning_rate, momentum=0.9):
    yield from descent(scale_by_sm3.__wrapped__(momentum), learning_rate)
