"""Transcriptions of `kl_soap` and `scale_by_kl_soap`."""

from itertools import count

import numpy as np

from oracles._collect import array_oracle
from oracles._kl_shampoo import KLFactors
from oracles._matrices import blocks, decoupled, turned, turned_back


@array_oracle
def kl_soap(
    learning_rate, b1=0.95, b2=0.95, shampoo_beta=0.95, eps=1e-8, weight_decay=0.01, init_factor=0.1, max_precond_dim=10000,
    block_size=None, merge_dims=None, every=2, start=None,
):  # fmt: skip
    """Lin et al. 2025, arXiv:2509.03378: SOAP's step in the bases of `kl_shampoo`, for leaves with two axes.

    The first gradient (t = 1) is thrown away. Then, for t = 2, 3, ..., s = t − 1:
    G' = Q_Lᵀ G Q_R;  M' ← β₁ M' + (1 − β₁) G';  V ← β₂ V + (1 − β₂) G'²;  d = √(1 − β₂ˢ) / (1 − β₁ˢ) Q_L (M' / (√V + ε)) Q_Rᵀ
    S and Q as in `kl_shampoo`; where Q is refreshed, M' is turned from the old bases into the new ones, V stays

    Other leaves get the same without bases.
    """
    arguments = b1, b2, shampoo_beta, eps, init_factor, max_precond_dim, every, start
    return decoupled(blocks(lambda: _kl_soap(*arguments), block_size, merge_dims), learning_rate, weight_decay)


@array_oracle
def scale_by_kl_soap(*args, **kwargs):
    """The direction alone, uphill: the arguments of `kl_soap` but for the rate and the decay."""
    return kl_soap.__wrapped__(-1.0, *args, weight_decay=0.0, **kwargs)


def _kl_soap(b1, b2, beta, eps, init_factor, max_precond_dim, every, start):
    G, _ = yield None
    factors, M, V = KLFactors(G.shape, beta, eps, init_factor, max_precond_dim, every, start), 0.0, 0.0
    u = np.zeros_like(G)
    for t in count(2):
        G, _ = yield u
        G_ = turned(G, factors.Q)
        M = b1 * M + (1 - b1) * G_
        V = b2 * V + (1 - b2) * G_**2
        u = turned_back(M / (np.sqrt(V) + eps), factors.Q) * np.sqrt(1 - b2 ** (t - 1)) / (1 - b1 ** (t - 1))
        M = turned_back(M, factors.Q)
        factors.update(t, G)
        M = turned(M, factors.Q)
