"""Transcriptions of `dadapt_adamw` and `prodigy`."""

from itertools import count

import numpy as np

from oracles._arithmetic import abs2, at, dot, norm1
from oracles._collect import oracle


@oracle
def dadapt_adamw(learning_rate=1.0, betas=(0.9, 0.999), eps=1e-8, estim_lr0=1e-6, weight_decay=0.0):
    """Defazio & Mishchenko 2023, arXiv:2301.07733, Algorithm 5 (D-Adapt Adam), γ_k = lr_k times Adam's bias correction.

    s_{k+1} = √β2 s_k + (1 − √β2) γ_k d_k g_k;  r_{k+1} = √β2 r_k + (1 − √β2) γ_k d_k ⟨g_k, s_k⟩ in the norm of 1 / A, A = √v + ε
    d_{k+1} = max(d_k, r_{k+1} / ((1 − √β2) ‖s_{k+1}‖₁))
    The authors' code, like Optax, has in A the v of before g_k, adds the bias correction, and scales the decay of AdamW by γ d.
    """
    b1, b2 = betas
    q, d, r, u = np.sqrt(b2), estim_lr0, 0.0, None
    m = v = s = None
    for k in count():
        g, w = yield u
        if m is None:
            m, v, s = ([np.zeros_like(x) for x in g] for _ in range(3))
        gamma = at(learning_rate, k) * np.sqrt(1 - b2 ** (k + 1)) / (1 - b1 ** (k + 1))
        A = [np.sqrt(np.real(x)) + eps for x in v]
        r = q * r + (1 - q) * gamma * d * dot(g, [x / a for x, a in zip(s, A, strict=True)])
        m = [b1 * x + (1 - b1) * gamma * d * y for x, y in zip(m, g, strict=True)]
        v = [b2 * x + (1 - b2) * abs2(y) for x, y in zip(v, g, strict=True)]
        s = [q * x + (1 - q) * gamma * d * y for x, y in zip(s, g, strict=True)]
        u = [-x / (np.sqrt(np.real(y)) + eps) - weight_decay * gamma * d * p for x, y, p in zip(m, v, w, strict=True)]
        if norm1(s) > 0:
            d = max(d, r / ((1 - q) * norm1(s)))


@oracle
def prodigy(
    learning_rate=1.0, betas=(0.9, 0.999), beta3=None, eps=1e-8, estim_lr0=1e-6, estim_lr_coef=1.0, weight_decay=0.0,
    safeguard_warmup=False,
):  # fmt: skip
    """Mishchenko & Defazio 2023, arXiv:2306.06101, Algorithm 4 (Prodigy, Adam version), γ_k = lr_k times Adam's bias correction.

    m = β1 m + (1 − β1) d g;  v = β2 v + (1 − β2) d² g²
    r = √β2 r + (1 − √β2) γ d² ⟨g, x0 − x⟩;  s = √β2 s + (1 − √β2) γ d² g;  d̂ = r / ‖s‖₁;  x = x − γ d m / (√v + d ε)
    The (1 − √β2) cancel in d̂. The authors' code, like Optax, names √β2 β3, multiplies d̂ by `estim_lr_coef`, has the new d with ε,
    adds the bias correction, and with `safeguard_warmup` leaves γ out of s.
    """
    b1, b2 = betas
    b3, d, r, u = np.sqrt(b2) if beta3 is None else beta3, estim_lr0, 0.0, None
    x0 = m = v = s = None
    for k in count():
        g, x = yield u
        if m is None:
            x0, (m, v, s) = x, ([np.zeros_like(y) for y in g] for _ in range(3))
        gamma = at(learning_rate, k) * np.sqrt(1 - b2 ** (k + 1)) / (1 - b1 ** (k + 1))
        r = b3 * r + (1 - b3) * gamma * d**2 * dot(g, [a - b for a, b in zip(x0, x, strict=True)])
        in_s = d**2 if safeguard_warmup else gamma * d**2
        s = [b3 * y + (1 - b3) * in_s * z for y, z in zip(s, g, strict=True)]
        m = [b1 * y + (1 - b1) * d * z for y, z in zip(m, g, strict=True)]
        v = [b2 * y + (1 - b2) * d**2 * abs2(z) for y, z in zip(v, g, strict=True)]
        new = max(d, estim_lr_coef * r / norm1(s)) if norm1(s) > 0 else d
        step = lambda y, z, p, d=d, new=new, gamma=gamma: -gamma * d * (y / (np.sqrt(np.real(z)) + new * eps) + weight_decay * p)
        u, d = [step(*parts) for parts in zip(m, v, x, strict=True)], new
