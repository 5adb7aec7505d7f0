"""Transcriptions of `lars`."""

from itertools import count

from oracles._arithmetic import at, norm
from oracles._collect import array_oracle


@array_oracle
def lars(learning_rate, weight_decay=0.0, trust_coefficient=0.001, eps=0.0, momentum=0.9, nesterov=False):
    """You et al. 2017, arXiv:1708.03888, Algorithm 1, with Optax's trust ratio η ‖w‖ / (‖g + λ w‖ + ε); 1 where a norm is 0.

    d = −lr ratio (g + λ w);  v ← m v + d;  u = v   (Nesterov: d + m v)

    The paper's denominator is ‖g‖ + λ ‖w‖: that is `mxnet.lars` (catalogue A.2.17).
    """
    v, u = 0.0, None
    for k in count():
        g, w = yield u
        r = g + at(weight_decay, k) * w
        ratio = 1.0 if norm(w) == 0 or norm(r) == 0 else trust_coefficient * norm(w) / (norm(r) + eps)
        d = -at(learning_rate, k) * ratio * r
        v = momentum * v + d
        u = d + momentum * v if nesterov else v
