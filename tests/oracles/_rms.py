"""Transcriptions of `scale_by_rms` and `scale_by_stddev`."""

from itertools import count

import numpy as np

from oracles._arithmetic import abs2
from oracles._collect import array_oracle


@array_oracle
def scale_by_rms(decay=0.9, eps=1e-8, initial_scale=0.0, eps_in_sqrt=True, bias_correction=False):
    """Tieleman & Hinton 2012, lecture 6.5; catalogue A.2.5: ν ← β ν + (1 − β) |g|²; u = g / √(ν + ε), ε inside (S0:116, S2:45).

    `eps_in_sqrt=False`: g / (√ν + ε) (S3:11); "both": g / (√(ν + ε) + ε) (S1:49, neon).
    """
    nu, u = initial_scale, None
    for t in count(1):
        g, _ = yield u
        nu = decay * nu + (1 - decay) * abs2(g)
        nu_hat = nu / (1 - decay**t) if bias_correction else nu
        inside, outside = {True: (eps, 0.0), False: (0.0, eps), "both": (eps, eps)}[eps_in_sqrt]
        u = g / (np.sqrt(nu_hat + inside) + outside)


@array_oracle
def scale_by_stddev(decay=0.9, eps=1e-8, initial_scale=0.0, eps_in_sqrt=True, bias_correction=False):
    """Graves 2013, arXiv:1308.0850, eqs. 38-40; catalogue A.2.5: u = g / √(ν − |µ|² + ε), ν and µ the EMAs of |g|² and g.

    E5: the difference of two rounded EMAs can be negative (S0:129). Here it never is: S is the weighted sum of squared
    deviations (West 1979; the weights sum to s = 1 − β^t and give the mean µ/s), whence ν = S + |µ|²/s, and

        ν − |µ|² = S + s (1 − s) |µ/s|²           debiased: ν/s − |µ/s|² = S/s
    """
    mean, S, u = 0.0, initial_scale, None
    for t in count(1):
        g, _ = yield u
        s = 1 - decay**t
        before, mean = mean, mean + (1 - decay) / s * (g - mean)
        S = decay * S + (1 - decay) * np.real((g - before) * np.conj(g - mean))
        variance = S / s if bias_correction else S + s * (1 - s) * abs2(mean)
        u = g / np.sqrt(variance + eps) if eps_in_sqrt else g / (np.sqrt(variance) + eps)
