"""Transcriptions of `sgd`."""

from itertools import count

from oracles._arithmetic import at
from oracles._collect import array_oracle


@array_oracle
def sgd(learning_rate, momentum=None, nesterov=False, dampening=0.0):
    """Robbins & Monro 1951, Polyak 1964; the learning rate outside the velocity (catalogue A.2.2, S3:11): m ← µ m + g; u = −lr m.

    Nesterov (A.2.3): u = −lr (g + µ m). Dampening as in PyTorch's documented algorithm: m ← g at the first update, then
    m ← µ m + (1 − τ) g.
    """
    m, u = 0.0, None
    for k in count():
        g, _ = yield u
        m = g if momentum is None or k == 0 else momentum * m + (1 - dampening) * g
        u = -at(learning_rate, k) * (g + momentum * m if nesterov and momentum is not None else m)
