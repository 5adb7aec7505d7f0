"""The transcription of `outer`."""

from itertools import count

from oracles._collect import array_oracle


@array_oracle
def outer(base_optimizer=None, every=2, outer_optimizer=None):
    """Douillard et al. 2023, arXiv:2311.08105, Algorithm 1, with one worker, H = 2, and PyTorch's Nesterov momentum as the outer step.

    Inside: θ' = θ − 0.1 g. Every H-th time Δ = θ_outer − θ,  v = 0.9 v + Δ,  θ_outer' = θ_outer − 0.7 (Δ + 0.9 v),  θ = θ_outer'.
    """
    theta, v, u = None, 0.0, None
    for t in count(1):
        g, w = yield u
        theta = w if theta is None else theta
        u = -0.1 * g
        if t % every == 0:
            delta = theta - (w + u)
            v = 0.9 * v + delta
            theta = theta - 0.7 * (delta + 0.9 * v)
            u = theta - w
