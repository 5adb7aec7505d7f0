"""The common optimizers, with the learning rate and the sign: `w + u` is the paper's next iterate."""

from itertools import count

import numpy as np

from oracles._collect import abs2, array_oracle, at, norm, rms


@array_oracle
def sgd(learning_rate, momentum=None, nesterov=False, dampening=0.0):
    """Robbins & Monro 1951, Polyak 1964; the learning rate outside the velocity (catalogue A.2.2, S3:11): m ← µ m + g; u = −lr m.

    Nesterov (A.2.3): u = −lr (g + µ m). Dampening as in PyTorch's documented algorithm: m ← g at the first update, then
    m ← µ m + (1 − τ) g.
    """
    m, u = 0.0, None
    for k in count():
        g, _ = yield u
        m = g if momentum is None or k == 0 else momentum * m + (1 - dampening) * g
        u = -at(learning_rate, k) * (g + momentum * m if nesterov and momentum is not None else m)


@array_oracle
def adam(learning_rate, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, nesterov=False):
    """Kingma & Ba 2015, arXiv:1412.6980, Algorithm 1; S0:162-166; E7 and E8 mended: both corrections, each with its own β^t."""
    m, v, u = 0.0, 0.0, None
    for t in count(1):
        g, _ = yield u
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * abs2(g)
        m_hat, v_hat = m / (1 - b1**t), v / (1 - b2**t)
        if nesterov:  # Dozat 2016, see `nadam`
            m_hat = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
        u = -at(learning_rate, t - 1) * m_hat / (np.sqrt(v_hat + eps_root) + eps)


@array_oracle
def adamw(learning_rate, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, weight_decay=1e-4, nesterov=False):
    """Loshchilov & Hutter 2019, arXiv:1711.05101, Algorithm 2, the decay scaled by the learning rate (PyTorch, Optax).

    w ← w − lr (m̂ / (√(v̂ + ε_root) + ε) + λ w); the form of m̂ with `nesterov` is the one of `nadam`.
    """
    m, v, u = 0.0, 0.0, None
    for t in count(1):
        g, w = yield u
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * abs2(g)
        m_hat, v_hat = m / (1 - b1**t), v / (1 - b2**t)
        if nesterov:
            m_hat = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
        u = -at(learning_rate, t - 1) * (m_hat / (np.sqrt(v_hat + eps_root) + eps) + at(weight_decay, t - 1) * w)


@array_oracle
def nadam(learning_rate, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, nesterov=True, momentum_decay=None):
    """Dozat 2016, "Incorporating Nesterov momentum into Adam"; catalogue A.2.9.

    m̄ = µ_{t+1} m / (1 − Π^{t+1} µ) + (1 − µ_t) g / (1 − Π^t µ);  u = −lr m̄ / (√(v̂ + ε_root) + ε)

    µ_t = β1 without `momentum_decay` (Optax), else β1 (1 − ½ 0.96^{t ψ}) with ψ = `momentum_decay` (PyTorch's NAdam, MXNet).
    E4: S0:185 looks ahead uphill. E19: the product of the µ advances once per step (MXNet: once per parameter tensor).
    """
    mu = (lambda t: b1) if momentum_decay is None else (lambda t: b1 * (1 - 0.5 * 0.96 ** (t * momentum_decay)))
    m, v, product, u = 0.0, 0.0, 1.0, None
    for t in count(1):
        g, _ = yield u
        product *= mu(t)
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * abs2(g)
        m_bar = m / (1 - b1**t)
        if nesterov:
            m_bar = mu(t + 1) * m / (1 - product * mu(t + 1)) + (1 - mu(t)) * g / (1 - product)
        u = -at(learning_rate, t - 1) * m_bar / (np.sqrt(v / (1 - b2**t) + eps_root) + eps)


@array_oracle
def nadamw(learning_rate, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, weight_decay=1e-4, nesterov=True):
    """Dozat 2016 with the decoupled decay of Loshchilov & Hutter 2019."""
    return adamw.__wrapped__(learning_rate, b1, b2, eps, eps_root, weight_decay, nesterov)


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
def adagrad(learning_rate, initial_accumulator_value=0.1, eps=1e-7, eps_in_sqrt=True):
    """Duchi et al. 2011, figure 1, diagonal; catalogue A.2.4 (E1, E2 mended): G ← G + g²; u = −lr g / √(G + ε), 0 where G = 0.

    `eps_in_sqrt=False`: −lr g / (√G + ε) (S2:39, S3:11, MXNet 2).
    """
    G, u = initial_accumulator_value, None
    for k in count():
        g, _ = yield u
        G = G + abs2(g)
        root = np.sqrt(G + eps) if eps_in_sqrt else np.sqrt(G) + eps
        u = -at(learning_rate, k) * np.where(G == 0, 0.0, g / np.where(G == 0, 1.0, root))


@array_oracle
def adadelta(learning_rate=1.0, rho=0.9, eps=1e-6, weight_decay=0.0):
    """Zeiler 2012, arXiv:1212.5701, Algorithm 1, from the gradient of f + λ‖w‖²/2; E9, E13 mended (catalogue A.2.6).

    The paper has no learning rate; it is 1 by default, and the update descends. Δ is accumulated before it is multiplied by lr.
    """
    Eg2, Edx2, u = 0.0, 0.0, None
    for k in count():
        g, w = yield u
        g = g + at(weight_decay, k) * w
        Eg2 = rho * Eg2 + (1 - rho) * abs2(g)
        dx = -np.sqrt(Edx2 + eps) / np.sqrt(Eg2 + eps) * g
        Edx2 = rho * Edx2 + (1 - rho) * abs2(dx)
        u = at(learning_rate, k) * dx


@array_oracle
def rmsprop(
    learning_rate, decay=0.9, eps=1e-8, initial_scale=0.0, eps_in_sqrt=True, centered=False, momentum=None, nesterov=False,
    bias_correction=False,
):  # fmt: skip
    """Tieleman & Hinton 2012; centred and with momentum: Graves 2013, arXiv:1308.0850, eqs. 38-41; catalogue A.2.5.

    ν ← β ν + (1 − β) g²;  µ ← β µ + (1 − β) g;  v ← γ v − lr g / √(ν − µ² + ε);  u = v   (Nesterov: u = γ v + the last term)

    Without `centered` µ is absent. E5: the difference is computed so that it cannot go negative, as in `scale_by_stddev`.
    E11: ν and v are kept (S2:63 never stores them). `eps_in_sqrt=False`: √(·) + ε; "both": √(· + ε) + ε (neon).
    """
    nu, mean, S, v, u = initial_scale, 0.0, initial_scale, 0.0, None
    inside, outside = {True: (eps, 0.0), False: (0.0, eps), "both": (eps, eps)}[eps_in_sqrt]
    for k in count():
        g, _ = yield u
        s = 1 - decay ** (k + 1)
        nu = decay * nu + (1 - decay) * abs2(g)
        before, mean = mean, mean + (1 - decay) / s * (g - mean)
        S = decay * S + (1 - decay) * np.real((g - before) * np.conj(g - mean))
        second = nu / s if bias_correction else nu
        if centered:
            second = S / s if bias_correction else S + s * (1 - s) * abs2(mean)
        du = -at(learning_rate, k) * g / (np.sqrt(second + inside) + outside)
        v = du if momentum is None else momentum * v + du
        u = du + momentum * v if nesterov and momentum is not None else v


@array_oracle
def lion(learning_rate, b1=0.9, b2=0.99, weight_decay=1e-3):
    """Chen et al. 2023, arXiv:2302.06675, Algorithm 2: c = β1 m + (1 − β1) g; u = −lr (sign(c) + λ w); m ← β2 m + (1 − β2) g."""
    m, u = 0.0, None
    for k in count():
        g, w = yield u
        c = b1 * m + (1 - b1) * g
        u = -at(learning_rate, k) * (np.sign(c) + at(weight_decay, k) * w)
        m = b2 * m + (1 - b2) * g


@array_oracle
def lamb(
    learning_rate, b1=0.9, b2=0.999, eps=1e-6, eps_root=0.0, weight_decay=0.0, lower_bound=None, upper_bound=None,
    bias_correction=True,
):  # fmt: skip
    """You et al. 2020, arXiv:1904.00962, Algorithm 2; bounds and switch as in MXNet (catalogue A.2.17).

    r = m̂ / (√v̂ + ε);  u = −lr φ(‖w‖) / ‖r + λ w‖ (r + λ w);  φ(z) = min(max(z, γ_l), γ_u); the ratio is 1 where a norm is 0
    """
    m, v, u = 0.0, 0.0, None
    for t in count(1):
        g, w = yield u
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * abs2(g)
        m_hat, v_hat = (m / (1 - b1**t), v / (1 - b2**t)) if bias_correction else (m, v)
        r = m_hat / (np.sqrt(v_hat + eps_root) + eps) + at(weight_decay, t - 1) * w
        phi = norm(w)
        phi = phi if lower_bound is None else max(phi, lower_bound)
        phi = phi if upper_bound is None else min(phi, upper_bound)
        ratio = 1.0 if phi == 0 or norm(r) == 0 else phi / norm(r)
        u = -at(learning_rate, t - 1) * ratio * r


@array_oracle
def adafactor(
    learning_rate=None, min_dim_size_to_factor=128, decay_rate=0.8, decay_offset=0, multiply_by_parameter_scale=True,
    clipping_threshold=1.0, momentum=None, weight_decay_rate=None, eps=1e-30, factored=True,
):  # fmt: skip
    """Shazeer & Stern 2018, arXiv:1804.04235, Algorithms 4 and 5; the order of the optional parts is Optax's.

    U = g / √V (V as in `scale_by_factored_rms`);  Û = U / max(1, RMS(U) / d);  α = max(10⁻³, RMS(w)) lr
    U' = α Û, or its EMA without bias correction;  u = −(U' + λ w), λ not scaled by lr
    """
    V, R, C, m, u = 0.0, 0.0, 0.0, 0.0, None
    for t in count(1):
        g, w = yield u
        beta = 1 - max(t - decay_offset, 1) ** -decay_rate
        by_size = sorted(range(g.ndim), key=lambda i: (g.shape[i], i))
        if factored and g.ndim >= 2 and g.shape[by_size[-2]] >= min_dim_size_to_factor:
            row, column = by_size[-2:]
            R = beta * R + (1 - beta) * np.sum(abs2(g) + eps, axis=column, keepdims=True)
            C = beta * C + (1 - beta) * np.sum(abs2(g) + eps, axis=row, keepdims=True)
            V = R * C / np.sum(R, axis=row, keepdims=True)
        else:
            V = beta * V + (1 - beta) * (abs2(g) + eps)
        U = g / np.sqrt(V)
        if clipping_threshold is not None:
            U = U / max(1.0, rms(U) / clipping_threshold)
        if learning_rate is not None:
            U = at(learning_rate, t - 1) * U
        if multiply_by_parameter_scale:
            U = max(1e-3, rms(w)) * U
        if momentum is not None:
            U = m = momentum * m + (1 - momentum) * U
        u = -(U + (0.0 if weight_decay_rate is None else at(weight_decay_rate, t - 1) * w))


@array_oracle
def muon(
    learning_rate, ns_coeffs=(3.4445, -4.7750, 2.0315), ns_steps=5, beta=0.95, eps=1e-8, weight_decay=0.0, nesterov=True,
    adaptive=False, adam_b1=0.9, adam_b2=0.999, adam_eps_root=0.0, adam_weight_decay=0.0, adam_learning_rate=None,
    consistent_rms=None,
):  # fmt: skip
    """Jordan et al. 2024, kellerjordan.github.io/posts/muon, for matrices; AdamW (with the same ε and `nesterov`) for the rest.

    m ← β m + (1 − β) g;  m̄ = β m / (1 − β^{t+1}) + (1 − β) g / (1 − β^t)   (not `nesterov`: m / (1 − β^t))
    X = m̄ / (‖m̄‖_F + ε);  five times  X ← a X + (b A + c A²) X,  A = X Xᵀ
    u = −lr (√max(1, fan_out / fan_in) X + λ w),  fan_in = shape[0], fan_out = shape[1]

    `consistent_rms`: the factor √max(fan_in, fan_out) ρ in its place (Liu et al. 2025, arXiv:2502.16982, eq. 4).
    `adaptive`: times the dual norm <m̄, X> (Bernstein & Newhouse 2024, arXiv:2409.20325).
    """
    m, u = 0.0, None
    adam_rate = learning_rate if adam_learning_rate is None else adam_learning_rate
    for_the_rest = adamw.__wrapped__(adam_rate, adam_b1, adam_b2, eps, adam_eps_root, adam_weight_decay, nesterov)
    next(for_the_rest)
    for t in count(1):
        g, w = yield u
        if g.ndim != 2:
            u = for_the_rest.send((g, w))
            continue
        m = beta * m + (1 - beta) * g
        m_bar = beta * m / (1 - beta ** (t + 1)) + (1 - beta) * g / (1 - beta**t) if nesterov else m / (1 - beta**t)
        X = m_bar / (norm(m_bar) + eps)
        coefficients = np.atleast_2d(ns_coeffs)
        for a, b, c in coefficients if len(coefficients) > 1 else np.tile(coefficients, (ns_steps, 1)):
            A = X @ X.conj().T
            X = a * X + (b * A + c * A @ A) @ X
        if adaptive:
            X = np.sum(m_bar.conj() * X) * X
        fan_in, fan_out = g.shape
        factor = np.sqrt(max(1, fan_out / fan_in) if consistent_rms is None else max(fan_in, fan_out)) * (consistent_rms or 1.0)
        u = -at(learning_rate, t - 1) * (factor * X + at(weight_decay, t - 1) * w)
