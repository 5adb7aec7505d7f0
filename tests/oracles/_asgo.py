"""Transcriptions of `asgo` and `scale_by_asgo`."""

from itertools import count

import numpy as np

from oracles._adam import scale_by_adam
from oracles._arithmetic import rms
from oracles._collect import array_oracle
from oracles._matrices import along, decoupled, due, gram, started


@array_oracle
def asgo(learning_rate, b1=0.9, b2=0.8, eps=1e-10, weight_decay=0.1, consistent_rms=0.2, roots="eigh", every=1, start=1):
    """An et al. 2025, arXiv:2503.20762, Algorithm 1 with running means, the factor on the shorter side of a leaf with two axes.

    V ← β₂ V + (1 − β₂) G Gᵀ (Gᵀ G where the other side is shorter; equal: the inputs, the first axis);  m ← β₁ m + (1 − β₁) G
    at refreshes, with this G: X = (V^½ + ε I)⁻¹;  d = X m along that side, times `consistent_rms` / its RMS (None: as it is)

    Neither mean is debiased. Until the first refresh X = I. Other leaves get Adam (β₁, 0.999, 1e-8).
    """
    return decoupled(_asgo(b1, b2, eps, consistent_rms, every, start), learning_rate, weight_decay)


@array_oracle
def scale_by_asgo(*args, **kwargs):
    """The direction alone, uphill: the arguments of `asgo` but for the rate and the decay."""
    return asgo.__wrapped__(-1.0, *args, weight_decay=0.0, **kwargs)


def _asgo(b1, b2, eps, consistent_rms, every, start):
    g, w = yield None
    if g.ndim != 2:
        run = started(scale_by_adam.__wrapped__(b1, 0.999, 1e-8))
        while True:
            g, w = yield run.send((g, w))
    k = 0 if g.shape[0] <= g.shape[1] else 1
    m, V, X, since = 0.0, 0.0, np.eye(g.shape[k]), 0
    for t in count(1):
        m = b1 * m + (1 - b1) * g
        V = b2 * V + (1 - b2) * gram(g, k)
        since += 1
        if due(t, since, every, start):
            values, U = np.linalg.eigh(V)
            X, since = (U / (np.sqrt(np.maximum(values, 0.0)) + eps)) @ U.T, 0
        d = along(m, X, k)
        if consistent_rms is not None:
            d = consistent_rms * d / (rms(d) or 1.0)
        g, w = yield d
