"""DeepXDE, which asks `optax._src.base` what an optimizer is: a network that learns x sin(5 x)."""

import os

os.environ["DDE_BACKEND"] = "jax"

import deepxde
import numpy as np
import optax

ERROR = 1e-3


def error(optimizer, **options):
    deepxde.config.set_random_seed(0)
    geometry = deepxde.geometry.Interval(-1, 1)
    data = deepxde.data.Function(geometry, lambda x: x * np.sin(5 * x), 16, 50)
    model = deepxde.Model(data, deepxde.nn.FNN([1, 20, 20, 20, 1], "tanh", "Glorot uniform"))
    model.compile(optimizer, metrics=["l2 relative error"], verbose=0, **options)
    losses, _ = model.train(iterations=1500, display_every=1500, verbose=0)
    return losses.metrics_test[-1]


def run():
    schedule = optax.exponential_decay(5e-3, 500, 0.5)
    return {"by name": error("adam", lr=5e-3, decay=("cosine", 1500, 0.01)), "itself": error(optax.adam(schedule))}


def check(results):
    for found in results.values():
        np.testing.assert_array_less(found, 0.1)
