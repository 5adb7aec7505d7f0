"""Transcriptions of `soap` and `scale_by_soap`."""

from itertools import count

import numpy as np

from oracles._arithmetic import rms
from oracles._collect import array_oracle
from oracles._matrices import blocks, decoupled, due, gram, turned, turned_back


@array_oracle
def soap(
    learning_rate, b1=0.95, b2=0.95, shampoo_beta=None, eps=1e-8, weight_decay=0.01, precondition_1d=False, normalize_grads=False,
    bias_correction=True, max_precond_dim=10000, block_size=None, merge_dims=None, every=10, start=None, tie_break=0.0,
):  # fmt: skip
    """Vyas et al. 2024, arXiv:2409.11321, Algorithm 3, in the order of the authors' file; leaves of any number of axes, none an output.

    The first gradient is not counted and gives 0:  L_k = (1 − β_s) g_(k) g_(k)ᵀ,  Q_k = its eigenvectors, the largest first.
    Then, t = 1, 2, ...:  g' = g in the bases Q;  m' ← β₁ m' + (1 − β₁) g';  v ← β₂ v + (1 − β₂) g'²
    d = √(1 − β₂ᵗ) / (1 − β₁ᵗ) (m' / (√v + ε) turned back);  `normalize_grads`: what is turned back is divided by its RMS + 1e-30
    L_k ← β_s L_k + (1 − β_s) g_(k) g_(k)ᵀ
    at refreshes, after the step, for each k: order = descending diag(Q_kᵀ L_k Q_k), v in that order along k,
    Q_k = the orthogonal factor of L_k Q_k[:, order], m' turned from the old bases into the new ones

    An axis longer than `max_precond_dim` has no basis; nor have vectors without `precondition_1d`, nor numbers.
    `tie_break` δ: the first eigenvectors are those of L_k + δ (tr L_k / d) diag(1, ..., d) / d.
    """
    beta = b2 if shampoo_beta is None else shampoo_beta
    arguments = b1, b2, beta, eps, precondition_1d, normalize_grads, bias_correction, max_precond_dim, every, start, tie_break
    return decoupled(blocks(lambda: _soap(*arguments), block_size, merge_dims), learning_rate, weight_decay)


@array_oracle
def scale_by_soap(*args, **kwargs):
    """The direction alone, uphill: the arguments of `soap` but for the rate and the decay."""
    return soap.__wrapped__(-1.0, *args, weight_decay=0.0, **kwargs)


def _soap(b1, b2, beta, eps, precondition_1d, normalize_grads, bias_correction, max_precond_dim, every, start, tie_break):
    g, _ = yield None
    L, Q, m, v, since, u = {}, {}, 0.0, 0.0, 0, np.zeros_like(g)
    for k, d in enumerate(g.shape):
        if (g.ndim > 1 or precondition_1d) and d <= max_precond_dim:
            L[k] = (1 - beta) * gram(g, k)
            ties = tie_break * np.trace(L[k]) / d * np.diag(np.arange(1, d + 1) / d)
            Q[k] = np.linalg.eigh(L[k] + ties)[1][:, ::-1]
    for t in count(1):
        g, _ = yield u
        g_ = turned(g, Q)
        m = b1 * m + (1 - b1) * g_
        v = b2 * v + (1 - b2) * g_**2
        u = turned_back(m / (np.sqrt(v) + eps), Q)
        if normalize_grads:
            u = u / (1e-30 + rms(u))
        if bias_correction:
            u = u * np.sqrt(1 - b2**t) / (1 - b1**t)
        L = {k: beta * L[k] + (1 - beta) * gram(g, k) for k in L}
        since += 1
        if due(t, since, every, start):
            m, since = turned_back(m, Q), 0
            for k in Q:
                order = np.argsort(-np.diag(Q[k].T @ L[k] @ Q[k]), kind="stable")
                v = np.take(v, order, axis=k)
                Q[k] = np.linalg.qr(L[k] @ Q[k][:, order])[0]
            m = turned(m, Q)
