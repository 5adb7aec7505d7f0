"""Transcriptions of `scale` and `scale_by_learning_rate`."""

from itertools import count

from oracles._arithmetic import at
from oracles._collect import array_oracle


@array_oracle
def scale(step_size):
    """u = c g."""
    u = None
    while True:
        g, _ = yield u
        u = step_size * g


@array_oracle
def scale_by_learning_rate(learning_rate, flip_sign=True):
    """u_t = -lr_k g_t with k = t - 1 (without `flip_sign`, +lr_k g_t)."""
    u = None
    for k in count():
        g, _ = yield u
        u = (-1 if flip_sign else 1) * at(learning_rate, k) * g
