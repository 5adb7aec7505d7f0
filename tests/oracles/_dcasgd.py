"""Transcriptions of `dcasgd`."""

from itertools import count

from oracles._arithmetic import abs2, at
from oracles._collect import array_oracle


@array_oracle(extra="delayed_params")
def dcasgd(learning_rate, momentum=0.0, lamda=0.04):
    """Zheng et al. 2017, arXiv:1609.08326, eq. 10; S0:247: d = g + λ |g|² (w − w_bak); m ← γ m − lr d; u = m.

    g was computed at w_bak = `delayed_params`; without it w_bak is the previous iterate (at the first update w itself).
    """
    m, w_before, u = 0.0, None, None
    for k in count():
        g, w, w_bak = yield u
        if w_bak is None:
            w_bak = w if w_before is None else w_before
        d = g + lamda * abs2(g) * (w - w_bak)
        u = m = momentum * m - at(learning_rate, k) * d
        w_before = w
