"""What golden values of others' storage formats are made on, from NumPy alone: numbers that spread, and gradients that do.

Every number is a random fraction times a power of two, so that it is the same on every machine.
"""

from __future__ import annotations

import numpy as np

STEPS = 40
KEPT = (0, 39)  # after these updates, counted from 0, the codes of `w` are stored
SETTINGS = {"lr": 1e-2, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.1}

# Blocks along the last axis; blocks of the flattened array that cross its rows; a last block that is not full; few elements.
SHAPES = {"w": (8, 512), "flat": (48, 96), "odd": (41, 101), "b": (64,)}


def _spread(rng: np.random.RandomState, shape: tuple[int, ...], lowest: int) -> np.ndarray:
    """Powers of two."""
    return np.ldexp(1.0, rng.randint(lowest, 1, shape))


def numbers() -> np.ndarray:
    """Numbers of either sign, in rows of a block: spread widely, evenly, among them zeros; all zero; tiny; huge beside the rest."""
    rng = np.random.RandomState(1)
    x = (rng.random_sample((24, 256)) - 0.5) * _spread(rng, (24, 256), -24) * _spread(rng, (24, 1), -8)
    x[:8] = rng.random_sample((8, 256)) - 0.5
    x[::3, ::5] = 0
    x[20] = 0
    x[21] *= 2.0**-30
    x[22, 7] = 2.0**12
    return x.astype(np.float32)


def first() -> dict[str, np.ndarray]:
    rng = np.random.RandomState(2)
    return {k: (rng.random_sample(shape) - 0.5).astype(np.float32) for k, shape in SHAPES.items()}


def gradients(step: int) -> dict[str, np.ndarray]:
    """Noise of a size that is each element's own; the first eight columns and, of `w`, the last block are 0."""
    sizes, rng, found = np.random.RandomState(3), np.random.RandomState(100 + step), {}
    for name, shape in SHAPES.items():
        g = (rng.random_sample(shape) - 0.4) * _spread(sizes, shape, -10)
        g[..., :8] = 0
        found[name] = g.astype(np.float32)
    found["w"][-1, 256:] = 0
    return found
