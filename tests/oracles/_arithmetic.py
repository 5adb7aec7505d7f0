"""Arithmetic that several transcriptions share."""

from itertools import count
from typing import Any

import numpy as np


def at(value: Any, k: int) -> float:
    """A learning rate (or a weight decay) after k completed updates; its first value is the one at k = 0."""
    return float(value(k) if callable(value) else value)


def abs2(x: Any) -> Any:
    """|x|^2, real for complex x."""
    return np.abs(x) ** 2


def norm(x: Any) -> Any:
    """The Euclidean norm of all the elements of one array."""
    return np.sqrt(np.sum(abs2(x)))


def rms(x: Any) -> Any:
    """The root mean square of the elements of one array."""
    return np.sqrt(np.mean(abs2(x)))


def descent(direction, learning_rate):
    """u = −lr d, where d is what the coroutine makes of g."""
    next(direction)
    u = None
    for k in count():
        inputs = yield u
        u = -at(learning_rate, k) * direction.send(inputs)


def dot(x, y):
    """The real inner product over all leaves."""
    return sum(np.sum(np.real(np.conj(a) * b)) for a, b in zip(x, y, strict=True))


def norm2(x):
    return sum(np.sum(abs2(a)) for a in x)


def norm1(x):
    return sum(np.sum(np.abs(a)) for a in x)


def loss_of(value):
    """The loss that was passed at each leaf alike; 1, as in the registry's example, if none was."""
    return 1.0 if value[0] is None else float(value[0])
