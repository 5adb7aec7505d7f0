"""Transcriptions of `scale_by_optimistic_gradient`, `optimistic_gradient_descent` and `optimistic_adam_v2`."""

from itertools import count

from oracles._adam import scale_by_adam
from oracles._arithmetic import at, descent
from oracles._collect import array_oracle


@array_oracle
def scale_by_optimistic_gradient(alpha=1.0, beta=1.0):
    """Mokhtari et al. 2020, the generalized OGDA: x ← x − (α + β) ∇f(x_k) + β ∇f(x_{k−1}), with x_{−1} = x_0."""
    before = u = None
    while True:
        g, _ = yield u
        before = g if before is None else before
        before, u = g, (alpha + beta) * g - beta * before


@array_oracle
def optimistic_gradient_descent(learning_rate, alpha=1.0, beta=1.0):
    yield from descent(scale_by_optimistic_gradient.__wrapped__(alpha, beta), learning_rate)


@array_oracle
def optimistic_adam_v2(learning_rate, alpha=1.0, beta=1.0, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, nesterov=True):
    """Daskalakis et al. 2018, Algorithm 1, with α for the factor 2 of the direction: 2 d_t − d_{t−1} for α = β = 1."""
    adam = scale_by_adam.__wrapped__(b1, b2, eps, eps_root, nesterov=nesterov)
    extrapolate = scale_by_optimistic_gradient.__wrapped__(alpha, beta)
    next(adam)
    next(extrapolate)
    u = None
    for k in count():
        g, w = yield u
        u = -at(learning_rate, k) * extrapolate.send((adam.send((g, w)), w))
