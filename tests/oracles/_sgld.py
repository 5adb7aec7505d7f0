"""Transcriptions of `sgld`."""

from itertools import count

import numpy as np

from oracles._arithmetic import abs2, at
from oracles._collect import array_oracle


@array_oracle(extra="noise")
def sgld(learning_rate, temperature=1.0, preconditioner_decay=None, eps=1e-5):
    """Welling & Teh 2011, eq. 4; S0:310 (E17: S0:314 credits the Riemannian variant's authors): u = −lr/2 g + √(lr T) ξ.

    `noise` is ξ ~ N(0, 1), one array per leaf; without it u is the deterministic part. With `preconditioner_decay` = α, Li et
    al. 2016, arXiv:1512.07666, Algorithm 1 without the curvature term: V ← α V + (1 − α) g²; G = 1 / (ε + √V);
    u = −lr/2 G g + √(lr T G) ξ.
    """
    V, u = 0.0, None
    for k in count():
        g, _, noise = yield u
        G = 1.0
        if preconditioner_decay is not None:
            V = preconditioner_decay * V + (1 - preconditioner_decay) * abs2(g)
            G = 1 / (eps + np.sqrt(V))
        lr = at(learning_rate, k)
        u = -lr / 2 * G * g + (0.0 if noise is None else np.sqrt(lr * temperature * G) * noise)
