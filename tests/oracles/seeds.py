"""The rows of the founding documents that Optax has not, or has in another form (catalogue, sections A.1 and A.2.10-A.2.17)."""

from itertools import count

import numpy as np

from oracles._collect import abs2, array_oracle, at, norm


@array_oracle
def nadamax(learning_rate, b1=0.9, b2=0.999, eps=1e-8):
    """S3:13 names it without an equation; read by analogy (catalogue A.2.10): Nadam's numerator over Adamax's denominator.

    u = −lr (β1 m / (1 − β1^{t+1}) + (1 − β1) g / (1 − β1^t)) / (n + ε),  n ← max(β2 n, |g|)
    """
    m, n, u = 0.0, 0.0, None
    for t in count(1):
        g, _ = yield u
        m = b1 * m + (1 - b1) * g
        n = np.maximum(b2 * n, np.abs(g))
        m_bar = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
        u = -at(learning_rate, t - 1) * m_bar / (n + eps)


@array_oracle
def maxaprop(learning_rate, decay=0.9, eps=1e-8):
    """S3:13, by analogy (catalogue A.2.10): RMSProp with the infinity norm: n ← max(ν n, |g|); u = −lr g / (n + ε)."""
    n, u = 0.0, None
    for k in count():
        g, _ = yield u
        n = np.maximum(decay * n, np.abs(g))
        u = -at(learning_rate, k) * g / (n + eps)


@array_oracle
def sign_sgd(learning_rate):
    """Bernstein et al. 2018, arXiv:1802.04434, Algorithm 1; S0:211: u = −lr sign(g)."""
    u = None
    for k in count():
        g, _ = yield u
        u = -at(learning_rate, k) * np.sign(g)


@array_oracle
def signum(learning_rate, beta=0.9, weight_decay=0.0):
    """Bernstein et al. 2018, Algorithm 2; S0:215: v ← γ v + (1 − γ) g; u = −lr (sign(v) + λ w), λ being MXNet's `wd_lh`."""
    v, u = 0.0, None
    for k in count():
        g, w = yield u
        v = beta * v + (1 - beta) * g
        u = -at(learning_rate, k) * (np.sign(v) + at(weight_decay, k) * w)


@array_oracle
def lars(learning_rate, weight_decay=0.0, trust_coefficient=0.001, eps=0.0, momentum=0.9, nesterov=False):
    """You et al. 2017, arXiv:1708.03888, Algorithm 1, with Optax's trust ratio η ‖w‖ / (‖g + λ w‖ + ε); 1 where a norm is 0.

    d = −lr ratio (g + λ w);  v ← m v + d;  u = v   (Nesterov: d + m v)

    The paper's denominator is ‖g‖ + λ ‖w‖: that is `mxnet.lars` (catalogue A.2.17).
    """
    v, u = 0.0, None
    for k in count():
        g, w = yield u
        r = g + at(weight_decay, k) * w
        ratio = 1.0 if norm(w) == 0 or norm(r) == 0 else trust_coefficient * norm(w) / (norm(r) + eps)
        d = -at(learning_rate, k) * ratio * r
        v = momentum * v + d
        u = d + momentum * v if nesterov else v


@array_oracle
def lans(learning_rate, b1=0.9, b2=0.999, eps=1e-6, weight_decay=0.0, lower_bound=None, upper_bound=None):
    """Zheng et al. 2020, arXiv:2006.13484, Algorithm 2.

    g̃ = g / ‖g‖;  m, v ← the EMAs of g̃, g̃²;  r = m̂ / (√v̂ + ε) + λ w;  c = g̃ / (√v̂ + ε) + λ w
    u = −lr φ(‖w‖) (β1 r / ‖r‖ + (1 − β1) c / ‖c‖),  φ(z) = min(max(z, γ_l), γ_u);  a ratio φ/‖·‖ is 1 where either is 0
    """
    m, v, u = 0.0, 0.0, None
    for t in count(1):
        g, w = yield u
        g = g / norm(g) if norm(g) > 0 else g
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * abs2(g)
        denominator = np.sqrt(v / (1 - b2**t)) + eps
        r = m / (1 - b1**t) / denominator + at(weight_decay, t - 1) * w
        c = g / denominator + at(weight_decay, t - 1) * w
        phi = norm(w) if lower_bound is None else max(norm(w), lower_bound)
        phi = phi if upper_bound is None else min(phi, upper_bound)
        ratio_r, ratio_c = (1.0 if phi == 0 or norm(x) == 0 else phi / norm(x) for x in (r, c))
        u = -at(learning_rate, t - 1) * (b1 * ratio_r * r + (1 - b1) * ratio_c * c)


@array_oracle
def scale_by_belief(b1=0.9, b2=0.999, eps=1e-16, eps_root=1e-16, nesterov=False):
    """Zhuang et al. 2020, arXiv:2010.07468, Algorithm 2: s ← β2 s + (1 − β2) |g − m|² + ε_s; u = m̂ / (√ŝ + ε), m the new one.

    The paper has one ε for both places. Nesterov as in `scale_by_adam`.
    """
    m, s, u = 0.0, 0.0, None
    for t in count(1):
        g, _ = yield u
        m = b1 * m + (1 - b1) * g
        s = b2 * s + (1 - b2) * abs2(g - m) + eps_root
        m_hat = m / (1 - b1**t)
        if nesterov:
            m_hat = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
        u = m_hat / (np.sqrt(s / (1 - b2**t)) + eps)


@array_oracle
def adabelief(learning_rate, b1=0.9, b2=0.999, eps=1e-16, eps_root=1e-16, nesterov=False):
    """Zhuang et al. 2020, arXiv:2010.07468, Algorithm 2: −lr times `scale_by_belief`."""
    direction, u = scale_by_belief.__wrapped__(b1, b2, eps, eps_root, nesterov), None
    next(direction)
    for k in count():
        g, w = yield u
        u = -at(learning_rate, k) * direction.send((g, w))


@array_oracle
def group_adagrad(learning_rate, initial_accumulator_value=0.0, eps=1e-6):
    """AdaGrad with one rate per row (MXNet 2, catalogue A.2.17): h ← h + mean over a row of |g|²; u = −lr g / (√h + ε).

    A row is g[i]; an array of fewer than two dimensions has rows of one element. 0 where h = 0.
    """
    h, u = initial_accumulator_value, None
    for k in count():
        g, _ = yield u
        h = h + np.mean(abs2(g), axis=tuple(range(1, g.ndim)), keepdims=True)
        u = -at(learning_rate, k) * np.where(h == 0, 0.0, g / np.where(h == 0, 1.0, np.sqrt(h) + eps))


@array_oracle(extra="delayed_params")
def dcasgd(learning_rate, momentum=0.0, lamda=0.04):
    """Zheng et al. 2017, arXiv:1609.08326, eq. 10; S0:247: d = g + λ |g|² (w − w_bak); m ← γ m − lr d; u = m.

    g was computed at w_bak = `delayed_params`; without it w_bak is the previous iterate (at the first update w itself).
    """
    m, w_before, u = 0.0, None, None
    for k in count():
        g, w, w_bak = yield u
        if w_bak is None:
            w_bak = w if w_before is None else w_before
        d = g + lamda * abs2(g) * (w - w_bak)
        u = m = momentum * m - at(learning_rate, k) * d
        w_before = w


@array_oracle
def ftrl(learning_rate, l1=0.0, l2=0.0, beta=1.0, initial_accumulator_value=0.0):
    """McMahan et al. 2013, "Ad click prediction", Algorithm 1; catalogue A.2.14.

    σ = (√(n + g²) − √n) / lr;  z ← z + g − σ w;  n ← n + g²
    w' = 0 where |z| ≤ λ1, else −(z − sign(z) λ1) / ((β + √n) / lr + λ2);  u = w' − w

    E3: S0:271 drops "+ g" and flips the sign of σ w (it never leaves 0). E12: the sum in S0:265 is over g_j.
    """
    z, n, u = 0.0, initial_accumulator_value, None
    for k in count():
        g, w = yield u
        alpha = at(learning_rate, k)
        sigma = (np.sqrt(n + abs2(g)) - np.sqrt(n)) / alpha
        z = z + g - sigma * w
        n = n + abs2(g)
        new_w = np.where(np.abs(z) <= l1, 0.0, -(z - np.sign(z) * l1) / ((beta + np.sqrt(n)) / alpha + l2))
        u = new_w - w


@array_oracle
def ftml(learning_rate=0.0025, b1=0.6, b2=0.999, eps=1e-8):
    """Zheng & Kwok 2017, "Follow the moving leader", Algorithm 1; S0:289-292, S4:11 (E12: g_j under the sum in S0:283).

    v ← β2 v + (1 − β2) g²;  d_t = (1 − β1^t) / lr (√(v / (1 − β2^t)) + ε)
    z ← β1 z + (1 − β1) g − (d_t − β1 d_{t−1}) w;  w' = −z / d_t;  u = w' − w
    """
    v, d, z, u = 0.0, 0.0, 0.0, None
    for t in count(1):
        g, w = yield u
        v = b2 * v + (1 - b2) * abs2(g)
        d_before, d = d, (1 - b1**t) / at(learning_rate, t - 1) * (np.sqrt(v / (1 - b2**t)) + eps)
        z = b1 * z + (1 - b1) * g - (d - b1 * d_before) * w
        u = -z / d - w


@array_oracle(extra="noise")
def sgld(learning_rate, temperature=1.0, preconditioner_decay=None, eps=1e-5):
    """Welling & Teh 2011, eq. 4; S0:310 (E17: S0:314 credits the Riemannian variant's authors): u = −lr/2 g + √(lr T) ξ.

    `noise` is ξ ~ N(0, 1), one array per leaf; without it u is the deterministic part. With `preconditioner_decay` = α, Li et
    al. 2016, arXiv:1512.07666, Algorithm 1 without the curvature term: V ← α V + (1 − α) g²; G = 1 / (ε + √V);
    u = −lr/2 G g + √(lr T G) ξ.
    """
    V, u = 0.0, None
    for k in count():
        g, _, noise = yield u
        G = 1.0
        if preconditioner_decay is not None:
            V = preconditioner_decay * V + (1 - preconditioner_decay) * abs2(g)
            G = 1 / (eps + np.sqrt(V))
        lr = at(learning_rate, k)
        u = -lr / 2 * G * g + (0.0 if noise is None else np.sqrt(lr * temperature * G) * noise)
