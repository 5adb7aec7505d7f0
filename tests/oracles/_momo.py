"""Transcriptions of `momo` and `momo_adam`."""

from itertools import count

import numpy as np

from oracles._arithmetic import abs2, at, dot, loss_of
from oracles._collect import oracle


def _momo(step, b, f_star, weight_decay, adapt, rho):
    """What MoMo and MoMo-Adam share: Lemma 3.1 with its weight decay (eqs. 15, 16), and section 4's estimate of the lower bound.

    `step(k, g)` gives d_k, D_k, β and α_k; f̄ and γ are the running means of the loss and of ⟨g, x⟩.
    """
    f_bar = gamma = 0.0
    lower, u = f_star, None
    for k in count():
        g, x, value = yield u
        d, D, alpha = step(k, g)
        beta = 0.0 if b[1] and k == 0 else b[0]
        w = rho(k)
        f_bar = beta * f_bar + (1 - beta) * loss_of(value)
        gamma = beta * gamma + (1 - beta) * dot(g, x)
        size = dot(d, [y / z for y, z in zip(d, D, strict=True)])
        decay = 1 + alpha * weight_decay
        if adapt and decay * (f_bar - gamma) + dot(d, x) < decay * w * f_star:
            f_star = max((decay * (f_bar - gamma) + dot(d, x)) / (2 * decay * w), lower)
        reach = max(decay * (f_bar - gamma - w * f_star) + dot(d, x), 0.0)
        tau = min(alpha / w, reach / size) if size > 0 else 0.0
        if adapt:
            f_star = max((f_bar + dot(d, x) - gamma - tau * size / 2) / w, lower)
        u = [(p - tau * y / z) / decay - p for p, y, z in zip(x, d, D, strict=True)]


@oracle(extra="value")
def momo(learning_rate=1.0, beta=0.9, lower_bound=0.0, weight_decay=0.0, adapt_lower_bound=False):
    """Schaipp et al. 2023, arXiv:2305.07583, Algorithm 1: all means start with their first term, D = 1."""
    d = None

    def step(k, g):
        nonlocal d
        d = list(g) if k == 0 else [beta * y + (1 - beta) * z for y, z in zip(d, g, strict=True)]
        return d, [np.ones(())] * len(g), at(learning_rate, k)

    return _momo(step, (beta, True), lower_bound, weight_decay, adapt_lower_bound, lambda k: 1.0)


@oracle(extra="value")
def momo_adam(
    learning_rate=1e-2, b1=0.9, b2=0.999, eps=1e-8, lower_bound=0.0, weight_decay=0.0, adapt_lower_bound=False
):  # fmt: skip
    """Schaipp et al. 2023, arXiv:2305.07583, Algorithm 2: all means start at 0, D = ε + √(v / (1 − β2^k)), ρ = 1 − β1^k."""
    d = v = None

    def step(k, g):
        nonlocal d, v
        d, v = d or [np.zeros_like(y) for y in g], v or [np.zeros_like(y) for y in g]
        d = [b1 * y + (1 - b1) * z for y, z in zip(d, g, strict=True)]
        v = [b2 * y + (1 - b2) * abs2(z) for y, z in zip(v, g, strict=True)]
        return d, [eps + np.sqrt(np.real(y) / (1 - b2 ** (k + 1))) for y in v], at(learning_rate, k)

    return _momo(step, (b1, False), lower_bound, weight_decay, adapt_lower_bound, lambda k: 1 - b1 ** (k + 1))
