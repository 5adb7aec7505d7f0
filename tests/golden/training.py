"""The training script of `make_torch_training.py` that is carried over, in numbers that PyTorch and JAX share."""

import math

import numpy as np

STEPS, HALF, ACCUMULATED = 50, 25, 2
LR, WEIGHT_DECAY, MAX_NORM, EMA = 0.02, 0.1, 0.5, 0.9
NAMES = ["0.weight", "2.weight", "0.bias", "2.bias"]  # group after group: the weights, which decay, and the biases


def warm_cosine(step):
    if step < 10:
        return (step + 1) / 10
    return 0.5 * (1 + math.cos(math.pi * (step - 10) / 40))


def batches():
    """(step, micro-batch) -> inputs and targets, of a function to be learned."""
    rng = np.random.RandomState(3)
    x = rng.standard_normal((STEPS, ACCUMULATED, 16, 8)).astype(np.float32)
    w = rng.standard_normal((8, 4)).astype(np.float32)
    return x, np.sin(2 * x @ w).astype(np.float32)


def first_weights():
    """As PyTorch lays them out: (out, in)."""
    rng = np.random.RandomState(4)
    shapes = {"0.weight": (12, 8), "2.weight": (4, 12), "0.bias": (12,), "2.bias": (4,)}
    return {name: (0.4 * rng.standard_normal(shape)).astype(np.float32) for name, shape in shapes.items()}
