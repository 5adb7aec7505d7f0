"""Transcriptions of `reduce_on_plateau`."""

import numpy as np

from oracles._arithmetic import loss_of
from oracles._collect import oracle


@oracle(extra="value")
def reduce_on_plateau(factor=0.1, patience=10, rtol=1e-4, atol=0.0, cooldown=0, accumulation_size=1, min_scale=0.0):
    """PyTorch's ReduceLROnPlateau for means of values: `patience` bad ones in a row, and the scale falls; not while it cools down.

    A value is good if it is below the best by rtol |best| + atol.
    """
    scale, best, bad, cooling, values, u = 1.0, np.inf, 0, 0, [], None
    while True:
        g, _, value = yield u
        values.append(loss_of(value))
        if len(values) == accumulation_size:
            mean, values = np.mean(values), []
            good = best == np.inf or mean < best - rtol * abs(best) - atol
            best, bad = (mean, 0) if good else (best, bad + 1)
            if cooling:
                cooling, bad = cooling - 1, 0
            elif bad >= max(patience, 1):
                scale, bad, cooling = max(scale * factor, min_scale), 0, cooldown
        u = [scale * y for y in g]
