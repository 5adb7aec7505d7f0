"""Transcriptions of `scale_by_trust_ratio`, `scale_by_param_block_rms` and `scale_by_param_block_norm`."""

from oracles._arithmetic import norm, rms
from oracles._collect import array_oracle


@array_oracle
def scale_by_trust_ratio(min_norm=0.0, trust_coefficient=1.0, eps=0.0):
    """You et al. 2017, arXiv:1708.03888, eq. 6, with both norms at least `min_norm`: u = η ‖w‖ / (‖g‖ + ε) g; 1 for 0/0 or x/0."""
    u = None
    while True:
        g, w = yield u
        norm_w, norm_g = max(norm(w), min_norm), max(norm(g), min_norm)
        u = g if norm_w == 0 or norm_g == 0 else trust_coefficient * norm_w / (norm_g + eps) * g


@array_oracle
def scale_by_param_block_rms(min_scale=1e-3):
    """Shazeer & Stern 2018, section 8 (relative step sizes): u = max(ε2, RMS(w)) g."""
    u = None
    while True:
        g, w = yield u
        u = max(rms(w), min_scale) * g


@array_oracle
def scale_by_param_block_norm(min_scale=1e-3):
    """u = max(ε, ‖w‖) g."""
    u = None
    while True:
        g, w = yield u
        u = max(norm(w), min_scale) * g
