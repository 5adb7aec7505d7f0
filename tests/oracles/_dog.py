"""Transcriptions of `scale_by_dog`, `scale_by_dowg`, `dog` and `dowg`."""

from itertools import count

import numpy as np

from oracles._arithmetic import at, norm2
from oracles._collect import oracle


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
