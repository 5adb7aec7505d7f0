"""Gradients for matrix optimizers, and what their transcriptions make of them."""

import numpy as np
from oracles import ORACLES


def gradients(shape, steps=12, seed=0):
    rng = np.random.RandomState(seed)
    return [rng.standard_normal(shape) for _ in range(steps)]


def directions(name, gs, **arguments):
    """The direction of each update of one leaf, uphill."""
    step = ORACLES[name](1.0, weight_decay=0.0, **arguments) if name != "scion" else ORACLES[name](1.0, **arguments)
    return [-step([g], [np.zeros_like(g)])[0] for g in gs]


def polar(G):
    U, _, Vt = np.linalg.svd(G, full_matrices=False)
    return U @ Vt


def close(x, y, tolerance=1e-9):
    np.testing.assert_allclose(x, y, rtol=0, atol=tolerance * max(1e-300, float(np.max(np.abs(y)))))
