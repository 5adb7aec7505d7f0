"""The primitives from which optimizers are chained. None of them descends by itself: u has the sign of g."""

from itertools import count

import numpy as np

from oracles._collect import abs2, array_oracle, at, norm, oracle, rms


@array_oracle
def scale(step_size):
    """u = c g."""
    u = None
    while True:
        g, _ = yield u
        u = step_size * g


@array_oracle
def scale_by_learning_rate(learning_rate, flip_sign=True):
    """u_t = -lr_k g_t with k = t - 1 (without `flip_sign`, +lr_k g_t)."""
    u = None
    for k in count():
        g, _ = yield u
        u = (-1 if flip_sign else 1) * at(learning_rate, k) * g


@array_oracle
def trace(decay, nesterov=False):
    """Heavy ball, Polyak 1964, in the form with the learning rate outside (catalogue A.2.2, S3:11): m ← g + µ m; u = m.

    Nesterov's form at the stored point (A.2.3): u = g + µ m, with the new m.
    """
    m, u = 0.0, None
    while True:
        g, _ = yield u
        m = g + decay * m
        u = g + decay * m if nesterov else m


@array_oracle
def nesterov(decay):
    """Nesterov 1983 with the gradient at the stored point (catalogue A.2.3 and A.1 row 6): m ← g + µ m; u = g + µ m, the new m.

    The true form (S3:11) is m ← µ m + ∇f(w − lr µ m), w ← w − lr m. Store the look-ahead point y = w − lr µ m, where g is taken:
    y' − y = −lr (m' + µ m' − µ m) = −lr (g + µ m'), for a constant lr.
    """
    m, u = 0.0, None
    while True:
        g, _ = yield u
        m = g + decay * m
        u = g + decay * m


@array_oracle
def ema(decay, debias=True):
    """m ← β m + (1 − β) g; u = m / (1 − β^t), the bias correction of Kingma & Ba 2015, section 3."""
    m, u = 0.0, None
    for t in count(1):
        g, _ = yield u
        m = decay * m + (1 - decay) * g
        u = m / (1 - decay**t) if debias else m


@array_oracle
def scale_by_rms(decay=0.9, eps=1e-8, initial_scale=0.0, eps_in_sqrt=True, bias_correction=False):
    """Tieleman & Hinton 2012, lecture 6.5; catalogue A.2.5: ν ← β ν + (1 − β) |g|²; u = g / √(ν + ε), ε inside (S0:116, S2:45).

    `eps_in_sqrt=False`: g / (√ν + ε) (S3:11); "both": g / (√(ν + ε) + ε) (S1:49, neon).
    """
    nu, u = initial_scale, None
    for t in count(1):
        g, _ = yield u
        nu = decay * nu + (1 - decay) * abs2(g)
        nu_hat = nu / (1 - decay**t) if bias_correction else nu
        inside, outside = {True: (eps, 0.0), False: (0.0, eps), "both": (eps, eps)}[eps_in_sqrt]
        u = g / (np.sqrt(nu_hat + inside) + outside)


@array_oracle
def scale_by_rss(initial_accumulator_value=0.1, eps=1e-7, eps_in_sqrt=True):
    """Duchi et al. 2011, figure 1, diagonal; catalogue A.2.4: G ← G + |g|²; u = g / √(G + ε), and 0 where G = 0.

    The sum is taken first and its root divides (E1: S0:95 says "multiplies"; E2: S0:100 leaves G without its index).
    `eps_in_sqrt=False`: g / (√G + ε) (S2:39, S3:11).
    """
    G, u = initial_accumulator_value, None
    while True:
        g, _ = yield u
        G = G + abs2(g)
        denominator = np.sqrt(G + eps) if eps_in_sqrt else np.sqrt(G) + eps
        u = np.where(G == 0, 0.0, g / np.where(G == 0, 1.0, denominator))


@array_oracle
def scale_by_stddev(decay=0.9, eps=1e-8, initial_scale=0.0, eps_in_sqrt=True, bias_correction=False):
    """Graves 2013, arXiv:1308.0850, eqs. 38-40; catalogue A.2.5: u = g / √(ν − |µ|² + ε), ν and µ the EMAs of |g|² and g.

    E5: the difference of two rounded EMAs can be negative (S0:129). Here it never is: S is the weighted sum of squared
    deviations (West 1979; the weights sum to s = 1 − β^t and give the mean µ/s), whence ν = S + |µ|²/s, and

        ν − |µ|² = S + s (1 − s) |µ/s|²           debiased: ν/s − |µ/s|² = S/s
    """
    mean, S, u = 0.0, initial_scale, None
    for t in count(1):
        g, _ = yield u
        s = 1 - decay**t
        before, mean = mean, mean + (1 - decay) / s * (g - mean)
        S = decay * S + (1 - decay) * np.real((g - before) * np.conj(g - mean))
        variance = S / s if bias_correction else S + s * (1 - s) * abs2(mean)
        u = g / np.sqrt(variance + eps) if eps_in_sqrt else g / (np.sqrt(variance) + eps)


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
def scale_by_infinity_norm(decay=0.999, eps=1e-8):
    """The second line of Kingma & Ba 2015, Algorithm 2, alone (catalogue A.2.10): n ← max(β n, |g|); u = g / (n + ε)."""
    n, u = 0.0, None
    while True:
        g, _ = yield u
        n = np.maximum(decay * n, np.abs(g))
        u = g / (n + eps)


@array_oracle
def scale_by_adadelta(rho=0.9, eps=1e-6):
    """Zeiler 2012, arXiv:1212.5701, Algorithm 1; catalogue A.2.6.

    E[g²] ← ρ E[g²] + (1 − ρ) g²;  Δ = √(E[Δ²] + ε) / √(E[g²] + ε) g;  E[Δ²] ← ρ E[Δ²] + (1 − ρ) Δ²

    E9: one decay (S1:84 mixes λ and ρ); E13: the numerator is the RMS of the past Δ, not of g, and has an ε (S3:11).
    """
    Eg2, Edx2, u = 0.0, 0.0, None
    while True:
        g, _ = yield u
        Eg2 = rho * Eg2 + (1 - rho) * abs2(g)
        u = np.sqrt(Edx2 + eps) / np.sqrt(Eg2 + eps) * g
        Edx2 = rho * Edx2 + (1 - rho) * abs2(u)


@array_oracle
def scale_by_sign():
    """u = sign(g), and g / |g| for complex g; 0 at 0."""
    u = None
    while True:
        g, _ = yield u
        u = np.where(g == 0, 0.0, g / np.where(g == 0, 1.0, np.abs(g)))


@array_oracle
def scale_by_lion(b1=0.9, b2=0.99):
    """Chen et al. 2023, arXiv:2302.06675, Program 1: u = sign(β1 m + (1 − β1) g); then m ← β2 m + (1 − β2) g."""
    m, u = 0.0, None
    while True:
        g, _ = yield u
        u = np.sign(b1 * m + (1 - b1) * g)
        m = b2 * m + (1 - b2) * g


@array_oracle
def scale_by_trust_ratio(min_norm=0.0, trust_coefficient=1.0, eps=0.0):
    """You et al. 2017, arXiv:1708.03888, eq. 6, with both norms at least `min_norm`: u = η ‖w‖ / (‖g‖ + ε) g; 1 for 0/0 or x/0."""
    u = None
    while True:
        g, w = yield u
        norm_w, norm_g = max(norm(w), min_norm), max(norm(g), min_norm)
        u = g if norm_w == 0 or norm_g == 0 else trust_coefficient * norm_w / (norm_g + eps) * g


@array_oracle
def scale_by_factored_rms(factored=True, decay_rate=0.8, step_offset=0, min_dim_size_to_factor=128, epsilon=1e-30):
    """Adafactor, Shazeer & Stern 2018, arXiv:1804.04235, Algorithms 4 and 5 (β̂2 of section 7.2), without the clipping.

    β = 1 − (t − offset)^−decay;  R ← β R + (1 − β) Σ_cols (g² + ε);  C ← β C + (1 − β) Σ_rows (g² + ε)
    V_ij = R_i C_j / Σ_i R_i;  u = g / √V

    Rows and columns are the two largest dimensions (the last ones among equals), if both are at least `min_dim_size_to_factor`;
    other arrays keep V ← β V + (1 − β) (g² + ε). Before the offset is passed β is 0, as at the first step.
    """
    V, R, C, u = 0.0, 0.0, 0.0, None
    for t in count(1):
        g, _ = yield u
        beta = 1 - max(t - step_offset, 1) ** -decay_rate
        by_size = sorted(range(g.ndim), key=lambda i: (g.shape[i], i))
        if factored and g.ndim >= 2 and g.shape[by_size[-2]] >= min_dim_size_to_factor:
            row, column = by_size[-2:]
            R = beta * R + (1 - beta) * np.sum(abs2(g) + epsilon, axis=column, keepdims=True)
            C = beta * C + (1 - beta) * np.sum(abs2(g) + epsilon, axis=row, keepdims=True)
            V = R * C / np.sum(R, axis=row, keepdims=True)
        else:
            V = beta * V + (1 - beta) * (abs2(g) + epsilon)
        u = g / np.sqrt(V)


@array_oracle
def scale_by_param_block_rms(min_scale=1e-3):
    """Shazeer & Stern 2018, section 8 (relative step sizes): u = max(ε2, RMS(w)) g."""
    u = None
    while True:
        g, w = yield u
        u = max(rms(w), min_scale) * g


@array_oracle
def scale_by_param_block_norm(min_scale=1e-3):
    """u = max(ε, ‖w‖) g."""
    u = None
    while True:
        g, w = yield u
        u = max(norm(w), min_scale) * g


@array_oracle
def clip(max_delta):
    """Each element into [−d, d] (Mikolov 2012; S1:24, S3:18)."""
    u = None
    while True:
        g, _ = yield u
        u = np.minimum(np.maximum(g, -max_delta), max_delta)


@array_oracle
def clip_by_norm(max_norm):
    """Each array by its own norm (Keras `clipnorm`, S3:18; E16: the factor is min(1, c/‖g‖)): u = g min(1, c / ‖g‖)."""
    u = None
    while True:
        g, _ = yield u
        u = g if norm(g) <= max_norm else g * (max_norm / norm(g))


@array_oracle
def clip_by_block_rms(threshold):
    """Shazeer & Stern 2018, Algorithm 4 (update clipping): u = g / max(1, RMS(g) / d)."""
    u = None
    while True:
        g, _ = yield u
        u = g / max(1.0, rms(g) / threshold)


@oracle
def clip_by_global_norm(max_norm):
    """Pascanu et al. 2013, arXiv:1211.5063, Algorithm 1: u_i = g_i min(1, c / ‖g‖), ‖g‖² = Σ_i ‖g_i‖² (S1:24 with E16 mended)."""
    u = None
    while True:
        g, _ = yield u
        total = np.sqrt(sum(norm(g_i) ** 2 for g_i in g))
        u = [g_i if total <= max_norm else g_i * (max_norm / total) for g_i in g]


@array_oracle
def add_decayed_weights(weight_decay=0.0):
    """u = g + λ w (S0:46)."""
    u = None
    for k in count():
        g, w = yield u
        u = g + at(weight_decay, k) * w


@array_oracle
def centralize():
    """Yong et al. 2020, arXiv:2004.01461, eq. 1: from each slice g[i] of an array of two or more dimensions take its mean.

    The paper centres the weights into each output feature. Its arrays, like PyTorch's, have the outputs first; so has this.
    """
    u = None
    while True:
        g, _ = yield u
        u = g if g.ndim < 2 else np.stack([g_i - np.mean(g_i) for g_i in g])


@array_oracle
def zero_nans():
    """u = 0 where g is NaN, else g."""
    u = None
    while True:
        g, _ = yield u
        u = np.where(np.isnan(g), 0.0, g)
