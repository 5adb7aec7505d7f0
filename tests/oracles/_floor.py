"""The transcription of `floor_by_param_norm`."""

from oracles._arithmetic import norm
from oracles._collect import array_oracle


@array_oracle
def floor_by_param_norm(ratio=0.35):
    """u · max(1, 0.35 ‖w‖ / ‖u‖), 0 where u = 0."""
    u = None
    while True:
        g, w = yield u
        u = g if norm(g) == 0 else max(1.0, ratio * norm(w) / norm(g)) * g
