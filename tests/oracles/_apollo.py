"""Transcriptions of `apollo`, `apollo_mini` and `scale_by_apollo`."""

from itertools import count

import numpy as np

from oracles._arithmetic import abs2, at, norm
from oracles._collect import array_oracle
from oracles._matrices import due, pseudonormal


@array_oracle
def apollo(
    learning_rate, b1=0.9, b2=0.999, eps=1e-6, rank=256, scale=1.0, weight_decay=0.0, scale_type="channel", scale_front=False,
    limiter=1.01, every=200, start=1, key=0, sampler=pseudonormal,
):  # fmt: skip
    """Zhu et al. 2024, arXiv:2412.05270, Algorithm 1, in the order of the authors' code, for leaves (inputs, outputs).

    P = N(0, 1) / √r on the shorter side, new where due;  R = G Pᵀ;  R̃ = m / (√v + ε), m, v the means of R
    s = ‖R̃_i‖ / (‖R_i‖ + 10⁻⁸) for each row i of the longer side, or of the whole;  U = √α s G (√α behind the limit unless `scale_front`)
    U ← U / (max(‖U‖ / (‖U₋₁‖ + 10⁻⁸), γ) / γ);  w ← w − η (√(1 − β₂ᵗ) / (1 − β₁ᵗ) U + λ w).  Leaves that are no matrix: Adam.
    """
    m, v, P, size, u = 0.0, 0.0, None, 0.0, None
    for t in count(1):
        g, w = yield u
        if g.ndim == 2:
            G = g.T if g.shape[0] <= g.shape[1] else g  # (longer, shorter), the inputs projected if equal
            r = min(rank, G.shape[1])
            P = np.zeros((r, G.shape[1])) if P is None else P
            if due(t, None, every, start):
                P = np.asarray(sampler(key, (r, G.shape[1]), np.float64)) / np.sqrt(r)
        R = G @ P.T if g.ndim == 2 else g
        m = b1 * m + (1 - b1) * R
        v = b2 * v + (1 - b2) * abs2(R)
        U = m / (np.sqrt(v) + eps)
        if g.ndim == 2:
            over = lambda x: np.sqrt(np.sum(abs2(x), axis=1, keepdims=True)) if scale_type == "channel" else norm(x)
            U = G * over(U) / (over(R) + 1e-8)
            U = U * np.sqrt(scale) if scale_front else U
            if t > 1 and size > 0 and limiter is not None:
                U = U / (max(norm(U) / (size + 1e-8), limiter) / limiter)
            size = norm(U)
            U = U if scale_front else U * np.sqrt(scale)
            U = U.T if g.shape[0] <= g.shape[1] else U
        u = -at(learning_rate, t - 1) * (np.sqrt(1 - b2**t) / (1 - b1**t) * U + at(weight_decay, t - 1) * w)


@array_oracle
def apollo_mini(learning_rate, rank=1, scale=128.0, scale_type="tensor", **arguments):
    """The same with one direction, and one factor for the whole of a matrix."""
    return apollo.__wrapped__(learning_rate, rank=rank, scale=scale, scale_type=scale_type, **arguments)


@array_oracle
def scale_by_apollo(**arguments):
    """The direction alone, uphill."""
    return apollo.__wrapped__(-1.0, **arguments)
