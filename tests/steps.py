"""Noisy trees, and the steps that tests take along them."""

import re

import jax
import jax.numpy as jnp
import numpy as np

import gradxform as gx

SHAPES = {"b": (3,), "s": (), "w": (4, 6)}
MATRIX = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)


def plain(x):
    """The text of an argument without addresses, the same in every process."""
    return re.sub(r" at 0x\w+", "", str(x))


def loss(params):
    return sum(jnp.sum(jnp.abs(x.astype(jnp.float32)) ** 4) for x in jax.tree.leaves(params))


def noise(seed, shape=(4,)):
    return np.random.default_rng(seed).standard_normal(shape)


def draw(seed, shapes=SHAPES, dtype=None):
    rng = np.random.default_rng(seed)
    return {name: jnp.asarray(rng.normal(size=shape), dtype) for name, shape in shapes.items()}


def run(tx, grads, params, **extra):
    """The updates along these gradients, at parameters that stay."""
    state, us = tx.init(params), []
    for g in grads:
        u, state = tx.update(g, state, params, **extra)
        us.append(u)
    return us, state


def follow(tx, oracle, steps=120, extras=None, tolerance=1e-9):
    """Take noisy steps with the transformation, whose parameters move by its own updates, and compare with the transcription's."""
    params = draw(0)
    state, ws = tx.init(params), [np.asarray(p) for p in params.values()]
    update = jax.jit(tx.update)
    for i in range(steps):
        gs, extra = draw(i + 1), {} if extras is None else extras(i, params)
        us = oracle(list(gs.values()), ws, **{k: list(v.values()) for k, v in extra.items()})
        updates, state = update(gs, state, params, **extra)
        for name, expected in zip(params, us, strict=True):
            np.testing.assert_allclose(updates[name], expected, rtol=tolerance, atol=tolerance, err_msg=f"step {i}, {name}")
        params, ws = gx.apply_updates(params, updates), [w + u for w, u in zip(ws, us, strict=True)]
    return params, ws
