"""Transcriptions of `add_decayed_weights`."""

from itertools import count

from oracles._arithmetic import at
from oracles._collect import array_oracle


@array_oracle
def add_decayed_weights(weight_decay=0.0):
    """u = g + λ w (S0:46)."""
    u = None
    for k in count():
        g, w = yield u
        u = g + at(weight_decay, k) * w
