"""Word vectors from Python's reference text: which words stand near a word, with negative sampling. Gradients are sparse."""

from __future__ import annotations

import collections
import re

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._types import Array, ArrayLike, Params
from gradxform.race._problem import Problem, host_rng
from gradxform.race.problems._corpus import corpus

WORDS, WIDTH = 1500, 32
WINDOW, NEGATIVES = 4, 5
BATCH, HELD = 256, 4096
OFTEN = 1e-3  # a word that is a larger share of the text than this is left out at times
WORD = re.compile(r"[a-z_]+")

Pairs = tuple[Array, Array]


class _Words:
    """The frequent words of the text as numbers, most frequent first; pairs of near words are drawn from them."""

    def __init__(self, train: str):
        counts = collections.Counter(WORD.findall(train.lower())).most_common(WORDS)
        self.numbers = {word: i for i, (word, _) in enumerate(counts)}
        self.share = np.asarray([count for _, count in counts], np.float64)
        self.share /= self.share.sum()
        self.noise = np.cumsum(self.share**0.75)

    def of(self, text: str) -> np.ndarray:
        """The text as numbers; others than the frequent words are passed over, and the most frequent are thinned out."""
        words = [self.numbers[word] for word in WORD.findall(text.lower()) if word in self.numbers]
        kept = np.random.default_rng(0).random(len(words)) < np.sqrt(OFTEN / self.share[words])
        return np.asarray(words, np.int32)[kept]

    def pairs(self, text: np.ndarray, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Words, and beside each a near one and then `NEGATIVES` that are drawn by their frequency."""
        at = rng.integers(WINDOW, len(text) - WINDOW, size=count)
        away = rng.integers(1, WINDOW + 1, size=count) * (2 * rng.integers(2, size=count) - 1)
        drawn = np.searchsorted(self.noise, rng.random((count, NEGATIVES)) * self.noise[-1])
        return text[at], np.concatenate([text[at + away][:, None], drawn.astype(np.int32)], axis=1)


def problem() -> Problem:
    text = corpus()
    words = _Words(text.train)
    train = words.of(text.train)
    kept = [words.pairs(words.of(part), np.random.default_rng(1), HELD) for part in (text.validation, text.test)]
    held_out = jax.device_put(kept)

    def batch(rng: np.random.Generator, step: int) -> tuple[np.ndarray, np.ndarray]:
        return words.pairs(train, rng, BATCH)

    def evaluate(params: Params) -> dict[str, ArrayLike]:
        (validation, acc), (test, test_acc) = jax.device_get(_judged(params, held_out))
        return {"loss": validation, "acc": acc, "test_loss": test, "test_acc": test_acc}

    return Problem(
        init, loss, batch, evaluate, target=2.6, name="skipgram", steps=1500, data=f"pydoc_data.topics {text.digest}", rates_of="digits",
        description=f"{len(words.numbers):,} words x {WIDTH}, Python's reference {text.digest}",
    )  # fmt: skip


def init(key: Array) -> Params:
    """Words begin at random and the words near them at zero, as in word2vec."""
    vectors = host_rng(key).uniform(-0.5, 0.5, size=(WORDS, WIDTH)) / WIDTH
    return {"word": vectors.astype(np.float32), "near": np.zeros((WORDS, WIDTH), np.float32)}


def scores(params: Params, batch: Pairs) -> Array:
    """Per word, one for each that is said to be near."""
    word, near = batch
    return jnp.einsum("bd,bnd->bn", params["word"][word], params["near"][near])


def loss(params: Params, batch: Pairs) -> Array:
    """The sum over the pairs: word2vec takes a step for each, and a rate for the mean of a batch would be as much larger."""
    return BATCH * _loss(scores(params, batch))


def _loss(z: Array) -> Array:
    """The first of each row is near, the others are not; a row's terms are summed, rows averaged."""
    return jnp.mean(jax.nn.softplus(-z[:, 0]) + jnp.sum(jax.nn.softplus(z[:, 1:]), axis=1))


@jax.jit
def _judged(params: Params, held: list[Pairs]) -> list[tuple[Array, Array]]:
    """Loss, and how often the near word has the highest score."""
    return [(_loss(z), jnp.mean(z[:, 0] > jnp.max(z[:, 1:], axis=1))) for z in (scores(params, pairs) for pairs in held)]
