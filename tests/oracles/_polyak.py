"""Transcriptions of `scale_by_polyak` and `polyak_sgd`."""

from itertools import count

import numpy as np

from oracles._arithmetic import abs2, at
from oracles._collect import oracle


@oracle(extra="value")
def scale_by_polyak(f_min=0.0, max_learning_rate=1.0, eps=0.0, variant="sps"):
    """Loizou et al. 2021, SPS_max: γ = min((f − f*) / ||g||², γ_b); SPS₊ (Garrigos et al. 2023) takes the positive part of the gap.

    Without a value it is 1.
    """
    u = None
    while True:
        gs, _, value = yield u
        square = sum(np.sum(abs2(g)) for g in gs)
        gap = (1.0 if value[0] is None else value[0]) - f_min
        gap = max(gap, 0.0) if variant == "sps+" else gap
        u = [min(gap / (square + eps), max_learning_rate) * g for g in gs]


@oracle(extra="value")
def polyak_sgd(max_learning_rate=1.0, scaling=1.0, f_min=0.0, eps=0.0, variant="sps"):
    """SPS_max along −g; Optax's order: the gradient is scaled first, and its norm is the scaled one's."""
    u = None
    for k in count():
        gs, _, value = yield u
        square = sum(np.sum(abs2(g)) for g in gs)
        gap = (1.0 if value[0] is None else value[0]) - f_min
        gap = max(gap, 0.0) if variant == "sps+" else gap
        s = at(scaling, k)
        u = [-s * min(gap / (s**2 * square + eps), max_learning_rate) * g for g in gs]
