"""MXNet's optimizers with MXNet's argument names and exact numbers (catalogue A.2; S0 is its guide, mx1 and mx2 its source).

Every one takes `rescale_grad`, `clip_gradient` and `wd`, in MXNet's order: g ← clip(rescale g, c) + λ w, unless it says otherwise.
"""

from itertools import count

import numpy as np

from oracles._arithmetic import abs2, at, norm
from oracles._collect import array_oracle


def rescaled(g, rescale_grad, clip_gradient):
    g = rescale_grad * g
    return g if clip_gradient is None else np.clip(g, -clip_gradient, clip_gradient)


@array_oracle
def sgd(learning_rate=0.1, momentum=0.0, wd=0.0, rescale_grad=1.0, clip_gradient=None):
    """S0:38, 46, 61; A.2.2: the learning rate inside the velocity: v ← γ v − lr (g + λ w); u = v."""
    v, u = 0.0, None
    for k in count():
        g, w = yield u
        g = rescaled(g, rescale_grad, clip_gradient) + wd * w
        u = v = momentum * v - at(learning_rate, k) * g


@array_oracle
def nag(learning_rate=0.1, momentum=0.9, wd=0.0, rescale_grad=1.0, clip_gradient=None):
    """S0:80, reformulated at the stored look-ahead point (mx2, A.2.3): v ← γ v − lr g; u = γ v − lr g."""
    v, u = 0.0, None
    for k in count():
        g, w = yield u
        g = rescaled(g, rescale_grad, clip_gradient) + wd * w
        v = momentum * v - at(learning_rate, k) * g
        u = momentum * v - at(learning_rate, k) * g


@array_oracle
def adagrad(learning_rate=0.1, eps=1e-7, wd=0.0, rescale_grad=1.0, clip_gradient=None):
    """S0:99-100 and mx1, A.2.4 (E1, E2 mended): G ← G + g², λ not in g; u = −lr (g / √(G + ε) + λ w)."""
    G, u = 0.0, None
    for k in count():
        g, w = yield u
        g = rescaled(g, rescale_grad, clip_gradient)
        G = G + abs2(g)
        u = -at(learning_rate, k) * (g / np.sqrt(G + eps) + wd * w)


@array_oracle
def rmsprop(
    learning_rate=0.001, gamma1=0.9, gamma2=0.9, epsilon=1e-7, centered=False, wd=0.0, rescale_grad=1.0, clip_gradient=None
):
    """S0:116-117: n ← γ1 n + (1 − γ1) g²; u = −lr g / √(n + ε). Centred, S0:127-130: v ← γ2 v − lr g / √(n − m² + ε); u = v.

    E5: n − m² is carried as the variance V ← γ1 V + γ1 (1 − γ1) (g − m)², which is the same number and never negative.
    """
    n, m, V, v, u = 0.0, 0.0, 0.0, 0.0, None
    for k in count():
        g, w = yield u
        g = rescaled(g, rescale_grad, clip_gradient) + wd * w
        n = gamma1 * n + (1 - gamma1) * abs2(g)
        V = gamma1 * V + gamma1 * (1 - gamma1) * abs2(g - m)
        m = gamma1 * m + (1 - gamma1) * g
        if centered:
            u = v = gamma2 * v - at(learning_rate, k) * g / np.sqrt(V + epsilon)
        else:
            u = -at(learning_rate, k) * g / np.sqrt(n + epsilon)


@array_oracle
def adadelta(rho=0.9, epsilon=1e-7, wd=0.0, rescale_grad=1.0, clip_gradient=None):
    """S0:144-146 and mx2, A.2.6: Zeiler's Algorithm 1 without a learning rate, λ w in g (mx1 adds λ w to the displacement)."""
    Eg2, Edx2, u = 0.0, 0.0, None
    while True:
        g, w = yield u
        g = rescaled(g, rescale_grad, clip_gradient) + wd * w
        Eg2 = rho * Eg2 + (1 - rho) * abs2(g)
        u = -np.sqrt(Edx2 + epsilon) / np.sqrt(Eg2 + epsilon) * g
        Edx2 = rho * Edx2 + (1 - rho) * abs2(u)


@array_oracle
def adam(learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8, wd=0.0, rescale_grad=1.0, clip_gradient=None):
    """mx1, mx2, A.2.7: Kingma & Ba 2015, section 2, last lines: lr_t = lr √(1 − β2^t) / (1 − β1^t); u = −lr_t m / (√v + ε̂)."""
    m, v, u = 0.0, 0.0, None
    for t in count(1):
        g, w = yield u
        g = rescaled(g, rescale_grad, clip_gradient) + wd * w
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * abs2(g)
        u = -at(learning_rate, t - 1) * np.sqrt(1 - beta2**t) / (1 - beta1**t) * m / (np.sqrt(v) + epsilon)


@array_oracle
def adamax(learning_rate=0.002, beta1=0.9, beta2=0.999, epsilon=1e-8, wd=0.0, rescale_grad=1.0, clip_gradient=None):
    """S0:174-177 and mx2, A.2.8: n ← max(β2 n, |g|); u = −lr / (1 − β1^t) m / (n + ε)."""
    m, n, u = 0.0, 0.0, None
    for t in count(1):
        g, w = yield u
        g = rescaled(g, rescale_grad, clip_gradient) + wd * w
        m = beta1 * m + (1 - beta1) * g
        n = np.maximum(beta2 * n, np.abs(g))
        u = -at(learning_rate, t - 1) / (1 - beta1**t) * m / (n + epsilon)


@array_oracle
def nadam(
    learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8, schedule_decay=0.004, wd=0.0, rescale_grad=1.0, clip_gradient=None
):
    """mx2, A.2.9: µ_t = β1 (1 − ½ 0.96^{t ψ}), Π_t = Π µ; E4, E19 mended: no uphill look-ahead; Π advances once per step.

    m̄ = µ_{t+1} m / (1 − Π_{t+1}) + (1 − µ_t) g / (1 − Π_t);  u = −lr m̄ / (√(v / (1 − β2^t)) + ε)
    """
    m, v, product, u = 0.0, 0.0, 1.0, None
    for t in count(1):
        g, w = yield u
        g = rescaled(g, rescale_grad, clip_gradient) + wd * w
        mu, mu_next = (beta1 * (1 - 0.5 * 0.96 ** (s * schedule_decay)) for s in (t, t + 1))
        product = product * mu
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * abs2(g)
        m_bar = mu_next * m / (1 - product * mu_next) + (1 - mu) * g / (1 - product)
        u = -at(learning_rate, t - 1) * m_bar / (np.sqrt(v / (1 - beta2**t)) + epsilon)


@array_oracle
def signum(learning_rate=0.01, momentum=0.9, wd_lh=0.0, wd=0.0, rescale_grad=1.0, clip_gradient=None):
    """S0:211, 215 and mx2, A.2.11: v ← γ v + (1 − γ) (g + λ w); u = −lr (sign(v) + λ_lh w).

    Without momentum both decays are decoupled: u = −lr (sign(g) + (λ + λ_lh) w).
    """
    v, u = 0.0, None
    for k in count():
        g, w = yield u
        if momentum == 0:
            u = -at(learning_rate, k) * (np.sign(g) + (wd + wd_lh) * w)
            continue
        g = rescaled(g, rescale_grad, clip_gradient) + wd * w
        v = momentum * v + (1 - momentum) * g
        u = -at(learning_rate, k) * (np.sign(v) + wd_lh * w)


@array_oracle
def lbsgd(
    learning_rate=0.01, momentum=0.0, warmup_strategy="linear", warmup_epochs=5, batch_scale=1, updates_per_epoch=32,
    begin_epoch=0, num_epochs=60, accumulate=True, wd=0.0, rescale_grad=1.0, clip_gradient=None,
):  # fmt: skip
    """mx1, A.2.12; E6: not "the same update steps as SGD" (S0:224).

    The n-th mini-batch, n = begin_epoch updates_per_epoch + t, adds its gradient to a sum; where batch_scale = M divides n, the sum
    over M is the gradient of one step of `sgd` with the rate lr mult(n); else u = 0. `num_epochs` is not used. With
    `accumulate=False` every gradient is a macro-batch already: it takes a step and counts for M mini-batches.

    mult(n), N = warmup_epochs updates_per_epoch: M if n ≥ N; 1 if N ≤ 1; linear 1 + (M − 1) n/N; power2 (n/N)²; sqrt √(n/N)
    lars: √(‖w‖² / (‖g‖² + λ ‖w‖² + 1e-18)), within [0.01, 100], of the averaged gradient before it is rescaled, at every n
    """
    M, N = batch_scale, warmup_epochs * updates_per_epoch
    curve = {"linear": lambda x: x, "power2": lambda x: x**2, "sqrt": np.sqrt, "lars": lambda x: 0.0}[warmup_strategy]
    total, v, u = 0.0, 0.0, None
    for t in count(1):
        g, w = yield u
        if accumulate:
            n, total = begin_epoch * updates_per_epoch + t, total + g
            if n % M != 0:
                u = np.zeros_like(g)
                continue
            g, total = total / M, 0.0
        else:
            n = begin_epoch * updates_per_epoch + t * M
        mult = M if n >= N else 1.0 if N <= 1 else 1 + (M - 1) * curve(n / N)
        if warmup_strategy == "lars":
            mult = min(max(np.sqrt(norm(w) ** 2 / (norm(g) ** 2 + wd * norm(w) ** 2 + 1e-18)), 0.01), 100.0)
        g = rescaled(g, rescale_grad, clip_gradient) + wd * w
        u = v = momentum * v - at(learning_rate, t - 1) * mult * g


@array_oracle
def dcasgd(learning_rate=0.1, momentum=0.0, lamda=0.04, wd=0.0, rescale_grad=1.0, clip_gradient=None):
    """S0:247 and mx2, A.2.13: λ w enters g before it is squared: d = g + λ_dc g² (w − w_before); m ← γ m − lr d; u = m."""
    m, w_before, u = 0.0, None, None
    for k in count():
        g, w = yield u
        g = rescaled(g, rescale_grad, clip_gradient) + wd * w
        d = g + lamda * abs2(g) * (0.0 if w_before is None else w - w_before)
        u = m = momentum * m - at(learning_rate, k) * d
        w_before = w


@array_oracle
def ftrl(learning_rate=0.1, lamda1=0.01, beta=1.0, wd=0.0, rescale_grad=1.0, clip_gradient=None):
    """mx2, A.2.14 (E3 mended); λ = `wd` is the L2 term and does not enter g.

    z ← z + g − (√(n + g²) − √n) w / lr;  n ← n + g²;  w' = −sign(z) max(|z| − λ1, 0) / ((β + √n) / lr + λ);  u = w' − w
    """
    z, n, u = 0.0, 0.0, None
    for k in count():
        g, w = yield u
        g, lr = rescaled(g, rescale_grad, clip_gradient), at(learning_rate, k)
        z = z + g - (np.sqrt(n + abs2(g)) - np.sqrt(n)) * w / lr
        n = n + abs2(g)
        u = -np.sign(z) * np.maximum(np.abs(z) - lamda1, 0.0) / ((beta + np.sqrt(n)) / lr + wd) - w


@array_oracle
def ftml(learning_rate=0.0025, beta1=0.6, beta2=0.999, epsilon=1e-8, wd=0.0, rescale_grad=1.0, clip_gradient=None):
    """S4:11, A.2.15, with S4's preprocessing g ← clip(rescale g, c) + λ w.

    v ← β2 v + (1 − β2) g²;  d_t = (1 − β1^t) / lr (√(v / (1 − β2^t)) + ε)
    z ← β1 z + (1 − β1) g − (d_t − β1 d_{t−1}) w;  w' = −z / d_t;  u = w' − w
    """
    v, d, z, u = 0.0, 0.0, 0.0, None
    for t in count(1):
        g, w = yield u
        g = rescaled(g, rescale_grad, clip_gradient) + wd * w
        v = beta2 * v + (1 - beta2) * abs2(g)
        d_before, d = d, (1 - beta1**t) / at(learning_rate, t - 1) * (np.sqrt(v / (1 - beta2**t)) + epsilon)
        z = beta1 * z + (1 - beta1) * g - (d - beta1 * d_before) * w
        u = -z / d - w


@array_oracle(extra="noise")
def sgld(learning_rate=0.1, seed=0, wd=0.0, rescale_grad=1.0, clip_gradient=None):
    """S0:310, A.2.16 (E17, E19: the default is the code's 0.1, not the docstring's .001): u = −lr/2 g + √lr ξ, ξ = `noise`."""
    u = None
    for k in count():
        g, w, noise = yield u
        g = rescaled(g, rescale_grad, clip_gradient) + wd * w
        u = -at(learning_rate, k) / 2 * g + (0.0 if noise is None else np.sqrt(at(learning_rate, k)) * noise)


@array_oracle
def lars(learning_rate=0.1, momentum=0.0, eta=0.001, epsilon=1e-8, wd=0.0, rescale_grad=1.0, clip_gradient=None):
    """mx2, A.2.17; You et al. 2017, Algorithm 1: lr_l = lr η ‖w‖ / (‖g‖ + λ ‖w‖ + ε), lr where ‖w‖ or ‖g‖ is 0.

    ‖g‖ is taken after rescaling and before clipping;  v ← γ v − lr_l (g + λ w);  u = v. (MXNet gives parameters whose names end in
    gamma, beta or bias the plain lr; that is left to the caller's labels.)
    """
    v, u = 0.0, None
    for k in count():
        g, w = yield u
        norm_w, norm_g = norm(w), norm(rescale_grad * g)
        ratio = 1.0 if norm_w == 0 or norm_g == 0 else eta * norm_w / (norm_g + wd * norm_w + epsilon)
        g = rescaled(g, rescale_grad, clip_gradient) + wd * w
        u = v = momentum * v - at(learning_rate, k) * ratio * g


def bounded(z, lower_bound, upper_bound):
    z = z if lower_bound is None else max(z, lower_bound)
    return z if upper_bound is None else min(z, upper_bound)


@array_oracle
def lamb(
    learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-6, lower_bound=None, upper_bound=None, bias_correction=True,
    wd=0.0, rescale_grad=1.0, clip_gradient=None,
):  # fmt: skip
    """mx2, A.2.17; You et al. 2020, Algorithm 2: r = m̂ / (√v̂ + ε) + λ w; u = −lr φ(‖w‖) / ‖r‖ r; λ w is not in g."""
    m, v, u = 0.0, 0.0, None
    for t in count(1):
        g, w = yield u
        g = rescaled(g, rescale_grad, clip_gradient)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * abs2(g)
        m_hat, v_hat = (m / (1 - beta1**t), v / (1 - beta2**t)) if bias_correction else (m, v)
        r = m_hat / (np.sqrt(v_hat) + epsilon) + wd * w
        phi = bounded(norm(w), lower_bound, upper_bound)
        u = -at(learning_rate, t - 1) * (1.0 if phi == 0 or norm(r) == 0 else phi / norm(r)) * r


@array_oracle
def lans(
    learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-6, lower_bound=None, upper_bound=None, wd=0.0, rescale_grad=1.0,
    clip_gradient=None,
):  # fmt: skip
    """mx2, A.2.17: the two parts of `lans` one after the other; the second one's λ w takes the w that the first one moved.

    g̃ = clip(rescale g / ‖rescale g‖, c);  r = m̂ / (√v̂ + ε) + λ w;  w₁ = w − lr β1 φ / ‖r‖ r
    c = g̃ / (√v̂ + ε) + λ w₁;  u = w₁ − w − lr (1 − β1) φ / ‖c‖ c,  with φ of ‖w‖ in both
    """
    m, v, u = 0.0, 0.0, None
    for t in count(1):
        g, w = yield u
        g = rescale_grad * g
        g = rescaled(g / norm(g) if norm(g) > 0 else g, 1.0, clip_gradient)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * abs2(g)
        denominator, lr = np.sqrt(v / (1 - beta2**t)) + epsilon, at(learning_rate, t - 1)
        phi = bounded(norm(w), lower_bound, upper_bound)
        r = m / (1 - beta1**t) / denominator + wd * w
        w1 = w - lr * beta1 * (1.0 if phi == 0 or norm(r) == 0 else phi / norm(r)) * r
        c = g / denominator + wd * w1
        u = w1 - w - lr * (1 - beta1) * (1.0 if phi == 0 or norm(c) == 0 else phi / norm(c)) * c


@array_oracle
def adamw(
    learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-6, correct_bias=True, wd=0.0, rescale_grad=1.0, clip_gradient=None,
    use_fused_step=False,
):  # fmt: skip
    """mx2, A.2.17: lr_t = lr √(1 − β2^t) / (1 − β1^t) scales the decay too, and the decay takes the updated w.

    w₁ = w − lr_t m / (√v + ε);  w' = w₁ − lr_t λ w₁;  u = w' − w. MXNet's fused kernel decays the old w: w₁ − lr_t λ w.
    """
    m, v, u = 0.0, 0.0, None
    for t in count(1):
        g, w = yield u
        g = rescaled(g, rescale_grad, clip_gradient)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * abs2(g)
        lr = at(learning_rate, t - 1) * (np.sqrt(1 - beta2**t) / (1 - beta1**t) if correct_bias else 1.0)
        step = -lr * m / (np.sqrt(v) + epsilon)
        u = step - lr * wd * (w if use_fused_step else w + step)


@array_oracle
def adabelief(
    learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-6, correct_bias=True, wd=0.0, rescale_grad=1.0, clip_gradient=None
):
    """mx2, A.2.17, with its quirks (E19): λ w is added before clipping, and s accumulates ε at every step (as in the paper).

    g ← clip(rescale g + λ w, c);  s ← β2 s + (1 − β2) (g − m)² + ε;  u = −lr √(1 − β2^t) / (1 − β1^t) m / (√s + ε)
    """
    m, s, u = 0.0, 0.0, None
    for t in count(1):
        g, w = yield u
        g = rescaled(rescale_grad * g + wd * w, 1.0, clip_gradient)
        m = beta1 * m + (1 - beta1) * g
        s = beta2 * s + (1 - beta2) * abs2(g - m) + epsilon
        lr = at(learning_rate, t - 1) * (np.sqrt(1 - beta2**t) / (1 - beta1**t) if correct_bias else 1.0)
        u = -lr * m / (np.sqrt(s) + epsilon)


@array_oracle
def group_adagrad(learning_rate=0.01, epsilon=1e-6, rescale_grad=1.0, clip_gradient=None):
    """mx2, A.2.17, for matrices, without decay: h_i ← h_i + mean_j g_ij²; u_ij = −lr g_ij / (√h_i + ε)."""
    h, u = 0.0, None
    for k in count():
        g, _ = yield u
        g = rescaled(g, rescale_grad, clip_gradient)
        h = h + np.mean(abs2(g), axis=tuple(range(1, g.ndim)), keepdims=True)
        u = -at(learning_rate, k) * g / (np.sqrt(h) + epsilon)
