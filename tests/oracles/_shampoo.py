"""Transcriptions of `shampoo` and `scale_by_shampoo`."""

from itertools import count

import numpy as np

from oracles._arithmetic import norm
from oracles._collect import array_oracle
from oracles._matrices import along, blocks, decoupled, due, gram


@array_oracle
def shampoo(
    learning_rate, b1=0.9, b2=1.0, b3=None, eps=1e-12, weight_decay=0.0, graft=None, graft_b2=0.999, graft_eps=1e-10, exponents=None,
    roots="eigh", bias_correction=True, block_size=1024, merge_dims=None, max_precond_dim=None, every=1, start=None,
):  # fmt: skip
    """Gupta et al. 2018, arXiv:1802.09568, in the form of Shi et al. 2023, arXiv:2309.06497; leaves of any number of axes.

    f = β₃ m + (1 − β₃) g, divided by 1 − β₃ β₁^(t−1);  m ← β₁ m + (1 − β₁) g (f has the old m; β₃ = β₁ where not given)
    L_k ← β₂ L_k + (1 − β₂) g_(k) g_(k)ᵀ (β₂ = 1: the sum)
    at refreshes, with this g:  A = L_k / (1 − β₂ᵗ) + ε I;  where its least eigenvalue is below ε, A + (ε − λ_min) I;
    X_k = A^(−1/(2 order)), or to the power −`exponents[k]` (None: no factor) where there are as many
    d = f times X_k along every axis k

    `graft`: d ‖s‖ / (‖d‖ + 1e-16), block by block, with the step s that is taken until the first refresh:
    "sgd" f;  "adagrad" f / (√Σ g² + ε_g);  "rmsprop" f / (√V + ε_g), V = the mean of g²;  "adam" f / (√(V / (1 − β_gᵗ)) + ε_g)
    Without it, f is taken until then; a leaf without any factor takes s. `roots` says only how the roots are found. A number is a
    vector of length 1.
    """
    arguments = b1, b2, b1 if b3 is None else b3, eps, graft, graft_b2, graft_eps, exponents, bias_correction, max_precond_dim
    run = lambda: _shampoo(*arguments, every, start)
    return decoupled(blocks(run, block_size, merge_dims), learning_rate, weight_decay)


@array_oracle
def scale_by_shampoo(*args, **kwargs):
    """The direction alone, uphill: the arguments of `shampoo` but for the rate and the decay."""
    return shampoo.__wrapped__(-1.0, *args, weight_decay=0.0, **kwargs)


def _shampoo(b1, b2, b3, eps, graft, graft_b2, graft_eps, exponents, bias_correction, max_precond_dim, every, start):
    m, v, L, X, since, u = 0.0, 0.0, None, None, 0, None
    for t in count(1):
        g, _ = yield u
        shape, g = g.shape, g.reshape(g.shape or (1,))
        if L is None:
            given = exponents if exponents is not None and len(exponents) == g.ndim else (1 / (2 * g.ndim),) * g.ndim
            powers = {k: given[k] for k, d in enumerate(g.shape) if given[k] and (max_precond_dim is None or d <= max_precond_dim)}
            L = {k: np.zeros((g.shape[k],) * 2) for k in powers}
        f = b3 * m + (1 - b3) * g
        if bias_correction:
            f = f / (1 - b3 * b1 ** (t - 1))
        m = b1 * m + (1 - b1) * g
        L = {k: L[k] + gram(g, k) if b2 == 1 else b2 * L[k] + (1 - b2) * gram(g, k) for k in L}
        since += 1
        if due(t, since, every, start):
            X, since = {k: _root(L[k] / (1 - b2**t if bias_correction and b2 < 1 else 1), eps, powers[k]) for k in L}, 0
        if graft == "adagrad":
            v = v + g**2
        elif graft is not None:
            v = graft_b2 * v + (1 - graft_b2) * g**2
        s = {
            None: f, "sgd": f, "adagrad": f / (np.sqrt(v) + graft_eps), "rmsprop": f / (np.sqrt(v) + graft_eps),
            "adam": f / (np.sqrt(v / (1 - graft_b2**t)) + graft_eps),
        }[graft]  # fmt: skip
        d = s
        if X:
            d = f
            for k in X:
                d = along(d, X[k], k)
            if graft is not None:
                d = d * norm(s) / (norm(d) + 1e-16)
        u = d.reshape(shape)


def _root(L, eps, exponent):
    values, V = np.linalg.eigh(L + eps * np.eye(len(L)))
    values = values + max(0.0, eps - values[0])
    return (V * values**-exponent) @ V.T
