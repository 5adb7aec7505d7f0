"""Transcriptions of `aggmo` and `scale_by_aggmo`."""

from itertools import count

from oracles._arithmetic import at
from oracles._collect import array_oracle


@array_oracle
def aggmo(learning_rate, betas=(0.0, 0.9, 0.99), weight_decay=0.0):
    """Lucas et al. 2018, arXiv:1804.00325, equation 3.

    vᵢ ← βᵢ vᵢ − g;  w ← w + lr / K Σ vᵢ − lr λ w
    """
    vs, u = [0.0 for _ in betas], None
    for k in count():
        g, w = yield u
        vs = [b * v - g for b, v in zip(betas, vs, strict=True)]
        u = at(learning_rate, k) * (sum(vs) / len(vs) - at(weight_decay, k) * w)


@array_oracle
def scale_by_aggmo(betas=(0.0, 0.9, 0.99)):
    """The direction alone, uphill."""
    return aggmo.__wrapped__(-1.0, betas)
