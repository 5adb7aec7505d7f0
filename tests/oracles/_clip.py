"""Transcriptions of `clip`, `clip_by_norm`, `clip_by_block_rms` and `clip_by_global_norm`."""

import numpy as np

from oracles._arithmetic import norm, rms
from oracles._collect import array_oracle, oracle


@array_oracle
def clip(max_delta):
    """Each element into [−d, d] (Mikolov 2012; S1:24, S3:18)."""
    u = None
    while True:
        g, _ = yield u
        u = np.minimum(np.maximum(g, -max_delta), max_delta)


@array_oracle
def clip_by_norm(max_norm):
    """Each array by its own norm (Keras `clipnorm`, S3:18; E16: the factor is min(1, c/‖g‖)): u = g min(1, c / ‖g‖)."""
    u = None
    while True:
        g, _ = yield u
        u = g if norm(g) <= max_norm else g * (max_norm / norm(g))


@array_oracle
def clip_by_block_rms(threshold):
    """Shazeer & Stern 2018, Algorithm 4 (update clipping): u = g / max(1, RMS(g) / d)."""
    u = None
    while True:
        g, _ = yield u
        u = g / max(1.0, rms(g) / threshold)


@oracle
def clip_by_global_norm(max_norm):
    """Pascanu et al. 2013, arXiv:1211.5063, Algorithm 1: u_i = g_i min(1, c / ‖g‖), ‖g‖² = Σ_i ‖g_i‖² (S1:24 with E16 mended)."""
    u = None
    while True:
        g, _ = yield u
        total = np.sqrt(sum(norm(g_i) ** 2 for g_i in g))
        u = [g_i if total <= max_norm else g_i * (max_norm / total) for g_i in g]
