"""neon's optimizers with neon's argument names and exact numbers (S1 and its source; gradients are means over the mini-batch).

Both kinds of clipping start from the raw gradients: k = c / max(‖g‖, c) over all the arrays of one optimizer (E16: S1:24 says
"scales each gradient by k"), and each element into [−d, d]. Outside of momentum, k multiplies the step and not the accumulators.
"""

from itertools import count

import numpy as np

from oracles._arithmetic import at, norm
from oracles._collect import oracle


def clipping(g, gradient_clip_value, gradient_clip_norm):
    """The factor k, and the gradients clipped by value."""
    k = 1.0
    if gradient_clip_norm:
        k = gradient_clip_norm / max(np.sqrt(sum(norm(g_i) ** 2 for g_i in g)), gradient_clip_norm)
    if gradient_clip_value:
        g = [np.clip(g_i, -abs(gradient_clip_value), abs(gradient_clip_value)) for g_i in g]
    return k, g


@oracle
def gradient_descent_momentum(
    learning_rate, momentum_coef, wdecay=0.0, nesterov=False, gradient_clip_value=None, gradient_clip_norm=None
):
    """S1:32, 36: v ← γ v − α (k g + λ w); u = v; Nesterov: u = γ v − α (k g + λ w), with the new v.

    E18: the sign of α is wrong in the documentation's v'.
    """
    v, u = None, None
    for n in count():
        g, w = yield u
        k, g = clipping(g, gradient_clip_value, gradient_clip_norm)
        d = [-at(learning_rate, n) * (k * g_i + wdecay * w_i) for g_i, w_i in zip(g, w, strict=True)]
        v = d if v is None else [momentum_coef * v_i + d_i for v_i, d_i in zip(v, d, strict=True)]
        u = [momentum_coef * v_i + d_i for v_i, d_i in zip(v, d, strict=True)] if nesterov else v


@oracle
def rmsprop(learning_rate=2e-3, decay_rate=0.95, epsilon=1e-6, gradient_clip_value=None, gradient_clip_norm=None):
    """S1:49, ε twice: µ ← λ µ + (1 − λ) g²; u = −α k g / (√(µ + ε) + ε)."""
    mu, u = None, None
    for n in count():
        g, _ = yield u
        k, g = clipping(g, gradient_clip_value, gradient_clip_norm)
        mu = [0.0] * len(g) if mu is None else mu
        mu = [decay_rate * mu_i + (1 - decay_rate) * g_i**2 for mu_i, g_i in zip(mu, g, strict=True)]
        u = [-at(learning_rate, n) * k * g_i / (np.sqrt(mu_i + epsilon) + epsilon) for mu_i, g_i in zip(mu, g, strict=True)]


@oracle
def adagrad(learning_rate=0.01, epsilon=1e-6, gradient_clip_value=None, gradient_clip_norm=None):
    """S1:65: G ← G + g²; u = −α k g / √(G + ε)."""
    G, u = None, None
    for n in count():
        g, _ = yield u
        k, g = clipping(g, gradient_clip_value, gradient_clip_norm)
        G = [g_i**2 + (0.0 if G is None else G[i]) for i, g_i in enumerate(g)]
        u = [-at(learning_rate, n) * k * g_i / np.sqrt(G_i + epsilon) for G_i, g_i in zip(G, g, strict=True)]


@oracle
def adadelta(decay=0.95, epsilon=1e-6):
    """S1:84 with one decay (E9): µ_J ← λ µ_J + (1 − λ) g²; u = −√((µ_θ + ε) / (µ_J + ε)) g; µ_θ ← λ µ_θ + (1 − λ) u²."""
    mu_J, mu_theta, u = None, None, None
    while True:
        g, _ = yield u
        mu_J = [0.0] * len(g) if mu_J is None else mu_J
        mu_theta = [0.0] * len(g) if mu_theta is None else mu_theta
        mu_J = [decay * a + (1 - decay) * g_i**2 for a, g_i in zip(mu_J, g, strict=True)]
        u = [-np.sqrt((b + epsilon) / (a + epsilon)) * g_i for a, b, g_i in zip(mu_J, mu_theta, g, strict=True)]
        mu_theta = [decay * b + (1 - decay) * u_i**2 for b, u_i in zip(mu_theta, u, strict=True)]


@oracle
def adam(learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-8, gradient_clip_value=None, gradient_clip_norm=None):
    """S1:102-106 as the code has it (E7 mended): l = α √(1 − β2^t) / (1 − β1^t); u = −k l m / (√v + ε)."""
    m, v, u = None, None, None
    for t in count(1):
        g, _ = yield u
        k, g = clipping(g, gradient_clip_value, gradient_clip_norm)
        m = [0.0] * len(g) if m is None else m
        v = [0.0] * len(g) if v is None else v
        m = [beta_1 * m_i + (1 - beta_1) * g_i for m_i, g_i in zip(m, g, strict=True)]
        v = [beta_2 * v_i + (1 - beta_2) * g_i**2 for v_i, g_i in zip(v, g, strict=True)]
        step = at(learning_rate, t - 1) * np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
        u = [-k * step * m_i / (np.sqrt(v_i) + epsilon) for m_i, v_i in zip(m, v, strict=True)]
