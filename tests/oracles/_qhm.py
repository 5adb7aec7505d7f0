"""Transcriptions of `qhm` and `scale_by_qhm`."""

from itertools import count

from oracles._arithmetic import at
from oracles._collect import array_oracle


@array_oracle
def qhm(learning_rate, b1=0.999, nu1=0.7, weight_decay=0.0):
    """Ma & Yarats 2018, arXiv:1810.06801, equations 3 and 4.

    a ← β a + (1 − β) g;  w ← w − lr ((1 − ν) g + ν a + λ w)
    """
    a, u = 0.0, None
    for k in count():
        g, w = yield u
        a = b1 * a + (1 - b1) * g
        u = -at(learning_rate, k) * ((1 - nu1) * g + nu1 * a + at(weight_decay, k) * w)


@array_oracle
def scale_by_qhm(b1=0.999, nu1=0.7):
    """The direction alone, uphill."""
    return qhm.__wrapped__(-1.0, b1, nu1)
