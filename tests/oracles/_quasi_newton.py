"""The transcription of `scale_by_ss_quasi_newton`."""

import numpy as np

from oracles._collect import oracle


@oracle
def scale_by_ss_quasi_newton(method="ssbfgs", scale_init_precond=True):
    """Urban, Stefanou & Pons 2025: with s = w − w₋, y = g − g₋ and the step taken s = −α H g₋,

    H ← (H − H y yᵀH / (yᵀH y) + φ v vᵀ) / τ + s sᵀ / (yᵀs),   v = √(yᵀH y) (s / (yᵀs) − H y / (yᵀH y));   d = H g

    SSBFGS: φ = 1, τ = min(1, −yᵀs / (α sᵀg₋)).  SSBroyden: b = −α sᵀg₋ / (yᵀs), h = yᵀH y / (yᵀs), k = h b − 1, c = √(k / (k + 1)),
    ρ = min(1, h (1 − c)), θ = max((ρ − 1) / k, min(1 / ρ, (1 − b) / b)), σ = 1 + k θ, q = σ^(−1 / (n − 1)),
    τ = min(1, 1 / b) min(q, 1 / θ) if θ > 0, else min(min(1, 1 / b) q, σ);  φ = (1 − θ) / (1 + k θ)
    """
    gs, ws = yield None
    joined = lambda xs: np.concatenate([np.ravel(x) for x in xs])
    g, w = joined(gs), joined(ws)
    n, d, before = len(g), g, None
    H = np.eye(n) * (min(1, 1 / np.linalg.norm(g)) if scale_init_precond else 1)
    while True:
        if before is not None:
            g0, w0 = before
            s, y = w - w0, g - g0
            alpha = -(s @ d) / (d @ d)
            if y @ s > 0 and -alpha * s @ g0 > 0:
                ys, Hy = y @ s, H @ y
                yHy = y @ Hy
                b, h = -alpha * s @ g0 / ys, yHy / ys
                tau, phi = min(1, 1 / b), 1.0
                if method == "ssbroyden":
                    k = h * b - 1
                    c = np.sqrt(k / (k + 1)) if k > 0 else 0.0
                    rho = min(1, h * (1 - c))
                    theta = max((rho - 1) / k if k > 0 else -np.inf, min(1 / rho, (1 - b) / b))
                    sigma = 1 + k * theta
                    q = sigma ** (-1 / (n - 1))
                    tau = tau * min(q, 1 / theta) if theta > 0 else min(tau * q, sigma)
                    phi = (1 - theta) / (1 + k * theta)
                v = np.sqrt(yHy) * (s / ys - Hy / yHy)
                H = (H - np.outer(Hy, Hy) / yHy + phi * np.outer(v, v)) / tau + np.outer(s, s) / ys
        d, before = H @ g, (g, w)
        parts = np.split(d, np.cumsum([np.size(x) for x in gs])[:-1])
        gs, ws = yield [part.reshape(np.shape(x)) for part, x in zip(parts, gs, strict=True)]
        g, w = joined(gs), joined(ws)
