"""Transcriptions of `adadelta` and `scale_by_adadelta`."""

from itertools import count

import numpy as np

from oracles._arithmetic import abs2, at
from oracles._collect import array_oracle


@array_oracle
def adadelta(learning_rate=1.0, rho=0.9, eps=1e-6, weight_decay=0.0):
    """Zeiler 2012, arXiv:1212.5701, Algorithm 1, from the gradient of f + λ‖w‖²/2; E9, E13 mended (catalogue A.2.6).

    The paper has no learning rate; it is 1 by default, and the update descends. Δ is accumulated before it is multiplied by lr.
    """
    Eg2, Edx2, u = 0.0, 0.0, None
    for k in count():
        g, w = yield u
        g = g + at(weight_decay, k) * w
        Eg2 = rho * Eg2 + (1 - rho) * abs2(g)
        dx = -np.sqrt(Edx2 + eps) / np.sqrt(Eg2 + eps) * g
        Edx2 = rho * Edx2 + (1 - rho) * abs2(dx)
        u = at(learning_rate, k) * dx


@array_oracle
def scale_by_adadelta(rho=0.9, eps=1e-6):
    """Zeiler 2012, arXiv:1212.5701, Algorithm 1; catalogue A.2.6.

    E[g²] ← ρ E[g²] + (1 − ρ) g²;  Δ = √(E[Δ²] + ε) / √(E[g²] + ε) g;  E[Δ²] ← ρ E[Δ²] + (1 − ρ) Δ²

    E9: one decay (S1:84 mixes λ and ρ); E13: the numerator is the RMS of the past Δ, not of g, and has an ε (S3:11).
    """
    Eg2, Edx2, u = 0.0, 0.0, None
    while True:
        g, _ = yield u
        Eg2 = rho * Eg2 + (1 - rho) * abs2(g)
        u = np.sqrt(Edx2 + eps) / np.sqrt(Eg2 + eps) * g
        Edx2 = rho * Edx2 + (1 - rho) * abs2(u)
