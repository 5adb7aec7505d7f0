"""Transcriptions of `muon`."""

from itertools import count

import numpy as np

from oracles._adam import adamw
from oracles._arithmetic import at, norm
from oracles._collect import array_oracle


@array_oracle
def muon(
    learning_rate, ns_coeffs=(3.4445, -4.7750, 2.0315), ns_steps=5, beta=0.95, eps=1e-8, weight_decay=0.0, nesterov=True,
    adaptive=False, adam_b1=0.9, adam_b2=0.999, adam_eps_root=0.0, adam_weight_decay=0.0, adam_learning_rate=None,
    consistent_rms=None,
):  # fmt: skip
    """Jordan et al. 2024, kellerjordan.github.io/posts/muon, for matrices; AdamW (with the same ε and `nesterov`) for the rest.

    m ← β m + (1 − β) g;  m̄ = β m / (1 − β^{t+1}) + (1 − β) g / (1 − β^t)   (not `nesterov`: m / (1 − β^t))
    X = m̄ / (‖m̄‖_F + ε);  five times  X ← a X + (b A + c A²) X,  A = X Xᵀ
    u = −lr (√max(1, fan_out / fan_in) X + λ w),  fan_in = shape[0], fan_out = shape[1]

    `consistent_rms`: the factor √max(fan_in, fan_out) ρ in its place (Liu et al. 2025, arXiv:2502.16982, eq. 4).
    `adaptive`: times the dual norm <m̄, X> (Bernstein & Newhouse 2024, arXiv:2409.20325).
    """
    m, u = 0.0, None
    adam_rate = learning_rate if adam_learning_rate is None else adam_learning_rate
    for_the_rest = adamw.__wrapped__(adam_rate, adam_b1, adam_b2, eps, adam_eps_root, adam_weight_decay, nesterov)
    next(for_the_rest)
    for t in count(1):
        g, w = yield u
        if g.ndim != 2:
            u = for_the_rest.send((g, w))
            continue
        m = beta * m + (1 - beta) * g
        m_bar = beta * m / (1 - beta ** (t + 1)) + (1 - beta) * g / (1 - beta**t) if nesterov else m / (1 - beta**t)
        X = m_bar / (norm(m_bar) + eps)
        coefficients = np.atleast_2d(ns_coeffs)
        for a, b, c in coefficients if len(coefficients) > 1 else np.tile(coefficients, (ns_steps, 1)):
            A = X @ X.conj().T
            X = a * X + (b * A + c * A @ A) @ X
        if adaptive:
            X = np.sum(m_bar.conj() * X) * X
        fan_in, fan_out = g.shape
        factor = np.sqrt(max(1, fan_out / fan_in) if consistent_rms is None else max(fan_in, fan_out)) * (consistent_rms or 1.0)
        u = -at(learning_rate, t - 1) * (factor * X + at(weight_decay, t - 1) * w)
