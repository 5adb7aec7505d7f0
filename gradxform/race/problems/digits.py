"""Handwritten digits: 1,797 images of 8 x 8 pixels, classified by a small network. Real data, seconds to train."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._types import Array, Params
from gradxform.race._extras import extra
from gradxform.race._problem import Problem, host_rng

SIZES = (64, 64, 64, 10)
TRAIN, VALIDATION = 1077, 360  # the remaining 360 are held out
BATCH = 32


def problem() -> Problem:
    images, labels = extra("sklearn.datasets").load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    x, y = (images[order] / 16).astype(np.float32), labels[order].astype(np.int32)
    parts = slice(TRAIN), slice(TRAIN, TRAIN + VALIDATION), slice(TRAIN + VALIDATION, None)
    train, validation, test = [(x[part], y[part]) for part in parts]
    held = jax.device_put((validation, test))

    def batch(rng: np.random.Generator, step: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = rng.integers(TRAIN, size=BATCH)
        return train[0][chosen], train[1][chosen]

    def evaluate(params: Params) -> dict[str, Any]:
        (loss, acc), (test_loss, test_acc) = jax.device_get(_scores(params, held))
        return {"loss": loss, "acc": acc, "test_loss": test_loss, "test_acc": test_acc}

    return Problem(
        init, loss, batch, evaluate, target=0.15, name="digits", description=f"MLP {'-'.join(map(str, SIZES))}", steps=500
    )  # fmt: skip


def init(key: Array) -> Params:
    rng = host_rng(key)
    layers = []
    for fan_in, fan_out in itertools.pairwise(SIZES):
        w = rng.normal(scale=np.sqrt(2 / fan_in), size=(fan_in, fan_out))
        layers.append({"w": w.astype(np.float32), "b": np.zeros(fan_out, np.float32)})
    return layers


def logits(params: Params, x: Array) -> Array:
    *hidden, last = params
    for layer in hidden:
        x = jax.nn.relu(x @ layer["w"] + layer["b"][None, :])
    return x @ last["w"] + last["b"][None, :]


def loss(params: Params, batch: tuple[Array, Array]) -> Array:
    x, y = batch
    return _cross_entropy(logits(params, x), y)


def _cross_entropy(z: Array, y: Array) -> Array:
    of_label = jnp.take_along_axis(z, y[:, None], axis=1)[:, 0]
    return jnp.mean(jax.nn.logsumexp(z, axis=1) - of_label)


@jax.jit
def _scores(params: Params, held: tuple[tuple[Array, Array], ...]) -> list[tuple[Array, Array]]:
    """Loss and accuracy on each of the held data sets."""
    outputs = [(logits(params, x), y) for x, y in held]
    return [(_cross_entropy(z, y), jnp.mean(jnp.argmax(z, axis=1) == y)) for z, y in outputs]
