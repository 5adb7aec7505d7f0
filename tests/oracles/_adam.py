"""Transcriptions of `adam`, `adamw`, `nadam`, `nadamw` and `scale_by_adam`."""

from itertools import count

import numpy as np

from oracles._arithmetic import abs2, at
from oracles._collect import array_oracle


@array_oracle
def adam(learning_rate, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, nesterov=False):
    """Kingma & Ba 2015, arXiv:1412.6980, Algorithm 1; S0:162-166; E7 and E8 mended: both corrections, each with its own β^t."""
    m, v, u = 0.0, 0.0, None
    for t in count(1):
        g, _ = yield u
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * abs2(g)
        m_hat, v_hat = m / (1 - b1**t), v / (1 - b2**t)
        if nesterov:  # Dozat 2016, see `nadam`
            m_hat = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
        u = -at(learning_rate, t - 1) * m_hat / (np.sqrt(v_hat + eps_root) + eps)


@array_oracle
def adamw(learning_rate, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, weight_decay=1e-4, nesterov=False):
    """Loshchilov & Hutter 2019, arXiv:1711.05101, Algorithm 2, the decay scaled by the learning rate (PyTorch, Optax).

    w ← w − lr (m̂ / (√(v̂ + ε_root) + ε) + λ w); the form of m̂ with `nesterov` is the one of `nadam`.
    """
    m, v, u = 0.0, 0.0, None
    for t in count(1):
        g, w = yield u
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * abs2(g)
        m_hat, v_hat = m / (1 - b1**t), v / (1 - b2**t)
        if nesterov:
            m_hat = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
        u = -at(learning_rate, t - 1) * (m_hat / (np.sqrt(v_hat + eps_root) + eps) + at(weight_decay, t - 1) * w)


@array_oracle
def nadam(learning_rate, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, nesterov=True, momentum_decay=None):
    """Dozat 2016, "Incorporating Nesterov momentum into Adam"; catalogue A.2.9.

    m̄ = µ_{t+1} m / (1 − Π^{t+1} µ) + (1 − µ_t) g / (1 − Π^t µ);  u = −lr m̄ / (√(v̂ + ε_root) + ε)

    µ_t = β1 without `momentum_decay` (Optax), else β1 (1 − ½ 0.96^{t ψ}) with ψ = `momentum_decay` (PyTorch's NAdam, MXNet).
    E4: S0:185 looks ahead uphill. E19: the product of the µ advances once per step (MXNet: once per parameter tensor).
    """
    mu = (lambda t: b1) if momentum_decay is None else (lambda t: b1 * (1 - 0.5 * 0.96 ** (t * momentum_decay)))
    m, v, product, u = 0.0, 0.0, 1.0, None
    for t in count(1):
        g, _ = yield u
        product *= mu(t)
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * abs2(g)
        m_bar = m / (1 - b1**t)
        if nesterov:
            m_bar = mu(t + 1) * m / (1 - product * mu(t + 1)) + (1 - mu(t)) * g / (1 - product)
        u = -at(learning_rate, t - 1) * m_bar / (np.sqrt(v / (1 - b2**t) + eps_root) + eps)


@array_oracle
def nadamw(learning_rate, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, weight_decay=1e-4, nesterov=True):
    """Dozat 2016 with the decoupled decay of Loshchilov & Hutter 2019."""
    return adamw.__wrapped__(learning_rate, b1, b2, eps, eps_root, weight_decay, nesterov)


@array_oracle
def scale_by_adam(b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, nesterov=False):
    """Kingma & Ba 2015, Algorithm 1; catalogue A.2.7: u = m̂ / (√(v̂ + ε_root) + ε), x̂ = x / (1 − β^t).

    E7: v̂ divides by 1 − β2^t (S1:106 has β1); E8: by powers of β (S2:57 has none).
    Nesterov (Dozat 2016 with one β1, catalogue A.2.9 last row): m̄ = β1 m/(1 − β1^{t+1}) + (1 − β1) g/(1 − β1^t) in place of m̂.
    """
    m, v, u = 0.0, 0.0, None
    for t in count(1):
        g, _ = yield u
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * abs2(g)
        m_hat = m / (1 - b1**t)
        if nesterov:
            m_hat = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
        u = m_hat / (np.sqrt(v / (1 - b2**t) + eps_root) + eps)
