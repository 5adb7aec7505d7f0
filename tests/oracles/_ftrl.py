"""Transcriptions of `ftrl`."""

from itertools import count

import numpy as np

from oracles._arithmetic import abs2, at
from oracles._collect import array_oracle


@array_oracle
def ftrl(learning_rate, l1=0.0, l2=0.0, beta=1.0, initial_accumulator_value=0.0):
    """McMahan et al. 2013, "Ad click prediction", Algorithm 1; catalogue A.2.14.

    σ = (√(n + g²) − √n) / lr;  z ← z + g − σ w;  n ← n + g²
    w' = 0 where |z| ≤ λ1, else −(z − sign(z) λ1) / ((β + √n) / lr + λ2);  u = w' − w

    E3: S0:271 drops "+ g" and flips the sign of σ w (it never leaves 0). E12: the sum in S0:265 is over g_j.
    """
    z, n, u = 0.0, initial_accumulator_value, None
    for k in count():
        g, w = yield u
        alpha = at(learning_rate, k)
        sigma = (np.sqrt(n + abs2(g)) - np.sqrt(n)) / alpha
        z = z + g - sigma * w
        n = n + abs2(g)
        new_w = np.where(np.abs(z) <= l1, 0.0, -(z - np.sign(z) * l1) / ((beta + np.sqrt(n)) / alpha + l2))
        u = new_w - w
