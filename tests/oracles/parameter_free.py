"""Optimizers that find their own learning rate, from their papers. A step sees the whole list of leaves: norms are over all of it."""

from itertools import count

import numpy as np

from oracles._collect import abs2, at, oracle


def dot(x, y):
    """The real inner product over all leaves."""
    return sum(np.sum(np.real(np.conj(a) * b)) for a, b in zip(x, y, strict=True))


def norm2(x):
    return sum(np.sum(abs2(a)) for a in x)


def norm1(x):
    return sum(np.sum(np.abs(a)) for a in x)


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


def _dog(init_step, eps):
    """Ivgi et al. 2023, arXiv:2302.12022, eq. 1: η_t = max(r_ε, max_{i≤t} ‖x_i − x_0‖) / √(G_t + ε), G_t = Σ_{i≤t} ‖g_i‖².

    Section 4.1: r_ε = α (1 + ‖x_0‖). With ("learning_rate", η_0) the first step has η_0 and there is no r_ε.
    """
    kind, value = init_step
    x0, G, u = None, 0.0, None
    for t in count():
        g, x = yield u
        if x0 is None:
            x0, farthest = x, {"distance": value, "heuristic": value * (1 + np.sqrt(norm2(x))), "learning_rate": 0.0}[kind]
        farthest = max(farthest, np.sqrt(norm2([a - b for a, b in zip(x, x0, strict=True)])))
        G += norm2(g)
        eta = value if kind == "learning_rate" and t == 0 else farthest / np.sqrt(G + eps)
        u = [eta * y for y in g]


def _dowg(init_estim_sq_dist, eps):
    """Khaled et al. 2023, arXiv:2305.16284, Algorithm 1.

    r̄_t² = max(r̄_{t−1}², ‖x_t − x_0‖²);  v_t = v_{t−1} + r̄_t² ‖g_t‖²;  η_t = r̄_t² / √v_t (Optax: √v_t + ε)
    """
    r2, v, x0, u = eps if init_estim_sq_dist is None else init_estim_sq_dist, 0.0, None, None
    while True:
        g, x = yield u
        x0 = x if x0 is None else x0
        r2 = max(r2, norm2([a - b for a, b in zip(x, x0, strict=True)]))
        v += r2 * norm2(g)
        u = [r2 / (np.sqrt(v) + eps) * y for y in g]


@oracle
def scale_by_dog(init_step, eps=1e-8):
    return _dog(init_step, eps)


@oracle
def scale_by_dowg(init_estim_sq_dist=None, eps=1e-4):
    return _dowg(init_estim_sq_dist, eps)


def _descend(run, learning_rate, weight_decay):
    """x ← x − lr η g, with the decay coupled: g + λ x in the place of g."""
    u = next(run)
    for k in count():
        g, x = yield u
        direction = run.send(([a + (weight_decay or 0.0) * b for a, b in zip(g, x, strict=True)], x))
        u = [-at(learning_rate, k) * y for y in direction]


@oracle
def dog(learning_rate=1.0, init_step=("heuristic", 1e-6), eps=1e-8, weight_decay=None):
    return _descend(_dog(init_step, eps), learning_rate, weight_decay)


@oracle
def dowg(learning_rate=1.0, init_estim_sq_dist=None, eps=1e-4, weight_decay=None):
    return _descend(_dowg(init_estim_sq_dist, eps), learning_rate, weight_decay)


def _loss(value):
    """The loss that was passed at each leaf alike; 1, as in the registry's example, if none was."""
    return 1.0 if value[0] is None else float(value[0])


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
        f_bar = beta * f_bar + (1 - beta) * _loss(value)
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


def _free(step, learning_rate, b1, power):
    """Defazio et al. 2024, arXiv:2405.15682, equations 3 to 5: z, the average x, and the point y between them where g is taken.

    y = (1 − β) z + β x;  z' = z + step(g, y);  x' = (1 − c) x + c z',  c = w / Σw,  w = (max lr so far)^power (section 3).
    """
    z = x = u = None
    largest = total = 0.0
    for k in count():
        g, y = yield u
        z = y if z is None else z
        x = [(a - (1 - b1) * b) / b1 for a, b in zip(y, z, strict=True)]
        z = [a + b for a, b in zip(z, step(k, g, y), strict=True)]
        largest = max(largest, at(learning_rate, k))
        total += largest**power
        c = largest**power / total if total else 0.0
        x = [(1 - c) * a + c * b for a, b in zip(x, z, strict=True)]
        u = [(1 - b1) * b + b1 * a - old for a, b, old in zip(x, z, y, strict=True)]


def _warm(learning_rate, steps):
    return learning_rate if steps is None else lambda k: learning_rate * min(k / steps, 1.0)


@oracle
def schedule_free_sgd(learning_rate=1.0, warmup_steps=None, b1=0.9, weight_decay=None, weight_lr_power=2.0, state_dtype=None):
    """The paper's equation 4: z' = z − lr (g + λ y)."""
    rate = _warm(learning_rate, warmup_steps)
    step = lambda k, g, y: [-at(rate, k) * (a + (weight_decay or 0.0) * b) for a, b in zip(g, y, strict=True)]
    return _free(step, rate, b1, weight_lr_power)


@oracle
def schedule_free(base_optimizer=None, learning_rate=0.1, b1=0.9, weight_lr_power=2.0, state_dtype=None):
    """Around gradient descent with the same learning rate, the registry's example."""
    return schedule_free_sgd.__wrapped__(learning_rate, None, b1, None, weight_lr_power)


@oracle
def schedule_free_adamw(
    learning_rate=0.0025, warmup_steps=None, b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.0, weight_lr_power=2.0, state_dtype=None
):  # fmt: skip
    """The paper's Algorithm 1: z' = z − lr (g / (√v̂ + ε) + λ y). Its lr has the bias correction √(1 − β2^t) in it, ours v̂ has."""
    rate, v = _warm(learning_rate, warmup_steps), None

    def step(k, g, y):
        nonlocal v
        v = [b2 * a + (1 - b2) * abs2(b) for a, b in zip(v or [0.0] * len(g), g, strict=True)]
        root = [np.sqrt(a / (1 - b2 ** (k + 1))) + eps for a in v]
        return [-at(rate, k) * (a / b + weight_decay * c) for a, b, c in zip(g, root, y, strict=True)]

    return _free(step, rate, b1, weight_lr_power)


@oracle
def sam(optimizer=None, adv_optimizer=None, sync_period=2):
    """Foret et al. 2021, arXiv:2010.01412, Algorithm 1, w ← w − η g(w + ε̂), in two updates: ε̂ = 0.05 g, then back and down.

    The ascent is left without its norm and η = 0.1, as in the registry's example.
    """
    start, u = None, None
    for k in count():
        g, w = yield u
        if k % sync_period == 0:
            start = w
        last = k % sync_period == sync_period - 1
        u = [(a - 0.1 * y) - b if last else 0.05 * y for a, b, y in zip(start, w, g, strict=True)]


@oracle
def normalize():
    """Foret et al. 2021, equation 2 without ρ: g / ‖g‖."""
    u = None
    while True:
        g, _ = yield u
        u = [y / np.sqrt(norm2(g)) for y in g]


@oracle(extra="value")
def reduce_on_plateau(factor=0.1, patience=10, rtol=1e-4, atol=0.0, cooldown=0, accumulation_size=1, min_scale=0.0):
    """PyTorch's ReduceLROnPlateau for means of values: `patience` bad ones in a row, and the scale falls; not while it cools down.

    A value is good if it is below the best by rtol |best| + atol.
    """
    scale, best, bad, cooling, values, u = 1.0, np.inf, 0, 0, [], None
    while True:
        g, _, value = yield u
        values.append(_loss(value))
        if len(values) == accumulation_size:
            mean, values = np.mean(values), []
            good = best == np.inf or mean < best - rtol * abs(best) - atol
            best, bad = (mean, 0) if good else (best, bad + 1)
            if cooling:
                cooling, bad = cooling - 1, 0
            elif bad >= max(patience, 1):
                scale, bad, cooling = max(scale * factor, min_scale), 0, cooldown
        u = [scale * y for y in g]
