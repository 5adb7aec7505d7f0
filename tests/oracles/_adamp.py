"""Transcriptions of `adamp` and `scale_by_adamp`."""

from itertools import count

import numpy as np

from oracles._arithmetic import abs2, at, norm
from oracles._collect import array_oracle


def _cosine(x, y):
    size = norm(x) * norm(y)
    return np.sum(x * y) / size if size > 0 else 0.0


def _without(u, w, eps):
    """u without what of it lies along w."""
    w_hat = w / (norm(w) + eps)
    return u - w_hat * np.sum(w_hat * u)


@array_oracle
def adamp(
    learning_rate, b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.0, delta=0.1, wd_ratio=0.1, nesterov=False,
):  # fmt: skip
    """Heo et al. 2020, arXiv:2006.08217, Algorithm 2, and the views of the authors' code: by outputs, else of the whole leaf.

    p = m̂ / (√v̂ + ε);  cos(w, g) < δ / √dim(w): q = Π_w(p), the decay times `wd_ratio`, else q = p;  w ← w − η (q + λ w)
    """
    m, v, u = 0.0, 0.0, None
    for t in count(1):
        g, w = yield u
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * abs2(g)
        above = b1 * m + (1 - b1) * g if nesterov else m
        p, decay = above / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps), 1.0
        if g.ndim >= 2:
            outputs = range(g.shape[-1])
            if max(abs(_cosine(g[..., j], w[..., j])) for j in outputs) < delta / np.sqrt(g[..., 0].size):
                p, decay = np.stack([_without(p[..., j], w[..., j], eps) for j in outputs], axis=-1), wd_ratio
            elif abs(_cosine(g, w)) < delta / np.sqrt(g.size):
                p, decay = _without(p, w, eps), wd_ratio
        u = -at(learning_rate, t - 1) * (p + at(weight_decay, t - 1) * decay * w)


@array_oracle
def scale_by_adamp(b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.0, delta=0.1, wd_ratio=0.1, nesterov=False):
    """The direction alone, uphill."""
    return adamp.__wrapped__(-1.0, b1, b2, eps, weight_decay, delta, wd_ratio, nesterov)
