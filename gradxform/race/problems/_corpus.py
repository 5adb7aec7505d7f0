"""The text of the language problems: the reference that `help()` reads, which every CPython carries. It changes with the version."""

from __future__ import annotations

import functools
import hashlib
from typing import NamedTuple

import numpy as np

from gradxform._errors import ProblemError

ALPHABET = "\n" + "".join(map(chr, range(32, 127)))
SYMBOLS = len(ALPHABET) + 1  # the last stands for all other characters
PARTS = 10  # of ten paragraphs eight are trained on, one validates, one is held out


class Corpus(NamedTuple):
    """The text in three parts that share no paragraph.

    Attributes:
      train, validation, test: the text.
      digest: the first digits of the SHA-256 of the whole.
    """

    train: str
    validation: str
    test: str
    digest: str


@functools.cache
def corpus() -> Corpus:
    """The Python reference. Its topics overlap, so each paragraph is taken once.

    Raises:
      ProblemError: this Python does not carry the text.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError as e:
        raise ProblemError(
            f"the text that `help()` reads, pydoc_data.topics, is not in this Python ({e}). Take a full CPython."
        ) from e
    text = "\n\n".join(topics[name] for name in sorted(topics))
    paragraphs = list(dict.fromkeys(text.split("\n\n")))
    dealt = lambda *which: "\n\n".join(p for i, p in enumerate(paragraphs) if i % PARTS in which)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return Corpus(dealt(*range(PARTS - 2)), dealt(PARTS - 2), dealt(PARTS - 1), digest)


def codes(text: str) -> np.ndarray:
    """Each character's number in the alphabet."""
    numbers = {character: i for i, character in enumerate(ALPHABET)}
    return np.asarray([numbers.get(character, SYMBOLS - 1) for character in text], np.int32)


def windows(text: np.ndarray, starts: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Pieces of a text that begin at `starts`, and what follows each of their characters."""
    at = starts[:, None] + np.arange(length)
    return text[at], text[at + 1]


def spread(text: np.ndarray, count: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """As many windows, evenly spaced over the text."""
    return windows(text, np.linspace(0, len(text) - length - 1, count).astype(int), length)
