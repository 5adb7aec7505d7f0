"""The next character of Python's reference text, by a small causal transformer: what is commonly trained today, in a few minutes."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from gradxform._types import Array, Params
from gradxform.race._problem import Problem, host_rng
from gradxform.race.problems._corpus import SYMBOLS
from gradxform.race.problems._next_character import next_character

LENGTH, WIDTH, HEADS, LAYERS = 48, 48, 3, 2
SLOWEST = 100.0  # of the pairs, in places per radian


def problem(width: int = WIDTH, heads: int = HEADS) -> Problem:
    return next_character(
        functools.partial(init, width=width), functools.partial(logits, heads=heads), length=LENGTH, size=8, held=40, target=2.3,
        name="text", steps=300, description=f"transformer {LAYERS} x {width}",
    )  # fmt: skip


def init(key: Array, width: int = WIDTH) -> Params:
    """Matrices of variance 1 / inputs; those that write into the residual stream, and the scores, begin small."""
    rng = host_rng(key)
    normal = lambda rows, columns, scale: (scale * rng.normal(size=(rows, columns))).astype(np.float32)
    into = (2 * LAYERS * width) ** -0.5
    layers = [
        {
            "norm_1": np.ones(width, np.float32),
            "query_key_value": normal(width, 3 * width, width**-0.5),
            "attended": normal(width, width, into),
            "norm_2": np.ones(width, np.float32),
            "up": normal(width, 4 * width, width**-0.5),
            "down": normal(4 * width, width, into / 2),
        }
        for _ in range(LAYERS)
    ]
    return {
        "characters": normal(SYMBOLS, width, 1.0),
        "layers": layers,
        "norm": np.ones(width, np.float32),
        "scores": normal(width, SYMBOLS, 0.1 * width**-0.5),
    }


def logits(params: Params, x: Array, heads: int = HEADS) -> Array:
    h = params["characters"][x]
    for layer in params["layers"]:
        h = h + _attention(layer, _normed(h, layer["norm_1"]), heads)
        h = h + jax.nn.gelu(_normed(h, layer["norm_2"]) @ layer["up"]) @ layer["down"]
    return _normed(h, params["norm"]) @ params["scores"]


def _attention(layer: Params, h: Array, heads: int) -> Array:
    """Each character attends to itself and to those before it."""
    pieces, length, _ = h.shape
    q, k, v = jnp.moveaxis((h @ layer["query_key_value"]).reshape(pieces, length, 3, heads, -1), 2, 0)
    scores = jnp.einsum("blhd,bmhd->bhlm", _turned(q), _turned(k)) / np.sqrt(q.shape[-1])
    before = np.tri(length, dtype=bool)
    weights = jax.nn.softmax(jnp.where(before[None, None], scores, -jnp.inf), axis=-1)
    return jnp.einsum("bhlm,bmhd->blhd", weights, v).reshape(h.shape) @ layer["attended"]


def _turned(x: Array) -> Array:
    """Rotary positions (Su et al. 2021, arXiv:2104.09864): pairs of coordinates turn with the place, each pair at its own speed."""
    length, pairs = x.shape[1], x.shape[-1] // 2
    angles = np.arange(length)[:, None] * SLOWEST ** (-np.arange(pairs) / pairs)
    cos, sin = (f(angles).astype(np.float32)[None, :, None, :] for f in (np.cos, np.sin))
    a, b = x[..., :pairs], x[..., pairs:]
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)


def _normed(h: Array, scale: Array) -> Array:
    """Root mean square 1, then scaled."""
    return h * jax.lax.rsqrt(jnp.mean(h * h, axis=-1, keepdims=True) + 1e-6) * scale[None, None, :]
