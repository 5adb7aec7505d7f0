"""The transcription of `grokfast`."""

from oracles._collect import array_oracle


@array_oracle
def grokfast(decay=0.98, scale=2.0):
    """Lee et al. 2024, arXiv:2405.20233, Algorithm 1: µ ← α µ + (1 − α) g, at first g;  ĝ = g + λ µ."""
    mu, u = None, None
    while True:
        g, _ = yield u
        mu = g if mu is None else decay * mu + (1 - decay) * g
        u = g + scale * mu
