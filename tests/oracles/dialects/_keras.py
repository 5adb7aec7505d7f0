"""Keras's conventions with Keras's argument names."""

from itertools import count

import numpy as np

from oracles._arithmetic import abs2, at
from oracles._collect import array_oracle


@array_oracle
def ftrl(
    learning_rate=0.001, learning_rate_power=-0.5, initial_accumulator_value=0.1, l1_regularization_strength=0.0,
    l2_regularization_strength=0.0, l2_shrinkage_regularization_strength=0.0, beta=0.0,
):  # fmt: skip
    """McMahan et al. 2013, Algorithm 1, in Keras's parametrization; S3:19, catalogue A.2.14 (MXNet's wd is 2 l2 here).

    n' = n + g²;  σ = (n'^−p − n^−p) / lr;  z ← z + (g + 2 λ_s w) − σ w;  Q = n'^−p / lr + 2 (λ2 + β / (2 lr))
    w' = (clip(z, −λ1, λ1) − z) / Q;  u = w' − w
    """
    p, l1, l2 = learning_rate_power, l1_regularization_strength, l2_regularization_strength
    n, z, u = initial_accumulator_value, 0.0, None
    for k in count():
        g, w = yield u
        lr = at(learning_rate, k)
        n_before, n = n, n + abs2(g)
        z = z + (g + 2 * l2_shrinkage_regularization_strength * w) - (n**-p - n_before**-p) / lr * w
        Q = n**-p / lr + 2 * (l2 + beta / (2 * lr))
        u = (np.clip(z, -l1, l1) - z) / Q - w


@array_oracle
def nadam(learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    """Dozat 2016 as in Keras 3, catalogue A.2.9: the momentum µ_t = β1 (1 − ½ 0.96^t), without a ψ in the exponent.

    m̂ = µ_{t+1} m / (1 − Π^{t+1} µ) + (1 − µ_t) g / (1 − Π^t µ);  u = −lr m̂ / (√(v / (1 − β2^t)) + ε)
    """
    m, v, product, u = 0.0, 0.0, 1.0, None
    for t in count(1):
        g, _ = yield u
        mu, mu_next = (beta_1 * (1 - 0.5 * 0.96**s) for s in (t, t + 1))
        product = product * mu
        m = beta_1 * m + (1 - beta_1) * g
        v = beta_2 * v + (1 - beta_2) * abs2(g)
        m_hat = mu_next * m / (1 - product * mu_next) + (1 - mu) * g / (1 - product)
        u = -at(learning_rate, t - 1) * m_hat / (np.sqrt(v / (1 - beta_2**t)) + epsilon)
