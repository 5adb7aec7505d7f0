"""Fromage."""

from __future__ import annotations

from gradxform._types import Array, Hyper, NonNegative, Real, Schedule
from gradxform.core import chain
from gradxform.core._hyper import is_schedule
from gradxform.registry import optimizer
from gradxform.schedules._record import schedule
from gradxform.transforms import add_decayed_weights, scale_by_learning_rate, scale_by_trust_ratio


def _rate(learning_rate):
    """learning_rate / sqrt(1 + learning_rate^2)"""
    return learning_rate / (1 + learning_rate**2) ** 0.5


def _growth(learning_rate):
    """1 / sqrt(1 + learning_rate^2) - 1, without the cancellation."""
    root = (1 + learning_rate**2) ** 0.5
    return -(learning_rate**2) / (root * (1 + root))


@schedule
def fromage_rate(k: Array, learning_rate: Schedule):
    """The rate of Fromage's step where its learning rate is a schedule."""
    return _rate(learning_rate(k))


@schedule
def fromage_growth(k: Array, learning_rate: Schedule):
    """The growth of the parameters in Fromage's step, which is negative, where its learning rate is a schedule."""
    return _growth(learning_rate(k))


@optimizer(
    source="Bernstein et al. 2020, arXiv:2002.03432",
    example={"learning_rate": 0.01},
    homogeneity=0,
    rates={"default": 0.01, "digits": 0.1},
)
def fromage(learning_rate: Real[Hyper], min_norm: NonNegative[Hyper] = 1e-6):
    """Fromage: each leaf moves by a fraction of its norm, and then shrinks so that the norm does not grow.

        r = max(||p||, min_norm) / max(||g||, min_norm)             1 where one of the norms is 0
        u = (p - learning_rate r g) / sqrt(1 + learning_rate^2) - p

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      min_norm: the least norm that parameter and gradient count with.

    >>> tx = gx.fromage(0.01)

    State    (EmptyState(), EmptyState(), EmptyState()), the last two with a count where learning_rate is a schedule. Memory: none.
    Units    learning_rate is dimensionless: each leaf moves by learning_rate times its norm.
    Shapes   any, scalars and complex included; the norms are over whole leaves.
    Sharded  inside `shard_map` norms and means are over the device's own part of a leaf; under `jit` over the whole leaf.
    Source   Bernstein et al. 2020, arXiv:2002.03432, Algorithm 1.
    Differs  no.
    Raises   MissingArgumentError: no params. HyperparameterError: min_norm < 0.
    """
    if is_schedule(learning_rate):
        rate, growth = fromage_rate(learning_rate), fromage_growth(learning_rate)
    else:
        rate, growth = _rate(learning_rate), _growth(learning_rate)
    return chain(scale_by_trust_ratio(min_norm), scale_by_learning_rate(rate), add_decayed_weights(growth))
