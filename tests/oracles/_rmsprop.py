"""Transcriptions of `rmsprop`."""

from itertools import count

import numpy as np

from oracles._arithmetic import abs2, at
from oracles._collect import array_oracle


@array_oracle
def rmsprop(
    learning_rate, decay=0.9, eps=1e-8, initial_scale=0.0, eps_in_sqrt=True, centered=False, momentum=None, nesterov=False,
    bias_correction=False,
):  # fmt: skip
    """Tieleman & Hinton 2012; centred and with momentum: Graves 2013, arXiv:1308.0850, eqs. 38-41; catalogue A.2.5.

    ν ← β ν + (1 − β) g²;  µ ← β µ + (1 − β) g;  v ← γ v − lr g / √(ν − µ² + ε);  u = v   (Nesterov: u = γ v + the last term)

    Without `centered` µ is absent. E5: the difference is computed so that it cannot go negative, as in `scale_by_stddev`.
    E11: ν and v are kept (S2:63 never stores them). `eps_in_sqrt=False`: √(·) + ε; "both": √(· + ε) + ε (neon).
    """
    nu, mean, S, v, u = initial_scale, 0.0, initial_scale, 0.0, None
    inside, outside = {True: (eps, 0.0), False: (0.0, eps), "both": (eps, eps)}[eps_in_sqrt]
    for k in count():
        g, _ = yield u
        s = 1 - decay ** (k + 1)
        nu = decay * nu + (1 - decay) * abs2(g)
        before, mean = mean, mean + (1 - decay) / s * (g - mean)
        S = decay * S + (1 - decay) * np.real((g - before) * np.conj(g - mean))
        second = nu / s if bias_correction else nu
        if centered:
            second = S / s if bias_correction else S + s * (1 - s) * abs2(mean)
        du = -at(learning_rate, k) * g / (np.sqrt(second + inside) + outside)
        v = du if momentum is None else momentum * v + du
        u = du + momentum * v if nesterov and momentum is not None else v
