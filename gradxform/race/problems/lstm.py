"""The next character of Python's reference text, by a recurrent network of one LSTM layer."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._types import Array, Params
from gradxform.race._problem import Problem, host_rng
from gradxform.race.problems._corpus import SYMBOLS
from gradxform.race.problems._next_character import next_character

LENGTH, INPUTS, WIDTH = 32, 32, 64


def problem() -> Problem:
    return next_character(
        init, logits, length=LENGTH, size=16, held=64, target=2.0, name="lstm", steps=400, description=f"LSTM {WIDTH}"
    )  # fmt: skip


def init(key: Array) -> Params:
    """Matrices of variance 1 / inputs; the forget gates begin open."""
    rng = host_rng(key)
    normal = lambda rows, columns, scale: (scale * rng.normal(size=(rows, columns))).astype(np.float32)
    bias = np.zeros((4, WIDTH), np.float32)
    bias[1] = 1
    return {
        "characters": normal(SYMBOLS, INPUTS, 1.0),
        "input": normal(INPUTS, 4 * WIDTH, INPUTS**-0.5),
        "recurrent": normal(WIDTH, 4 * WIDTH, WIDTH**-0.5),
        "bias": bias.ravel(),
        "scores": normal(WIDTH, SYMBOLS, WIDTH**-0.5),
        "scores_bias": np.zeros(SYMBOLS, np.float32),
    }


def logits(params: Params, x: Array) -> Array:
    """From a state of zeros at the start of each piece."""
    driven = (params["characters"] @ params["input"] + params["bias"][None, :])[x.T]

    def step(carry: tuple[Array, Array], driven: Array) -> tuple[tuple[Array, Array], Array]:
        hidden, cell = carry
        into, keep, new, out = jnp.split(driven + hidden @ params["recurrent"], 4, axis=-1)
        cell = jax.nn.sigmoid(keep) * cell + jax.nn.sigmoid(into) * jnp.tanh(new)
        hidden = jax.nn.sigmoid(out) * jnp.tanh(cell)
        return (hidden, cell), hidden

    nothing = jnp.zeros((x.shape[0], WIDTH), driven.dtype)
    _, hidden = jax.lax.scan(step, (nothing, nothing), driven)
    return jnp.swapaxes(hidden, 0, 1) @ params["scores"] + params["scores_bias"][None, None, :]
