"""Transcriptions of `compressed_mean` and `error_feedback`."""

import numpy as np

from oracles._collect import array_oracle


@array_oracle
def compressed_mean(compressor, axis_name=None):
    """‖g‖₁ / d · sign(g), for whatever compressor."""
    u = None
    while True:
        g, _ = yield u
        u = np.mean(np.abs(g)) * np.sign(g)


@array_oracle
def error_feedback(compressor, axis_name=None):
    """Karimireddy et al. 2019, Algorithm 1, with that compressor."""
    e, u = 0.0, None
    while True:
        g, _ = yield u
        p = g + e
        u = np.mean(np.abs(p)) * np.sign(p)
        e = p - u
