"""Gradient descent with noise."""

from __future__ import annotations

from gradxform._types import Array, Hyper, NonNegative, Real
from gradxform.core import chain
from gradxform.registry import optimizer
from gradxform.transforms import add_noise, scale_by_learning_rate


@optimizer(
    source="Neelakantan et al. 2015, arXiv:1511.06807",
    example={"learning_rate": 0.1, "key": 0},
    rates={"default": 0.1, "digits": 0.1},
    identities=[("noisy_sgd(0.1, eta=0.0, key=0)", "sgd(0.1)")],
)
def noisy_sgd(
    learning_rate: Real[Hyper],
    eta: NonNegative[Hyper] = 0.01,
    gamma: Real[Hyper] = 0.55,
    key: Array | int | None = None,
    *,
    seed: int | None = None,
):
    """Descend along the gradient and Gaussian noise whose variance falls with time.

        u = -learning_rate (g + sqrt(eta / t^gamma) n)              n standard normal

    Args:
      learning_rate: the size of a step: a number, an array that fits every leaf, or a schedule of the number of updates.
      eta: the variance of the noise at the first update.
      gamma: how fast the variance falls: as t^-gamma.
      key: a random key, or a whole number as a seed; None: 0, with a warning.
      seed: the older name of key.

    >>> tx = gx.noisy_sgd(0.1, eta=0.01, key=0)

    State    (AddNoiseState(count, rng_key), EmptyState()). Memory: none.
    Units    learning_rate has those of p / g; eta those of g^2.
    Shapes   any, scalars and complex included. The noise does not depend on how leaves are sharded.
    Sharded  inside `shard_map` parts of one shape get the same noise where the key is the same on every device; under `jit` the
             noise is that of the whole leaf.
    Source   Neelakantan et al. 2015, arXiv:1511.06807, equation 1.
    Differs  as `add_noise`.
    Raises   HyperparameterError: eta < 0, gamma is not a finite number, both key and seed.
    """
    return chain(add_noise(eta, gamma, key, seed=seed), scale_by_learning_rate(learning_rate))
