"""Transcriptions of `mars` and `scale_by_mars`."""

from itertools import count

import numpy as np

from oracles._adam import adamw
from oracles._arithmetic import abs2, at, norm
from oracles._collect import array_oracle
from oracles._matrices import orthogonalized

JORDAN = (3.4445, -4.7750, 2.0315)


@array_oracle
def mars(
    learning_rate, b1=0.95, b2=0.99, eps=1e-8, gamma=0.025, weight_decay=0.0, kind="adamw", clip_threshold=1.0, optimize_1d=False,
    adam_b1=0.9, adam_b2=0.95, adam_weight_decay=0.1, adam_learning_rate=None, ns_coeffs=JORDAN, ns_steps=5,
):  # fmt: skip
    """Yuan et al. 2024, arXiv:2411.10438, Algorithms 2 to 4, g of the step before in the place of the same batch's.

    c = g + γ β₁ / (1 − β₁) (g − g₋₁);  c ← c / max(1, ‖c‖);  m ← β₁ m + (1 − β₁) c
    AdamW: v ← β₂ v + (1 − β₂) c², m̂ / (√v̂ + ε);  Lion: sign(m);  Muon: √max(1, m/n) NS(m / (1 − β₁)), AdamW where there is no matrix
    """
    if not optimize_1d:
        rate = learning_rate if adam_learning_rate is None else adam_learning_rate
        rest = adamw.__wrapped__(rate, adam_b1, adam_b2, eps, 0.0, adam_weight_decay)
        next(rest)
    m, v, last, u = 0.0, 0.0, 0.0, None
    for t in count(1):
        g, w = yield u
        if g.ndim != 2 and not optimize_1d:
            u = rest.send((g, w))
            continue
        c = g + gamma * b1 / (1 - b1) * (g - last)
        c = c / max(1.0, norm(c) / clip_threshold)
        m, last = b1 * m + (1 - b1) * c, g
        if kind == "lion":
            direction = np.sign(m)
        elif kind == "muon" and g.ndim == 2:  # (inputs, outputs) = (n, m)
            n, outputs = g.shape
            direction = np.sqrt(max(1.0, outputs / n)) * orthogonalized(m / (1 - b1), ns_coeffs, ns_steps, eps=eps)
        else:
            v = b2 * v + (1 - b2) * abs2(c)
            direction = m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)
        u = -at(learning_rate, t - 1) * (direction + at(weight_decay, t - 1) * w)


@array_oracle
def scale_by_mars(b1=0.95, b2=0.99, eps=1e-8, gamma=0.025, kind="adamw", clip_threshold=1.0, ns_coeffs=JORDAN, ns_steps=5):
    """The direction alone, uphill."""
    return mars.__wrapped__(
        -1.0, b1, b2, eps, gamma, 0.0, kind, clip_threshold, True, ns_coeffs=ns_coeffs, ns_steps=ns_steps
    )  # fmt: skip
