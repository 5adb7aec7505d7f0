"""Transcriptions of `psgd_kron`, `scale_by_psgd_kron` and `psgd_gap`."""

from itertools import count

import numpy as np

from oracles._arithmetic import rms
from oracles._collect import array_oracle
from oracles._matrices import along, blocks, decoupled, due, gram, pseudonormal, unfolded

TINY = np.finfo(np.float64).tiny


def psgd_gap(least=1.0, most=1 / 0.03, flat=500, rate=1e-3):
    """Updates from one refresh of Q to the next: e^(`rate` (t − `flat`)), at least `least` and at most `most`, t = k + 1."""
    return lambda k: min(max(np.exp(rate * (k + 1 - flat)), least), most)


@array_oracle
def psgd_kron(
    learning_rate, b1=0.9, precond_lr=0.1, weight_decay=0.0, form="pro", whiten="momentum", init_scale=1.0, clip_rms=1.1,
    clip_value=None, diagonal=None, max_precond_dim=8192, max_skew=1.0, block_size=None, merge_dims=None, every=None, start=None,
    balance_every=100, key=0, sampler=pseudonormal,
):  # fmt: skip
    """Li 2015, 2018, 2024 (arXiv:1512.04202, 1809.10232, 2402.11858): u = P m̂, P = ⊗ Q_kᵀ Q_k; leaves of any number of axes.

    m ← β₁ m + (1 − β₁) g;  m̂ = m / (1 − β₁ᵗ);  where a refresh is due, Q is updated before use, on x = m̂ (`whiten`="gradient": g).
    u = m̂ times Q_kᵀ Q_k along every axis;  u / max(1, rms(u) / `clip_rms`);  each element within ±`clip_value`
    Q_k = `init_scale`^(1/order) I at first. Every `balance_every`-th update of Q scales each Q_k to the geometric mean of max |Q_k|.

    A Q_k is diagonal for an axis of length 1 or longer than `max_precond_dim`; with `diagonal` "all", or "largest" for the longest
    (of equals the last); in `_triangular` for vectors; in `_pro` where d² > `max_skew` (size of the array).
    `sampler(key, shape, dtype)` gives the normal numbers. A number is a vector of length 1.
    """
    arguments = b1, precond_lr, form, whiten, init_scale, clip_rms, clip_value, diagonal, max_precond_dim, max_skew
    every = psgd_gap() if every is None else every
    run = lambda: _psgd_kron(*arguments, every, start, balance_every, lambda shape: sampler(key, shape, np.float64))
    return decoupled(blocks(run, block_size, merge_dims), learning_rate, weight_decay)


@array_oracle
def scale_by_psgd_kron(*args, **kwargs):
    """The direction alone, uphill: the arguments of `psgd_kron` but for the rate and the decay."""
    return psgd_kron.__wrapped__(-1.0, *args, weight_decay=0.0, **kwargs)


def _psgd_kron(
    b1, precond_lr, form, whiten, init_scale, clip_rms, clip_value, diagonal, max_precond_dim, max_skew, every, start, balance_every,
    normal,
):  # fmt: skip
    m, Q, updates, since, u = 0.0, None, 0, 0, None
    for t in count(1):
        g, _ = yield u
        shape, g = g.shape, g.reshape(g.shape or (1,))
        if Q is None:
            Q = _first(g, form, init_scale, diagonal, max_precond_dim, max_skew)
            ell = [0.0] * g.ndim
        m = b1 * m + (1 - b1) * g
        m_hat = m / (1 - b1**t)
        since += 1
        if due(t, since, every, start):
            since, updates = 0, updates + 1
            x = m_hat if whiten == "momentum" else g
            balance = updates % balance_every == 0
            if form == "triangular":
                Q = _balanced(Q) if balance else Q
                Q = _triangular(Q, x, precond_lr, normal)
            else:
                Q, ell = _pro(Q, ell, x, precond_lr, normal)
                Q = _balanced(Q) if balance else Q
        u = _preconditioned(Q, m_hat)
        if clip_rms is not None:
            u = u / max(1.0, rms(u) / clip_rms)
        if clip_value is not None:
            u = np.clip(u, -clip_value, clip_value)
        u = u.reshape(shape)


def _first(g, form, init_scale, diagonal, max_precond_dim, max_skew):
    longest = max(k for k, d in enumerate(g.shape) if d == max(g.shape))
    Q = []
    for k, d in enumerate(g.shape):
        diagonal_too = g.ndim < 2 if form == "triangular" else d**2 > max_skew * g.size
        named = diagonal == "all" or (diagonal == "largest" and k == longest)
        is_diagonal = d == 1 or d > max_precond_dim or named or diagonal_too
        Q.append(init_scale ** (1 / g.ndim) * (np.ones(d) if is_diagonal else np.eye(d)))
    return Q


def _balanced(Q):
    sizes = [np.max(np.abs(q)) for q in Q]
    return [q * np.prod(sizes) ** (1 / len(Q)) / size for q, size in zip(Q, sizes, strict=True)]


def _preconditioned(Q, x):
    for k, q in enumerate(Q):
        x = along(x, q**2 if q.ndim == 1 else q.T @ q, k)
    return x


def _triangular(Q, x, precond_lr, normal):
    """Li 2018: upper triangular Q. All axes from the old Q.

    x + √(2⁻²³) mean|x| v, v normal;  A = x times Q_k along every axis, B = v times Q_k⁻ᵀ
    Q_k ← Q_k − lr triu(A_(k) A_(k)ᵀ − B_(k) B_(k)ᵀ) Q_k / ‖A_(k) A_(k)ᵀ + B_(k) B_(k)ᵀ‖, a lower bound of the spectral norm
    """
    v = normal(x.shape)
    A, B = x + np.sqrt(2.0**-23) * np.mean(np.abs(x)) * v, v
    for k, q in enumerate(Q):
        A = along(A, q, k)
        B = along(B, 1 / q if q.ndim == 1 else np.linalg.inv(q).T, k)
    new = []
    for k, q in enumerate(Q):
        if q.ndim == 1:
            S, T = np.sum(unfolded(A, k) ** 2, axis=1), np.sum(unfolded(B, k) ** 2, axis=1)
            new.append(q - precond_lr * (S - T) * q / max(np.max(S + T), TINY))
        else:
            S, T = gram(A, k), gram(B, k)
            new.append(q - precond_lr * np.triu(S - T) @ q / max(_from_longest_column(S + T), TINY))
    return new


def _from_longest_column(T):
    """‖T y‖ / ‖y‖ for y = T x, x the longest column of T."""
    x = T[:, np.argmax(np.sum(T**2, axis=0))]
    y = T.T @ x
    return np.sqrt(np.sum((T @ y) ** 2)) / max(np.sqrt(np.sum(y**2)), TINY)


def _pro(Q, ell, x, precond_lr, normal):
    """Li 2025, dQ = Q^½ E Q^1.5 with a Procrustes step: no inverse, Q nearly symmetric.

    p = P (x + (1e-9 + ϵ |x|) v), v normal, ϵ = 2⁻⁵²;  T = p_(k) p_(k)ᵀ, c = size / d_k
    ℓ = ‖T‖ + c;  L_k ← max(0.9 L_k + 0.1 ℓ, ℓ);  Q_k ← Q_k − lr / L_k (T Q_k − c Q_k)
    and then `_rotated`
    """
    p = _preconditioned(Q, x + (1e-9 + np.finfo(np.float64).eps * np.abs(x)) * normal(x.shape))
    Q, ell = list(Q), list(ell)
    for k, q in enumerate(Q):
        T, c = gram(p, k), x.size / x.shape[k]
        size = np.max(np.diag(T)) if q.ndim == 1 else _estimated_norm(T, np.max(np.diag(T)), normal)
        ell[k] = max(0.9 * ell[k] + 0.1 * (size + c), size + c)
        if q.ndim == 1:
            Q[k] = q * (1 - precond_lr / ell[k] * (np.diag(T) - c))
            continue
        Q[k] = _rotated(q - precond_lr / ell[k] * (T @ q - c * q), normal)
    return Q, ell


def _rotated(q, normal):
    """Q ← Q + a (R Q + a/2 R R Q) = e^(aR) Q + O(a³), R = Qᵀ − Q, divided by ‖R‖: one step towards a symmetric Q.

    a = −tr(R Q) / tr(R R Q), which makes the trace largest, at most 1/8; 1/8 where tr(R R Q) ≥ 0.
    """
    R = q.T - q
    R = R / (_estimated_norm(R, np.max(np.abs(R)), normal) + TINY)
    first, second = np.trace(R @ q), np.trace(R @ R @ q)
    a = min(-first / second, 1 / 8) if second < 0 else 1 / 8
    return q + a * (R @ q + a / 2 * R @ R @ q)


def _estimated_norm(A, largest, normal):
    """The longest of 32 vectors after two half iterations with A / `largest`, from normal ones turned towards its longest row."""
    A = A / (largest + TINY)
    row = A[np.argmax(np.sum(A**2, axis=1))]
    V = normal((32, len(A)))
    V = row + np.sign(np.sum(row * V, axis=1, keepdims=True)) * V
    for _ in range(2):
        V = V @ A
        V = V / (np.sqrt(np.sum(V**2, axis=1, keepdims=True)) + TINY)
        V = V @ A
    return largest * np.max(np.sqrt(np.sum(V**2, axis=1)))
