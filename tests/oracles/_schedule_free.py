"""Transcriptions of `schedule_free_sgd`, `schedule_free` and `schedule_free_adamw`."""

from itertools import count

import numpy as np

from oracles._arithmetic import abs2, at
from oracles._collect import oracle


def _free(step, learning_rate, b1, power):
    """Defazio et al. 2024, arXiv:2405.15682, equations 3 to 5: z, the average x, and the point y between them where g is taken.

    y = (1 − β) z + β x;  z' = z + step(g, y);  x' = (1 − c) x + c z',  c = w / Σw,  w = (max lr so far)^power (section 3).
    """
    z = x = u = None
    largest = total = 0.0
    for k in count():
        g, y = yield u
        z = y if z is None else z
        x = [(a - (1 - b1) * b) / b1 for a, b in zip(y, z, strict=True)]
        z = [a + b for a, b in zip(z, step(k, g, y), strict=True)]
        largest = max(largest, at(learning_rate, k))
        total += largest**power
        c = largest**power / total if total else 0.0
        x = [(1 - c) * a + c * b for a, b in zip(x, z, strict=True)]
        u = [(1 - b1) * b + b1 * a - old for a, b, old in zip(x, z, y, strict=True)]


def _warm(learning_rate, steps):
    return learning_rate if steps is None else lambda k: learning_rate * min(k / steps, 1.0)


@oracle
def schedule_free_sgd(learning_rate=1.0, warmup_steps=None, b1=0.9, weight_decay=None, weight_lr_power=2.0, state_dtype=None):
    """The paper's equation 4: z' = z − lr (g + λ y)."""
    rate = _warm(learning_rate, warmup_steps)
    step = lambda k, g, y: [-at(rate, k) * (a + (weight_decay or 0.0) * b) for a, b in zip(g, y, strict=True)]
    return _free(step, rate, b1, weight_lr_power)


@oracle
def schedule_free(base_optimizer=None, learning_rate=0.1, b1=0.9, weight_lr_power=2.0, state_dtype=None):
    """Around gradient descent with the same learning rate, the registry's example."""
    return schedule_free_sgd.__wrapped__(learning_rate, None, b1, None, weight_lr_power)


@oracle
def schedule_free_adamw(
    learning_rate=0.0025, warmup_steps=None, b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.0, weight_lr_power=2.0, state_dtype=None
):  # fmt: skip
    """The paper's Algorithm 1: z' = z − lr (g / (√v̂ + ε) + λ y). Its lr has the bias correction √(1 − β2^t) in it, ours v̂ has."""
    rate, v = _warm(learning_rate, warmup_steps), None

    def step(k, g, y):
        nonlocal v
        v = [b2 * a + (1 - b2) * abs2(b) for a, b in zip(v or [0.0] * len(g), g, strict=True)]
        root = [np.sqrt(a / (1 - b2 ** (k + 1))) + eps for a in v]
        return [-at(rate, k) * (a / b + weight_decay * c) for a, b, c in zip(g, root, y, strict=True)]

    return _free(step, rate, b1, weight_lr_power)
