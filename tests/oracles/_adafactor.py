"""Transcriptions of `adafactor` and `scale_by_factored_rms`."""

from itertools import count

import numpy as np

from oracles._arithmetic import abs2, at, rms
from oracles._collect import array_oracle


@array_oracle
def adafactor(
    learning_rate=None, min_dim_size_to_factor=128, decay_rate=0.8, decay_offset=0, multiply_by_parameter_scale=True,
    clipping_threshold=1.0, momentum=None, weight_decay_rate=None, eps=1e-30, factored=True,
):  # fmt: skip
    """Shazeer & Stern 2018, arXiv:1804.04235, Algorithms 4 and 5; the order of the optional parts is Optax's.

    U = g / √V (V as in `scale_by_factored_rms`);  Û = U / max(1, RMS(U) / d);  α = max(10⁻³, RMS(w)) lr
    U' = α Û, or its EMA without bias correction;  u = −(U' + λ w), λ not scaled by lr
    """
    V, R, C, m, u = 0.0, 0.0, 0.0, 0.0, None
    for t in count(1):
        g, w = yield u
        beta = 1 - max(t - decay_offset, 1) ** -decay_rate
        by_size = sorted(range(g.ndim), key=lambda i: (g.shape[i], i))
        if factored and g.ndim >= 2 and g.shape[by_size[-2]] >= min_dim_size_to_factor:
            row, column = by_size[-2:]
            R = beta * R + (1 - beta) * np.sum(abs2(g) + eps, axis=column, keepdims=True)
            C = beta * C + (1 - beta) * np.sum(abs2(g) + eps, axis=row, keepdims=True)
            V = R * C / np.sum(R, axis=row, keepdims=True)
        else:
            V = beta * V + (1 - beta) * (abs2(g) + eps)
        U = g / np.sqrt(V)
        if clipping_threshold is not None:
            U = U / max(1.0, rms(U) / clipping_threshold)
        if learning_rate is not None:
            U = at(learning_rate, t - 1) * U
        if multiply_by_parameter_scale:
            U = max(1e-3, rms(w)) * U
        if momentum is not None:
            U = m = momentum * m + (1 - momentum) * U
        u = -(U + (0.0 if weight_decay_rate is None else at(weight_decay_rate, t - 1) * w))


@array_oracle
def scale_by_factored_rms(factored=True, decay_rate=0.8, step_offset=0, min_dim_size_to_factor=128, epsilon=1e-30):
    """Adafactor, Shazeer & Stern 2018, arXiv:1804.04235, Algorithms 4 and 5 (β̂2 of section 7.2), without the clipping.

    β = 1 − (t − offset)^−decay;  R ← β R + (1 − β) Σ_cols (g² + ε);  C ← β C + (1 − β) Σ_rows (g² + ε)
    V_ij = R_i C_j / Σ_i R_i;  u = g / √V

    Rows and columns are the two largest dimensions (the last ones among equals), if both are at least `min_dim_size_to_factor`;
    other arrays keep V ← β V + (1 − β) (g² + ε). Before the offset is passed β is 0, as at the first step.
    """
    V, R, C, u = 0.0, 0.0, 0.0, None
    for t in count(1):
        g, _ = yield u
        beta = 1 - max(t - step_offset, 1) ** -decay_rate
        by_size = sorted(range(g.ndim), key=lambda i: (g.shape[i], i))
        if factored and g.ndim >= 2 and g.shape[by_size[-2]] >= min_dim_size_to_factor:
            row, column = by_size[-2:]
            R = beta * R + (1 - beta) * np.sum(abs2(g) + epsilon, axis=column, keepdims=True)
            C = beta * C + (1 - beta) * np.sum(abs2(g) + epsilon, axis=row, keepdims=True)
            V = R * C / np.sum(R, axis=row, keepdims=True)
        else:
            V = beta * V + (1 - beta) * (abs2(g) + epsilon)
        u = g / np.sqrt(V)
