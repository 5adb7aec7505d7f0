"""The rest of Optax's optimizers and primitives, from their papers."""

from itertools import count

import numpy as np

from oracles._collect import abs2, array_oracle, at, norm, oracle
from oracles.primitives import scale_by_adam


@array_oracle
def scale_by_amsgrad(b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, bias_correction_mu=True, bias_correction_nu=True):
    """Reddi et al. 2018, Algorithm 2: v̂_t = max(v̂_{t-1}, v_t); the corrections are Adam's, that of v before the maximum."""
    m, v, v_hat, u = 0.0, 0.0, 0.0, None
    for t in count(1):
        g, _ = yield u
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * abs2(g)
        v_hat = np.maximum(v_hat, v / (1 - b2**t) if bias_correction_nu is True else v)
        divisor = v_hat / (1 - b2**t) if bias_correction_nu == "after" else v_hat
        u = (m / (1 - b1**t) if bias_correction_mu else m) / (np.sqrt(divisor + eps_root) + eps)


@array_oracle
def amsgrad(learning_rate, **rest):
    yield from _descent(scale_by_amsgrad.__wrapped__(**rest), learning_rate)


def _descent(direction, learning_rate):
    """u = −lr d, where d is what the coroutine makes of g."""
    next(direction)
    u = None
    for k in count():
        inputs = yield u
        u = -at(learning_rate, k) * direction.send(inputs)


@array_oracle
def scale_by_adan(b1=0.98, b2=0.92, b3=0.99, eps=1e-8, eps_root=0.0):
    """Xie et al. 2022, Algorithm 1, in the paper's betas, which are 1 − b; with bias corrections as in its authors' `adan.py`."""
    beta1, beta2, beta3 = 1 - b1, 1 - b2, 1 - b3
    m, v, n, before, u = 0.0, 0.0, 0.0, None, None
    for t in count(1):
        g, _ = yield u
        change = 0 * g if before is None else g - before
        m = (1 - beta1) * m + beta1 * g
        v = (1 - beta2) * v + beta2 * change
        n = (1 - beta3) * n + beta3 * abs2(g + (1 - beta2) * change)
        m_hat, v_hat, n_hat = m / (1 - b1**t), v / (1 - b2**t), n / (1 - b3**t)
        u = (m_hat + (1 - beta2) * v_hat) / (np.sqrt(n_hat + eps_root) + eps)
        before = g


@array_oracle
def adan(learning_rate, b1=0.98, b2=0.92, b3=0.99, eps=1e-8, eps_root=1e-8, weight_decay=0.0):
    direction = scale_by_adan.__wrapped__(b1, b2, b3, eps, eps_root)
    next(direction)
    u = None
    for k in count():
        g, w = yield u
        u = -at(learning_rate, k) * (direction.send((g, w)) + at(weight_decay, k) * w)


@array_oracle
def scale_by_yogi(b1=0.9, b2=0.999, eps=1e-3, eps_root=0.0, initial_accumulator_value=1e-6):
    """Zaheer et al. 2018, Algorithm 2: v ← v − (1 − β2) sign(v − g²) g²; both moments begin at one value, and are corrected."""
    m = v = initial_accumulator_value
    u = None
    for t in count(1):
        g, _ = yield u
        m = b1 * m + (1 - b1) * g
        v = v - (1 - b2) * np.where(v > abs2(g), 1, -1) * abs2(g)
        u = m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t) + eps_root) + eps)


@array_oracle
def yogi(learning_rate, **rest):
    yield from _descent(scale_by_yogi.__wrapped__(**rest), learning_rate)


@array_oracle
def scale_by_radam(b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, threshold=5.0, nesterov=False):
    """Liu et al. 2020, Algorithm 2: ρ_t = ρ_∞ − 2 t β2^t / (1 − β2^t); the form of m̂ with `nesterov` is the one of `nadam`."""
    m, v, u = 0.0, 0.0, None
    rho_end = 2 / (1 - b2) - 1
    for t in count(1):
        g, _ = yield u
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * abs2(g)
        m_hat = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t) if nesterov else m / (1 - b1**t)
        rho = rho_end - 2 * t * b2**t / (1 - b2**t)
        u = m_hat
        if rho >= threshold:
            r = np.sqrt((rho - 4) * (rho - 2) * rho_end / ((rho_end - 4) * (rho_end - 2) * rho))
            u = r * m_hat / (np.sqrt(v / (1 - b2**t) + eps_root) + eps)


@array_oracle
def radam(learning_rate, **rest):
    yield from _descent(scale_by_radam.__wrapped__(**rest), learning_rate)


@array_oracle
def scale_by_novograd(b1=0.9, b2=0.25, eps=1e-8, eps_root=0.0, weight_decay=0.0):
    """Ginsburg et al. 2019, Algorithm 1: v_1 = ||g_1||², m_1 = g_1 / ||g_1|| + d w_1.

    Then v ← β2 v + (1 − β2) ||g||², m ← β1 m + (g / (√v + ε) + d w).
    """
    m = v = u = None
    while True:
        g, w = yield u
        v = norm(g) ** 2 if v is None else b2 * v + (1 - b2) * norm(g) ** 2
        step = g / (np.sqrt(v + eps_root) + eps) + weight_decay * w
        m = step if m is None else b1 * m + step
        u = m


@array_oracle
def novograd(learning_rate, b1=0.9, b2=0.25, eps=1e-6, eps_root=0.0, weight_decay=0.0):
    yield from _descent(scale_by_novograd.__wrapped__(b1, b2, eps, eps_root, weight_decay), learning_rate)


@array_oracle
def scale_by_sm3(b1=0.9, b2=1.0, eps=1e-8):
    """Anil et al. 2019, Algorithm SM3-II: ν(i) = min over r with i ∈ S_r of µ(r) + g(i)²; µ(r) = max over i ∈ S_r of ν(i).

    The sets are the slices along each axis (co-dimension 1); element by element, as the paper has it. Momentum: section 4.
    """
    mu, m, u = {}, 0.0, None
    while True:
        g, _ = yield u
        nu, last, mu = np.zeros(g.shape), mu, {}
        for i in np.ndindex(*g.shape):
            slices = list(enumerate(i)) or [()]
            grown = abs2(g[i]) if b2 == 1 else (1 - b2) * abs2(g[i])
            nu[i] = b2 * min(last.get(r, 0.0) for r in slices) + grown
            for r in slices:
                mu[r] = max(mu.get(r, 0.0), nu[i])
        m = b1 * m + (1 - b1) * np.where(nu > 0, g / np.sqrt(np.where(nu > 0, nu + eps, 1)), 0)
        u = m


@array_oracle
def sm3(learning_rate, momentum=0.9):
    yield from _descent(scale_by_sm3.__wrapped__(momentum), learning_rate)


@array_oracle
def scale_by_rprop(learning_rate, eta_minus=0.5, eta_plus=1.2, min_step_size=1e-6, max_step_size=50.0):
    """Riedmiller & Braun 1993 without weight backtracking (Igel & Hüsken 2000, iRprop−): after a change of sign g counts as 0."""
    size = before = u = None
    while True:
        g, _ = yield u
        size = np.full(g.shape, float(learning_rate)) if size is None else size
        before = np.zeros(g.shape) if before is None else before
        g = np.array(g)
        for i in np.ndindex(*g.shape):
            if before[i] * g[i] > 0:
                size[i] = min(size[i] * eta_plus, max_step_size)
            elif before[i] * g[i] < 0:
                size[i] = max(size[i] * eta_minus, min_step_size)
                g[i] = 0
        before, u = g, np.sign(g) * size


@array_oracle
def rprop(learning_rate, **rest):
    yield from _descent(scale_by_rprop.__wrapped__(learning_rate, **rest), 1.0)


@array_oracle
def fromage(learning_rate, min_norm=1e-6):
    """Bernstein et al. 2020, Algorithm 1: W ← (W − η ||W|| / ||g|| g) / √(1 + η²); Optax bounds the norms from below."""
    u = None
    for k in count():
        g, w = yield u
        eta = at(learning_rate, k)
        ratio = max(norm(w), min_norm) / max(norm(g), min_norm)
        u = (w - eta * ratio * g) / np.sqrt(1 + eta**2) - w


@oracle(extra="value")
def scale_by_polyak(f_min=0.0, max_learning_rate=1.0, eps=0.0, variant="sps"):
    """Loizou et al. 2021, SPS_max: γ = min((f − f*) / ||g||², γ_b); SPS₊ (Garrigos et al. 2023) takes the positive part of the gap.

    Without a value it is 1.
    """
    u = None
    while True:
        gs, _, value = yield u
        square = sum(np.sum(abs2(g)) for g in gs)
        gap = (1.0 if value[0] is None else value[0]) - f_min
        gap = max(gap, 0.0) if variant == "sps+" else gap
        u = [min(gap / (square + eps), max_learning_rate) * g for g in gs]


@oracle(extra="value")
def polyak_sgd(max_learning_rate=1.0, scaling=1.0, f_min=0.0, eps=0.0, variant="sps"):
    """SPS_max along −g; Optax's order: the gradient is scaled first, and its norm is the scaled one's."""
    u = None
    for k in count():
        gs, _, value = yield u
        square = sum(np.sum(abs2(g)) for g in gs)
        gap = (1.0 if value[0] is None else value[0]) - f_min
        gap = max(gap, 0.0) if variant == "sps+" else gap
        s = at(scaling, k)
        u = [-s * min(gap / (s**2 * square + eps), max_learning_rate) * g for g in gs]


@array_oracle
def scale_by_distance_over_gradients(reps_rel=1e-6, eps=1e-8, global_scale=1.0):
    """Ivgi et al. 2023, L-DoG: η = max(r_ε, max over i <= t of ||x_i − x_0||) / √(Σ ||g_i||² + ε), r_ε = reps_rel (1 + ||x_0||)."""
    start, farthest, total, u = None, 0.0, 0.0, None
    while True:
        g, w = yield u
        start = w if start is None else start
        farthest = max(farthest, reps_rel * (1 + norm(start)), norm(w - start))
        total += norm(g) ** 2
        u = global_scale * farthest / np.sqrt(total + eps) * g


@array_oracle
def scale_by_optimistic_gradient(alpha=1.0, beta=1.0):
    """Mokhtari et al. 2020, the generalized OGDA: x ← x − (α + β) ∇f(x_k) + β ∇f(x_{k−1}), with x_{−1} = x_0."""
    before = u = None
    while True:
        g, _ = yield u
        before = g if before is None else before
        before, u = g, (alpha + beta) * g - beta * before


@array_oracle
def optimistic_gradient_descent(learning_rate, alpha=1.0, beta=1.0):
    yield from _descent(scale_by_optimistic_gradient.__wrapped__(alpha, beta), learning_rate)


@array_oracle
def optimistic_adam_v2(learning_rate, alpha=1.0, beta=1.0, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, nesterov=True):
    """Daskalakis et al. 2018, Algorithm 1, with α for the factor 2 of the direction: 2 d_t − d_{t−1} for α = β = 1."""
    adam = scale_by_adam.__wrapped__(b1, b2, eps, eps_root, nesterov=nesterov)
    extrapolate = scale_by_optimistic_gradient.__wrapped__(alpha, beta)
    next(adam)
    next(extrapolate)
    u = None
    for k in count():
        g, w = yield u
        u = -at(learning_rate, k) * extrapolate.send((adam.send((g, w)), w))


@oracle
def normalize_by_update_norm(scale_factor=1.0, eps=1e-6):
    """g / ||g||, the norm of the whole list."""
    u = None
    while True:
        gs, _ = yield u
        total = np.sqrt(sum(np.sum(abs2(g)) for g in gs))
        u = [scale_factor * g / (total + eps) for g in gs]


@array_oracle
def apply_every(k=1):
    """The sum of the last k gradients at every k-th, 0 at the others."""
    kept, u = [], None
    while True:
        g, _ = yield u
        kept.append(g)
        u = sum(kept) if len(kept) == k else 0 * g
        kept = [] if len(kept) == k else kept


@array_oracle
def adaptive_grad_clip(clipping, eps=1e-3):
    """Brock et al. 2021, equation 3: g_i ← λ max(||W_i||, ε) / ||g_i|| g_i where ||g_i|| / max(||W_i||, ε) > λ, i an output's column."""
    u = None
    while True:
        g, w = yield u
        u = np.array(g)
        columns = [()] if g.ndim < 2 else [(..., j) for j in range(g.shape[-1])]
        for i in columns:
            most = clipping * max(norm(w[i]), eps)
            u[i] = g[i] * min(1.0, most / norm(g[i]))


@array_oracle
def keep_params_nonnegative():
    """The projection of w + g on what is not negative."""
    u = None
    while True:
        g, w = yield u
        u = np.maximum(w + g, 0) - w
