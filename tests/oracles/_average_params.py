"""The transcription of `average_params`: of its updates, and of the average that it evaluates with."""

from collections.abc import Sequence

import numpy as np

from oracles._collect import array_oracle


@array_oracle
def average_params(base_optimizer=None, decay=0.999, debias=True, accumulator_dtype=None):
    """Averaging changes nothing of training: gradient descent at the rate 0.1, the registry's example."""
    u = None
    while True:
        g, _ = yield u
        u = -0.1 * g


def average(
    path: Sequence[np.ndarray], decay: object = 0.999, debias: bool = True, start: int = 0, every: int = 1, warmup: bool = False
) -> np.ndarray:
    """The average of path[1:], of what is at start + every, start + 2 every, ...; the last of path where there is none.

    By its weights, written out: the k-th of n weighs (1 - d_k) d_{k+1} ... d_n, all of them divided by their sum; without debiasing the
    first weighs d_2 ... d_n, and the sum is 1. Without a decay all weigh the same.
    """
    taken = list(range(start + every, len(path), every))
    if not taken:
        return path[-1]
    d = [0.0 if decay is None else decay(t) if callable(decay) else decay for t in taken]
    d = [min(x, n / (n + 9)) if warmup else x for n, x in enumerate(d, 1)]
    weights = [(1 - x) * np.prod(d[n + 1 :]) for n, x in enumerate(d)]
    if decay is None:
        weights = [1.0] * len(taken)
    elif not debias:
        weights[0] = np.prod(d[1:])
    return sum(w * path[t] for w, t in zip(weights, taken, strict=True)) / (sum(weights) if debias or decay is None else 1.0)
