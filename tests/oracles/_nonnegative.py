"""Transcriptions of `keep_params_nonnegative`."""

import numpy as np

from oracles._collect import array_oracle


@array_oracle
def keep_params_nonnegative():
    """The projection of w + g on what is not negative."""
    u = None
    while True:
        g, w = yield u
        u = np.maximum(w + g, 0) - w
