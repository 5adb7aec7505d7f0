"""Transcriptions of `adamax`, `adamaxw`, `scale_by_adamax`, `nadamax` and `maxaprop`."""

from itertools import count

import numpy as np

from oracles._arithmetic import at
from oracles._collect import array_oracle


@array_oracle
def adamax(learning_rate, b1=0.9, b2=0.999, eps=1e-8):
    """Kingma & Ba 2015, Algorithm 2; catalogue A.2.8: n ← max(|g| + ε, β2 n); u = −lr / (1 − β1^t) m / n."""
    m, n, u = 0.0, 0.0, None
    for t in count(1):
        g, _ = yield u
        m = b1 * m + (1 - b1) * g
        n = np.maximum(np.abs(g) + eps, b2 * n)
        u = -at(learning_rate, t - 1) / (1 - b1**t) * m / n


@array_oracle
def adamaxw(learning_rate, b1=0.9, b2=0.999, eps=1e-8, weight_decay=1e-4):
    """`adamax` with the decoupled decay of Loshchilov & Hutter 2019."""
    m, n, u = 0.0, 0.0, None
    for t in count(1):
        g, w = yield u
        m = b1 * m + (1 - b1) * g
        n = np.maximum(np.abs(g) + eps, b2 * n)
        u = -at(learning_rate, t - 1) * (m / (1 - b1**t) / n + at(weight_decay, t - 1) * w)


@array_oracle
def scale_by_adamax(b1=0.9, b2=0.999, eps=1e-8):
    """Kingma & Ba 2015, Algorithm 2; catalogue A.2.8: n ← max(|g| + ε, β2 n) (Optax's place for ε); u = m / (1 − β1^t) / n."""
    m, n, u = 0.0, 0.0, None
    for t in count(1):
        g, _ = yield u
        m = b1 * m + (1 - b1) * g
        n = np.maximum(np.abs(g) + eps, b2 * n)
        u = m / (1 - b1**t) / n


@array_oracle
def nadamax(learning_rate, b1=0.9, b2=0.999, eps=1e-8):
    """S3:13 names it without an equation; read by analogy (catalogue A.2.10): Nadam's numerator over Adamax's denominator.

    u = −lr (β1 m / (1 − β1^{t+1}) + (1 − β1) g / (1 − β1^t)) / (n + ε),  n ← max(β2 n, |g|)
    """
    m, n, u = 0.0, 0.0, None
    for t in count(1):
        g, _ = yield u
        m = b1 * m + (1 - b1) * g
        n = np.maximum(b2 * n, np.abs(g))
        m_bar = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
        u = -at(learning_rate, t - 1) * m_bar / (n + eps)


@array_oracle
def maxaprop(learning_rate, decay=0.9, eps=1e-8):
    """S3:13, by analogy (catalogue A.2.10): RMSProp with the infinity norm: n ← max(ν n, |g|); u = −lr g / (n + ε)."""
    n, u = 0.0, None
    for k in count():
        g, _ = yield u
        n = np.maximum(decay * n, np.abs(g))
        u = -at(learning_rate, k) * g / (n + eps)
