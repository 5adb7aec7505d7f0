"""Transcriptions of `trace`, `nesterov` and `ema`."""

from itertools import count

from oracles._collect import array_oracle


@array_oracle
def trace(decay, nesterov=False):
    """Heavy ball, Polyak 1964, in the form with the learning rate outside (catalogue A.2.2, S3:11): m ← g + µ m; u = m.

    Nesterov's form at the stored point (A.2.3): u = g + µ m, with the new m.
    """
    m, u = 0.0, None
    while True:
        g, _ = yield u
        m = g + decay * m
        u = g + decay * m if nesterov else m


@array_oracle
def nesterov(decay):
    """Nesterov 1983 with the gradient at the stored point (catalogue A.2.3 and A.1 row 6): m ← g + µ m; u = g + µ m, the new m.

    The true form (S3:11) is m ← µ m + ∇f(w − lr µ m), w ← w − lr m. Store the look-ahead point y = w − lr µ m, where g is taken:
    y' − y = −lr (m' + µ m' − µ m) = −lr (g + µ m'), for a constant lr.
    """
    m, u = 0.0, None
    while True:
        g, _ = yield u
        m = g + decay * m
        u = g + decay * m


@array_oracle
def ema(decay, debias=True):
    """m ← β m + (1 − β) g; u = m / (1 − β^t), the bias correction of Kingma & Ba 2015, section 3."""
    m, u = 0.0, None
    for t in count(1):
        g, _ = yield u
        m = decay * m + (1 - decay) * g
        u = m / (1 - decay**t) if debias else m
