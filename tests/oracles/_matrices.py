"""What the transcriptions of matrix optimizers share.

The papers' W is (m outputs, n inputs); a leaf with two axes is (inputs, outputs), so that W is its transpose.
"""

from itertools import count, product

import numpy as np

from oracles._adam import adamw
from oracles._arithmetic import at, norm

TABLES = {
    "standard": [(3.4445, -4.7750, 2.0315)],
    "dion": [
        (4.0848, -6.8946, 2.9270), (3.9505, -6.3029, 2.6377), (3.7418, -5.5913, 2.3037), (2.8769, -3.1427, 1.2046),
        (2.8366, -3.0525, 1.2012),
    ],
    "polar_express": [
        (8.28721201814563, -23.595886519098837, 17.300387312530933), (4.107059111542203, -2.9478499167379106, 0.5448431082926601),
        (3.9486908534822946, -2.908902115962949, 0.5518191394370137), (3.3184196573706015, -2.488488024314874, 0.51004894012372),
        (2.300652019954817, -1.6689039845747493, 0.4188073119525673), (1.891301407787398, -1.2679958271945868, 0.37680408948524835),
        (1.8750014808534479, -1.2500016453999487, 0.3750001645474248), (1.875, -1.25, 0.375),
    ],
    "deepseek_v4": 8 * [(3.4445, -4.7750, 2.0315)] + 2 * [(2.0, -1.5, 0.5)],
    "cans": [
        (8.4703, -25.1081, 18.6293), (4.1828, -3.1087, 0.5806), (3.9619, -2.9541, 0.5630), (3.2866, -2.4647, 0.5074),
        (2.2737, -1.6447, 0.4162),
    ],
    "cubic": [
        (3.3656576, -3.3420992, 0.0), (2.5744352, -1.4957376, 0.0), (2.5368962, -1.4312570, 0.0), (2.4418906, -1.2764040, 0.0),
        (2.2230472, -0.9630650, 0.0),
    ],
    "turbo": [
        (4.0098, -7.0585, 2.4635), (3.4585, -5.5479, 2.5959), (2.7573, -3.2939, 1.4254), (2.7215, -3.0494, 1.3169),
    ],
    "dion2": [
        (8.1566, -22.4833, 15.8788), (4.0429, -2.8089, 0.5000), (3.8917, -2.7725, 0.5061), (3.2858, -2.3681, 0.4645),
        (2.3465, -1.7098, 0.4232),
    ],
}  # fmt: skip
"""Catalogue A0: rows (a, b, c) of X ← a X + (b A + c A²) X, A = X Xᵀ."""


def rows(ns_coeffs, ns_steps):
    """One row per iteration. A table with several is used whole, but for "polar_express": its first `ns_steps`, the last repeated.

    Of "polar_express", all rows but the last of the table carry the paper's safety: a / 1.01, b / 1.01³, c / 1.01⁵.
    """
    if isinstance(ns_coeffs, str) and ns_coeffs == "polar_express":
        table = [(a / 1.01, b / 1.01**3, c / 1.01**5) for a, b, c in TABLES[ns_coeffs][:-1]] + TABLES[ns_coeffs][-1:]
        return [table[min(k, len(table) - 1)] for k in range(ns_steps)]
    table = np.atleast_2d(TABLES[ns_coeffs] if isinstance(ns_coeffs, str) else ns_coeffs)
    return [tuple(row) for row in (table if len(table) > 1 else np.repeat(table, ns_steps, axis=0))]


def orthogonalized(G, ns_coeffs, ns_steps=5, preconditioning="frobenius", eps=1e-8):
    """Catalogue A0: X = G / (‖G‖ + ε), the shorter side first; for each row X ← a X + (b A + c A²) X, A = X Xᵀ.

    ‖G‖: "frobenius"; "spectral", the largest singular value; "schatten", the 4-norm of the singular values. "aol": row i of the wide
    G, of a square one column i, is divided by √(Σ_j |G Gᵀ|_ij) instead. The table "dion2" is for 1.02 (‖G‖ + ε); in
    Dion's repository ε is added last.
    """
    X = G.T if G.shape[0] >= G.shape[1] else G
    margin = 1.02 if isinstance(ns_coeffs, str) and ns_coeffs == "dion2" else 1.0
    if preconditioning == "aol":
        X = X / np.sqrt(np.maximum(np.sum(np.abs(X @ X.T), axis=1, keepdims=True), eps))
    else:
        s = np.linalg.svd(X, compute_uv=False)
        size = {"frobenius": norm(X), "spectral": s[0], "schatten": np.sum(s**4) ** 0.25}[preconditioning]
        X = X / (margin * (size + eps))
    for a, b, c in rows(ns_coeffs, ns_steps):
        A = X @ X.T
        X = a * X + (b * A + c * A @ A) @ X
    return X.T if G.shape[0] >= G.shape[1] else X


def nesterov_mean(beta, nesterov=True):
    """Keller Jordan's: M ← β M + (1 − β) G;  β M + (1 − β) G, or M. Nothing is debiased."""
    M, X = 0.0, None
    while True:
        G = yield X
        M = beta * M + (1 - beta) * G
        X = beta * M + (1 - beta) * G if nesterov else M


def scale_of_shape(m, n, shape_scale="original", consistent_rms=None):
    """By what a step of m x n is multiplied: catalogue 0.3."""
    if consistent_rms is not None:
        return consistent_rms * np.sqrt(max(m, n))
    return {
        "original": np.sqrt(max(1, m / n)), "spectral": np.sqrt(m / n), "match_rms_adamw": 0.2 * np.sqrt(max(m, n)), None: 1.0,
    }[shape_scale]  # fmt: skip


def started(run):
    next(run)
    return run


def transposed(direction):
    """A coroutine for W = (outputs, inputs) as one for leaves (inputs, outputs)."""
    u = next(direction)
    while True:
        g, _ = yield u
        u = direction.send(g.T).T


def decoupled(direction, learning_rate, weight_decay=0.0):
    """u = −lr (d + λ w), with w as it was before the update."""
    u = next(direction)
    for k in count():
        g, w = yield u
        d = direction.send((g, w))
        decay = at(weight_decay, k)
        u = -at(learning_rate, k) * (d + decay * w if decay else d)


def core(direction):
    """`direction` of W (outputs, inputs) for leaves (inputs, outputs), uphill."""
    return decoupled(transposed(direction), -1.0)


def matrices(
    direction, learning_rate, weight_decay=0.0, eps=1e-8, nesterov=True, adam_b1=0.9, adam_b2=0.999, adam_eps_root=0.0,
    adam_weight_decay=0.0, adam_learning_rate=None,
):  # fmt: skip
    """`direction` of W (outputs, inputs) for leaves with two axes; AdamW, with the same ε and `nesterov`, for the rest."""
    g, w = yield None
    if g.ndim == 2:
        run = decoupled(transposed(direction), learning_rate, weight_decay)
    else:
        rate = learning_rate if adam_learning_rate is None else adam_learning_rate
        run = adamw.__wrapped__(rate, adam_b1, adam_b2, eps, adam_eps_root, adam_weight_decay, nesterov)
    next(run)
    while True:
        g, w = yield run.send((g, w))


def along(x, A, k):
    """A times the k-th axis of x: Σ_j A_ij x_..j.. (A a vector: a diagonal matrix)."""
    A = np.diag(A) if A.ndim == 1 else A
    return np.moveaxis(np.tensordot(A, x, axes=(1, k)), 0, k)


def unfolded(x, k):
    """mat_k(x): the k-th axis first, the others in one."""
    return np.moveaxis(x, k, 0).reshape(x.shape[k], -1)


def gram(x, k):
    """mat_k(x) mat_k(x)ᵀ."""
    return unfolded(x, k) @ unfolded(x, k).T


def turned(x, Q):
    """Every axis k in Q into its basis: Q_kᵀ x."""
    for k in Q:
        x = along(x, Q[k].T, k)
    return x


def turned_back(x, Q):
    for k in Q:
        x = along(x, Q[k], k)
    return x


def merged(shape, merge_dims):
    """Neighbours joined from the front while their product is at most `merge_dims`; axes of length 1 vanish."""
    if merge_dims is None:
        return shape
    found, product_ = [], 1
    for d in shape:
        if product_ * d <= merge_dims:
            product_ *= d
        else:
            found, product_ = [*found, product_], d
    return tuple(d for d in [*found, product_] if d > 1) or (1,) * min(1, len(shape))


def blocks(make, block_size=None, merge_dims=None):
    """The coroutine `make()`, once for each block of the array: neighbours joined, then every axis cut to at most `block_size`."""
    runs, u = {}, None
    while True:
        g, w = yield u
        shape = merged(g.shape, merge_dims)
        g_, w_, u_ = g.reshape(shape), None if w is None else w.reshape(shape), np.zeros(shape)
        for corner in product(*(range(0, d, block_size or d) for d in shape)):
            block = tuple(slice(k, k + (block_size or d)) for k, d in zip(corner, shape, strict=True))
            if corner not in runs:
                runs[corner] = started(make())
            u_[block] = runs[corner].send((g_[block], None if w is None else w_[block]))
        u = u_.reshape(g.shape)


def due(t, since, every, start=None):
    """Whether the t-th update (from 1), the `since`-th since the last refresh, refreshes. A function `every(k)` gives the gap."""
    if callable(every):
        return t >= (start or 1) and since >= every(t - 1)
    start = every if start is None else start
    return t == start or (t > start and t % every == 0)


def power(A, exponent):
    """The power of a symmetric positive semidefinite matrix."""
    values, V = np.linalg.eigh(A)
    return (V * values**exponent) @ V.T


def pseudonormal(key, shape, dtype):
    """A sampler without a key: the same numbers whenever a shape is asked for."""
    return np.random.RandomState(0).standard_normal(shape).astype(dtype)
