"""Transcriptions of `centralize`."""

import numpy as np

from oracles._collect import array_oracle


@array_oracle
def centralize():
    """Yong et al. 2020, arXiv:2004.01461, eq. 1: from each slice g[i] of an array of two or more dimensions take its mean.

    The paper centres the weights into each output feature. Its arrays, like PyTorch's, have the outputs first; so has this.
    """
    u = None
    while True:
        g, _ = yield u
        u = g if g.ndim < 2 else np.stack([g_i - np.mean(g_i) for g_i in g])
