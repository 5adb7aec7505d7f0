"""Transcriptions of `scale_by_rprop` and `rprop`."""

import numpy as np

from oracles._arithmetic import descent
from oracles._collect import array_oracle


@array_oracle
def scale_by_rprop(learning_rate, eta_minus=0.5, eta_plus=1.2, min_step_size=1e-6, max_step_size=50.0):
    """Riedmiller & Braun 1993 without weight backtracking (Igel & Hüsken 2000, iRprop−): after a change of sign g counts as 0."""
    size = before = u = None
    while True:
        g, _ = yield u
        size = np.full(g.shape, float(learning_rate)) if size is None else size
        before = np.zeros(g.shape) if before is None else before
        g = np.array(g)
        for i in np.ndindex(*g.shape):
            if before[i] * g[i] > 0:
                size[i] = min(size[i] * eta_plus, max_step_size)
            elif before[i] * g[i] < 0:
                size[i] = max(size[i] * eta_minus, min_step_size)
                g[i] = 0
        before, u = g, np.sign(g) * size


@array_oracle
def rprop(learning_rate, **rest):
    yield from descent(scale_by_rprop.__wrapped__(learning_rate, **rest), 1.0)
