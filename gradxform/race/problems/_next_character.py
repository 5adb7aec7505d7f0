"""What the problems of the next character share: their batches, their loss, and what they are judged by."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._types import Array, ArrayLike, Params
from gradxform.race._problem import Problem
from gradxform.race.problems import _corpus

Pieces = tuple[Array, Array]


def next_character(
    init: Callable[[Array], Params],
    logits: Callable[[Params, Array], Array],
    *,
    length: int,
    size: int,
    held: int,
    name: str,
    description: str,
    steps: int,
    target: float,
) -> Problem:
    """The problem of a network whose `logits`, (params, characters) -> scores, say what comes after each of a piece's characters.

    Args:
      init: (key) -> params.
      logits: the network; pieces along the first axis, characters along the second, scores along the third.
      length: characters of a piece.
      size: pieces of a batch.
      held: pieces that validate, and as many that are held out.
      name, description, steps, target: as of a `Problem`.
    """
    corpus = _corpus.corpus()
    train = _corpus.codes(corpus.train)
    kept = [_corpus.spread(_corpus.codes(part), held, length) for part in (corpus.validation, corpus.test)]
    held_out = jax.device_put(kept)

    def batch(rng: np.random.Generator, step: int) -> tuple[np.ndarray, np.ndarray]:
        return _corpus.windows(train, rng.integers(len(train) - length, size=size), length)

    def loss(params: Params, batch: Pieces) -> Array:
        return cross_entropy(logits(params, batch[0]), batch[1])

    @jax.jit
    def judged(params: Params, held_out: list[Pieces]) -> list[tuple[Array, Array]]:
        outputs = [(logits(params, x), y) for x, y in held_out]
        return [(cross_entropy(z, y), jnp.mean(jnp.argmax(z, axis=-1) == y)) for z, y in outputs]

    def evaluate(params: Params) -> dict[str, ArrayLike]:
        (validation, acc), (test, test_acc) = jax.device_get(judged(params, held_out))
        return {"loss": validation, "acc": acc, "test_loss": test, "test_acc": test_acc}

    return Problem(
        init, loss, batch, evaluate, target, name, f"{description}, Python's reference {corpus.digest}", steps,
        data=f"pydoc_data.topics {corpus.digest}", rates_of="digits",
    )  # fmt: skip


def cross_entropy(scores: Array, y: Array) -> Array:
    """The mean over all characters, in nats."""
    of_right = jnp.take_along_axis(scores, y[..., None], axis=-1)[..., 0]
    return jnp.mean(jax.nn.logsumexp(scores, axis=-1) - of_right)
