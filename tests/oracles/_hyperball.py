"""The transcription of `hyperball`."""

from itertools import count

from oracles._adam import adam
from oracles._arithmetic import at, norm
from oracles._collect import array_oracle


@array_oracle
def hyperball(base_optimizer=None, learning_rate=0.01, radius="initial"):
    """AdamH, around Adam at the rate 1, the registry's example: w ← r q / ‖q‖, q = w + η r u / ‖u‖, r = ‖w₀‖."""
    base = adam.__wrapped__(1.0)
    next(base)
    u, r = None, None
    for k in count():
        g, w = yield u
        d = base.send((g, w))
        r = norm(w) if r is None or radius == "current" else r
        q = w + at(learning_rate, k) * r * d / norm(d)
        u = q / norm(q) * r - w
