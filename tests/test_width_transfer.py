"""A rate that is right for a narrow network is right for a wide one: activations move alike."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_width import shaped

import gradxform as gx

INPUTS, CLASSES, NARROW = 32, 10, 64


def network(width):
    return {"in": (INPUTS, width), "hidden": (width, width), "out": (width, CLASSES)}


def activations(p, x):
    first = x @ p["in"]
    second = jax.nn.relu(first) @ p["hidden"]
    return first, second, jax.nn.relu(second) @ p["out"]


def moved(width, tx, seed):
    """By how much ten steps change the activations of each layer, as root mean squares."""
    shapes, base = shaped(network(width)), shaped(network(NARROW))
    scale = gx.initial_scale(shapes, base)
    rng = np.random.default_rng(seed)
    p = {n: jnp.asarray(scale[n] * rng.normal(size=s.shape) / np.sqrt(base[n].shape[0]), jnp.float32) for n, s in shapes.items()}
    x = jnp.asarray(np.random.default_rng(100).normal(size=(64, INPUTS)), jnp.float32)
    y = np.random.default_rng(101).integers(CLASSES, size=64)

    def loss(p):
        return -jnp.mean(jax.nn.log_softmax(activations(p, x)[2])[np.arange(64), y])

    @jax.jit
    def step(p, state):
        u, state = tx.update(jax.grad(loss)(p), state, p)
        return gx.apply_updates(p, u), state

    before, state = activations(p, x), tx.init(p)
    for _ in range(10):
        p, state = step(p, state)
    return np.array([np.sqrt(np.mean((a - b) ** 2)) for a, b in zip(activations(p, x), before, strict=True)])


OPTIMIZERS = {
    "adam": gx.adam(3e-3), "sgd": gx.sgd(0.5), "muon": gx.muon(0.02), "spectral": gx.muon(0.05, shape_scale=None),
}  # fmt: skip


@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_ten_steps_move_the_activations_of_all_widths_alike(rule):
    """Within 20 % from width 64 to 1,024; without `scale_by_width` some layer moves by half as much again at 1,024, or by half."""
    tx, base = OPTIMIZERS[rule], shaped(network(NARROW))
    mean = lambda width, tx: np.mean([moved(width, tx, seed) for seed in range(2)], axis=0)
    narrow = mean(NARROW, tx)
    for width in (256, 1024):
        ratio = mean(width, gx.scale_by_width(tx, base, rule)) / narrow
        assert np.all((ratio > 0.8) & (ratio < 1.2)), (width, ratio)
    plain = mean(1024, tx) / narrow
    assert np.any((plain > 1.5) | (plain < 0.5)), plain
