"""Transcriptions of `normalize_by_update_norm` and `normalize`."""

import numpy as np

from oracles._arithmetic import abs2, norm2
from oracles._collect import oracle


@oracle
def normalize_by_update_norm(scale_factor=1.0, eps=1e-6):
    """g / ||g||, the norm of the whole list."""
    u = None
    while True:
        gs, _ = yield u
        total = np.sqrt(sum(np.sum(abs2(g)) for g in gs))
        u = [scale_factor * g / (total + eps) for g in gs]


@oracle
def normalize():
    """Foret et al. 2021, equation 2 without ρ: g / ‖g‖."""
    u = None
    while True:
        g, _ = yield u
        u = [y / np.sqrt(norm2(g)) for y in g]
