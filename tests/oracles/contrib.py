"""The contributed optimizers, transcribed from their papers; `w + u` is the paper's next iterate."""

from itertools import count

import numpy as np

from oracles._collect import abs2, array_oracle, at, oracle


@array_oracle
def scale_by_acprop(b1=0.9, b2=0.999, eps=1e-16, eps_root=1e-16):
    """Zhuang et al. 2021, arXiv:2110.05454, Algorithm 2: the denominator of step t is the one that step t - 1 left behind.

    m_t = β1 m + (1 − β1) g;  s_t = β2 s + (1 − β2) (g − m_{t−1})² + ε_root;  direction g / (√ŝ_{t−1} + ε), ŝ_0 := 1
    """
    m, s_hat, s, u = 0.0, 1.0, 0.0, None
    for t in count(1):
        g, _ = yield u
        surprise = abs2(g - m)
        m = b1 * m + (1 - b1) * g
        u = g / (np.sqrt(s_hat) + eps)
        s = b2 * s + (1 - b2) * surprise + eps_root
        s_hat = s / (1 - b2**t)


@array_oracle
def acprop(learning_rate, b1=0.9, b2=0.999, eps=1e-16, eps_root=1e-16, weight_decay=0.0):
    """The same as a descent, with decoupled decay."""
    direction, u = scale_by_acprop.__wrapped__(b1, b2, eps, eps_root), None
    next(direction)
    for k in count():
        g, w = yield u
        u = -at(learning_rate, k) * (direction.send((g, w)) + weight_decay * w)


@array_oracle
def ademamix(learning_rate, b1=0.9, b2=0.999, b3=0.9999, alpha=5.0, eps=1e-8, eps_root=0.0, weight_decay=0.0):
    """Pagliardini et al. 2024, arXiv:2409.03137, Algorithm 1: only the fast momentum and ν are debiased."""
    m1, m2, v, u = 0.0, 0.0, 0.0, None
    for t in count(1):
        g, w = yield u
        m1 = b1 * m1 + (1 - b1) * g
        m2 = at(b3, t - 1) * m2 + (1 - at(b3, t - 1)) * g
        v = b2 * v + (1 - b2) * abs2(g)
        m_hat, v_hat = m1 / (1 - b1**t), v / (1 - b2**t)
        direction = (m_hat + at(alpha, t - 1) * m2) / (np.sqrt(v_hat + eps_root) + eps)
        u = -at(learning_rate, t - 1) * (direction + weight_decay * w)


@array_oracle
def scale_by_ademamix(b1=0.9, b2=0.999, b3=0.9999, alpha=6.0, eps=1e-8, eps_root=0.0):
    """The direction alone, uphill."""
    return ademamix.__wrapped__(-1.0, b1, b2, b3, alpha, eps, eps_root)


@array_oracle
def simplified_ademamix(learning_rate, b1=0.99, b2=0.95, alpha=0.0, eps=1e-8, eps_root=0.0, weight_decay=0.0):
    """Morwani et al. 2025, arXiv:2502.02431: m ← β1 m + g without the factor 1 − β1, and α g added."""
    m, n, u = 0.0, 0.0, None
    for t in count(1):
        g, w = yield u
        m = b1 * m + g
        n = b2 * n + (1 - b2) * abs2(g)
        direction = (m + at(alpha, t - 1) * g) / (np.sqrt(n / (1 - b2**t) + eps_root) + eps)
        u = -at(learning_rate, t - 1) * (direction + weight_decay * w)


@array_oracle
def scale_by_simplified_ademamix(b1=0.99, b2=0.95, alpha=0.0, eps=1e-8, eps_root=0.0):
    """The direction alone, uphill."""
    return simplified_ademamix.__wrapped__(-1.0, b1, b2, alpha, eps, eps_root)


@array_oracle
def adopt(learning_rate, b1=0.9, b2=0.9999, eps=1e-6, nesterov=False, use_clipping=True):
    """Taniguchi et al. 2024, arXiv:2411.02853, Algorithm 2: v_0 = g_0², and from then on

    m_t = β1 m + (1 − β1) clip(g / max(√v_{t−1}, ε), t^¼);  v_t = β2 v + (1 − β2) g²;  w ← w − lr m_t
    """
    g, _ = yield None
    m, v, u = np.zeros_like(g), abs2(g), np.zeros_like(g)
    for k in count(1):
        g, _ = yield u
        r = g / np.maximum(np.sqrt(v), eps)
        r = np.clip(r, -(k**0.25), k**0.25) if use_clipping else r
        m = b1 * m + (1 - b1) * r
        v = b2 * v + (1 - b2) * abs2(g)
        u = -at(learning_rate, k) * (b1 * m + (1 - b1) * r if nesterov else m)


@array_oracle
def scale_by_adopt(b1=0.9, b2=0.9999, eps=1e-6, nesterov=False, use_clipping=True):
    """The direction alone, uphill."""
    return adopt.__wrapped__(-1.0, b1, b2, eps, nesterov, use_clipping)


@array_oracle
def madgrad(learning_rate, momentum=0.9, weight_decay=0.0, eps=1e-6):
    """Defazio & Jelassi 2021, arXiv:2101.11075, Algorithm 1, with c = 1 − momentum; ε is also added to the rate, as their program does.

    λ_k = γ √(k + 1);  s ← s + λ g;  ν ← ν + λ g²;  z = x_0 − s / (∛ν + ε);  x ← (1 − c) x + c z
    """
    s, v, x0, u = 0.0, 0.0, None, None
    for k in count():
        g, w = yield u
        x0 = w if x0 is None else x0
        g = g + weight_decay * w
        step = (at(learning_rate, k) + eps) * np.sqrt(k + 1)
        s = s + step * g
        v = v + step * abs2(g)
        z = x0 - s / (np.cbrt(v) + eps)
        u = momentum * w + (1 - momentum) * z - w


@array_oracle
def scale_by_madgrad(learning_rate, momentum=0.9, eps=1e-6):
    """The same without decay."""
    return madgrad.__wrapped__(learning_rate, momentum, 0.0, eps)


@array_oracle
def cocob(learning_rate=1.0, alpha=100.0, eps=1e-8, weight_decay=0.0):
    """Orabona & Tommasi 2017, arXiv:1705.07795, Algorithm 2, in their letters: g is the negative gradient.

    L ← max(L, |g|);  G ← G + |g|;  Reward ← max(Reward + (w − w_1) g, 0);  θ ← θ + g
    w = w_1 + θ / (L max(G + L, α L)) (L + Reward)
    """
    L, G, reward, theta, w1, u = eps, 0.0, 0.0, 0.0, None, None
    for k in count():
        gradient, w = yield u
        w1 = w if w1 is None else w1
        g = -at(learning_rate, k) * (gradient + weight_decay * w)
        L = np.maximum(L, np.abs(g))
        G = G + np.abs(g)
        reward = np.maximum(reward + (w - w1) * g, 0)
        theta = theta + g
        u = w1 + theta / (L * np.maximum(G + L, alpha * L)) * (L + reward) - w


@array_oracle
def scale_by_cocob(alpha=100.0, eps=1e-8):
    """The same without decay and weights."""
    return cocob.__wrapped__(1.0, alpha, eps)


@array_oracle
def sophia(learning_rate, b1=0.965, b2=0.99, eps=1e-8, weight_decay=1e-4, gamma=0.01, clip_threshold=1.0, update_interval=10):
    """Liu et al. 2023, arXiv:2305.14342, Algorithm 3, on the loss Σ w⁴ / 12, for which Hutchinson's estimate is exactly w².

    m ← β1 m + (1 − β1) g;  h ← β2 h + (1 − β2) ĥ every k steps;  w ← w − η λ w − η clip(m̂ / max(γ h, ε), ρ)

    As Optax: m is debiased, and a new h counts from the next step on.
    """
    m, h, u = 0.0, 0.0, None
    for k in count():
        g, w = yield u
        m = b1 * m + (1 - b1) * g
        direction = np.clip(m / (1 - b1 ** (k + 1)) / np.maximum(gamma * h, eps), -clip_threshold, clip_threshold)
        if k % update_interval == 0:
            h = b2 * h + (1 - b2) * w**2
        u = -at(learning_rate, k) * (direction + weight_decay * w)


@array_oracle
def scale_by_sophia(b1=0.965, b2=0.99, eps=1e-8, gamma=0.01, clip_threshold=1.0, update_interval=10):
    """The direction alone, uphill."""
    return sophia.__wrapped__(-1.0, b1, b2, eps, 0.0, gamma, clip_threshold, update_interval)


@oracle
def galore(learning_rate, rank=128, update_proj_gap=200, scale=1.0, weight_decay=0.0, b1=0.9, b2=0.999, eps=1e-8):
    """Zhao et al. 2024, arXiv:2403.03507, Algorithm 2, with Adam inside; other leaves than matrices get plain Adam.

    R = Pᵀ G (P: left singular vectors) or G P (right ones, where G is wide);  W ← W − η α P Adam(R)
    """
    states, u = {}, None
    for k in count():
        g, w = yield u
        u = []
        for i, (gi, wi) in enumerate(zip(g, w, strict=True)):
            m, v, P = states.get(i, (0.0, 0.0, None))
            matrix, tall = gi.ndim == 2, gi.ndim == 2 and gi.shape[0] >= gi.shape[1]
            if matrix and k % update_proj_gap == 0:
                U, _, Vt = np.linalg.svd(gi, full_matrices=False)
                P = U[:, :rank] if tall else Vt.T[:, :rank]
            r = gi if not matrix else P.T @ gi if tall else gi @ P
            m, v = b1 * m + (1 - b1) * r, b2 * v + (1 - b2) * r**2
            n = m / (1 - b1 ** (k + 1)) / (np.sqrt(v / (1 - b2 ** (k + 1))) + eps)
            direction = n if not matrix else scale * (P @ n if tall else n @ P.T)
            states[i] = m, v, P
            u.append(-at(learning_rate, k) * (direction + weight_decay * wi))


@oracle
def scale_by_galore(rank=128, update_proj_gap=200, scale=1.0):
    """The direction alone, uphill."""
    return galore.__wrapped__(-1.0, rank, update_proj_gap, scale)
