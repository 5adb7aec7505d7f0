"""The transcription of `graft`."""

from oracles._adam import adam
from oracles._arithmetic import norm
from oracles._collect import array_oracle


@array_oracle
def graft(magnitude=None, direction=None, eps=1e-16):
    """Agarwal et al. 2020, arXiv:2002.11803: ‖u_M‖ u_D / ‖u_D‖ of gradient descent and Adam at the rate 0.1, the registry's example."""
    towards = adam.__wrapped__(0.1)
    next(towards)
    u = None
    while True:
        g, w = yield u
        d = towards.send((g, w))
        u = norm(0.1 * g) * d / (norm(d) + eps)
