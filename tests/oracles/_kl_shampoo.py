"""Transcriptions of `kl_shampoo` and `scale_by_kl_shampoo`, and the factors that `kl_soap` shares."""

from itertools import count

import numpy as np

from oracles._collect import array_oracle
from oracles._matrices import blocks, decoupled, due, turned, turned_back, unfolded


@array_oracle
def kl_shampoo(
    learning_rate, b1=0.9, shampoo_beta=0.95, eps=1e-8, weight_decay=0.01, init_factor=0.1, max_precond_dim=10000, block_size=None,
    merge_dims=None, every=2, start=None,
):  # fmt: skip
    """Lin et al. 2025, arXiv:2509.03378, as HeavyBall has it, for leaves with two axes, m x n, whichever are the outputs.

    S_L = S_R = `init_factor` I, Q = I. The first gradient (t = 1) is thrown away. Then, for t = 2, 3, ...:
    M ← β₁ M + (1 − β₁) G;  d = Q_L D_L^-½ (Q_Lᵀ M Q_R) D_R^-½ Q_Rᵀ,  D = max(diag(Qᵀ S Q), ε)
    S_L ← b S_L + (1 − b) G R⁻¹ Gᵀ / n,  S_R ← b S_R + (1 − b) Gᵀ L⁻¹ G / m,  b = 1 − (1 − β) / (1 − βᵗ),
    with R⁻¹ = Q_R D_R⁻¹ Q_Rᵀ and L⁻¹ so too, both from before (a side longer than `max_precond_dim`: I)
    at refreshes: Q = the orthogonal factor of S Q, its columns taken in descending order of diag(Qᵀ S Q), and put back
    both S are scaled to the geometric mean of max |S|

    Other leaves get Adam (β₁, 0.999, ε), the first gradient thrown away and not counted.
    """
    arguments = b1, shampoo_beta, eps, init_factor, max_precond_dim, every, start
    return decoupled(blocks(lambda: _kl_shampoo(*arguments), block_size, merge_dims), learning_rate, weight_decay)


@array_oracle
def scale_by_kl_shampoo(*args, **kwargs):
    """The direction alone, uphill: the arguments of `kl_shampoo` but for the rate and the decay."""
    return kl_shampoo.__wrapped__(-1.0, *args, weight_decay=0.0, **kwargs)


def _kl_shampoo(b1, beta, eps, init_factor, max_precond_dim, every, start):
    G, _ = yield None
    factors, M, v = KLFactors(G.shape, beta, eps, init_factor, max_precond_dim, every, start), 0.0, 0.0
    u = np.zeros_like(G)
    for t in count(2):
        G, _ = yield u
        M = b1 * M + (1 - b1) * G
        if G.ndim == 2:
            x = turned(M, factors.Q)
            for k, D in factors.eigenvalues().items():
                x = x * (D**-0.5 if k == 1 else D[:, None] ** -0.5)
            u = turned_back(x, factors.Q)
            factors.update(t, G)
        else:
            v = 0.999 * v + 0.001 * G**2
            u = M / (1 - b1 ** (t - 1)) / (np.sqrt(v / (1 - 0.999 ** (t - 1))) + eps)


class KLFactors:
    """S and Q of both sides of a matrix."""

    def __init__(self, shape, beta, eps, init_factor, max_precond_dim, every, start):
        self.beta, self.eps, self.every, self.start, self.since = beta, eps, every, start, 1
        sides = [k for k, d in enumerate(shape) if len(shape) == 2 and d <= max_precond_dim]
        self.S = {k: init_factor * np.eye(shape[k]) for k in sides}
        self.Q = {k: np.eye(shape[k]) for k in sides}

    def eigenvalues(self):
        return {k: np.maximum(np.diag(self.Q[k].T @ self.S[k] @ self.Q[k]), self.eps) for k in self.S}

    def update(self, t, G):
        """The mean, the bases where they are due, the balance."""
        b = 1 - (1 - self.beta) / (1 - self.beta**t)
        inverses = {k: (self.Q[k] / D) @ self.Q[k].T for k, D in self.eigenvalues().items()}
        for k in self.S:
            other = inverses.get(1 - k, np.eye(G.shape[1 - k]))
            self.S[k] = b * self.S[k] + (1 - b) * unfolded(G, k) @ other @ unfolded(G, k).T / G.shape[1 - k]
        self.since += 1
        if due(t, self.since, self.every, self.start):
            self.since = 0
            for k in self.S:
                order = np.argsort(-np.diag(self.Q[k].T @ self.S[k] @ self.Q[k]), kind="stable")
                new = np.empty_like(self.Q[k])
                new[:, order] = np.linalg.qr(self.S[k] @ self.Q[k][:, order])[0]
                self.Q[k] = new
        if len(self.S) == 2:
            sizes = {k: np.max(np.abs(self.S[k])) for k in self.S}
            self.S = {k: self.S[k] * np.sqrt(sizes[0] * sizes[1]) / sizes[k] for k in self.S}
