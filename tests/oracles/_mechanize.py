"""Transcriptions of `mechanize`."""

import numpy as np

from oracles._arithmetic import dot, norm2
from oracles._collect import oracle


@oracle
def mechanize(base_optimizer=None, weight_decay=1e-2, eps=1e-8, s_init=1e-6, num_betas=6):
    """Cutkosky et al. 2023, arXiv:2306.00144, Algorithm 1, around gradient descent with the rate 1, the registry's example.

    Δ_t = Σ_{k<t} u_k, kept as (x_t − x_ref) / Σs; h_t = ⟨Δ_t, g_t + λ Σs ‖g_t‖/‖x_t‖ x_t⟩, with the sign of descent taken out;
    m = max(β m, |h| + ε);  v = β² v + h²;  r = max(0, β r + s h), h clipped to ±m of before;  W = s_init/n m + r;  s = W/(√v + ε)
    x_{t+1} = x_ref + Σs Δ_{t+1}. Optax and the authors keep r without the max, and add ε to √v, Σs and ‖x_t‖.
    """
    beta = 1 - 0.1 ** np.arange(1, num_betas + 1)
    r = m = v = np.zeros(num_betas)
    s, x_ref, u = np.full(num_betas, s_init), None, None
    while True:
        g, x = yield u
        x_ref = x if x_ref is None else x_ref
        delta = [(a - b) / (s.sum() + eps) for a, b in zip(x, x_ref, strict=True)]
        factor = weight_decay * s.sum() * np.sqrt(norm2(g)) / (np.sqrt(norm2(x)) + eps)
        h = -dot(delta, [a + factor * b for a, b in zip(g, x, strict=True)])
        r = beta * r + np.clip(h, -m, m) * s
        m = np.maximum(beta * m, abs(h) + eps)
        v = beta**2 * v + h**2
        s = (s_init / num_betas * m + np.maximum(r, 0)) / (np.sqrt(v) + eps)
        u = [b + s.sum() * (d - y) - a for a, b, d, y in zip(x, x_ref, delta, g, strict=True)]
