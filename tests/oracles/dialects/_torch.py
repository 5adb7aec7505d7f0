"""PyTorch's conventions with PyTorch's argument names, from its documented algorithms; weight decay is coupled: g ← g + λ w."""

from itertools import count

import numpy as np

from oracles._arithmetic import abs2, at
from oracles._collect import array_oracle


@array_oracle
def sgd(lr=1e-3, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False):
    """torch.optim.SGD: b ← g at the first step, then b ← µ b + (1 − τ) g; u = −lr b, Nesterov −lr (g + µ b)."""
    b, u = None, None
    for k in count():
        g, w = yield u
        g = g + weight_decay * w
        b = g if b is None else momentum * b + (1 - dampening) * g
        u = -at(lr, k) * (g if momentum == 0 else g + momentum * b if nesterov else b)


@array_oracle
def adagrad(lr=1e-2, lr_decay=0.0, weight_decay=0.0, initial_accumulator_value=0.0, eps=1e-10):
    """torch.optim.Adagrad: ε outside the root: s ← s + g²; u = −lr / (1 + k η) g / (√s + ε), k completed updates."""
    s, u = initial_accumulator_value, None
    for k in count():
        g, w = yield u
        g = g + weight_decay * w
        s = s + abs2(g)
        u = -at(lr, k) / (1 + k * lr_decay) * g / (np.sqrt(s) + eps)


@array_oracle
def rmsprop(lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False):
    """torch.optim.RMSprop: ε outside the root, lr outside the momentum: b ← µ b + g / (√(v − ḡ²) + ε); u = −lr b.

    E5: v − ḡ² is carried as the variance V ← α V + α (1 − α) (g − ḡ)², which is the same number and never negative.
    """
    v, mean, V, b, u = 0.0, 0.0, 0.0, 0.0, None
    for k in count():
        g, w = yield u
        g = g + weight_decay * w
        v = alpha * v + (1 - alpha) * abs2(g)
        V = alpha * V + alpha * (1 - alpha) * abs2(g - mean)
        mean = alpha * mean + (1 - alpha) * g
        b = momentum * b + g / (np.sqrt(V if centered else v) + eps)
        u = -at(lr, k) * b


@array_oracle
def nadam(lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, momentum_decay=4e-3):
    """torch.optim.NAdam, catalogue A.2.9: µ_t = β1 (1 − ½ 0.96^{t ψ});

    m̂ = µ_{t+1} m / (1 − Π^{t+1} µ) + (1 − µ_t) g / (1 − Π^t µ);  u = −lr m̂ / (√(v / (1 − β2^t)) + ε)
    """
    b1, b2 = betas
    m, v, product, u = 0.0, 0.0, 1.0, None
    for t in count(1):
        g, w = yield u
        g = g + weight_decay * w
        mu, mu_next = (b1 * (1 - 0.5 * 0.96 ** (s * momentum_decay)) for s in (t, t + 1))
        product = product * mu
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * abs2(g)
        m_hat = mu_next * m / (1 - product * mu_next) + (1 - mu) * g / (1 - product)
        u = -at(lr, t - 1) * m_hat / (np.sqrt(v / (1 - b2**t)) + eps)
